/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/ht_linear.h"
#include "support/check.h"
#include "support/problem.h"

enum { N_ROWS = 200, N_FEATURES = 50, LONGEST = 20 };

static void open_mapped(problem_t *problem, int has_values, int has_weights)
{
    problem_open(problem, 5, N_ROWS, N_FEATURES, LONGEST, has_values, has_weights);
    problem->rows.longest = LONGEST;
}

static void fetched_rows_are_those_asked_for(void)
{
    const int64_t ids[] = {17, 0, 199, 20, 17};
    for (int has = 0; has < 2; has++) {
        problem_t problem;
        open_mapped(&problem, has, has);
        size_t nbytes = ht_fetched_nbytes(&problem.rows, 5);
        CHECK(nbytes == LONGEST * 5 * (has ? 8 : 4));
        void *memory = malloc(nbytes);
        REQUIRE(memory != NULL);
        ht_fetched_t fetched;
        ht_fetched_open(&fetched, &problem.rows, 5, memory);
        CHECK(ht_rows_fetch(&problem.rows, ids, 5, &fetched) == HT_OK);
        for (int k = 0; k < 5; k++) {
            ht_row_t row = ht_row_at(&problem.rows, ids[k]), copy = ht_row_at(&fetched.rows, k);
            CHECK(copy.n == row.n && copy.index != row.index);
            CHECK(memcmp(copy.index, row.index, sizeof *row.index * (size_t)row.n) == 0);
            CHECK((copy.value == NULL) == !has);
            CHECK(!has || memcmp(copy.value, row.value, sizeof *row.value * (size_t)row.n) == 0);
            CHECK(fetched.rows.targets[k] == problem.rows.targets[ids[k]]);
            CHECK(!has || fetched.rows.weights[k] == problem.rows.weights[ids[k]]);
        }
        free(memory);
        problem_close(&problem);
    }
}

static void rows_that_nobody_changes_need_no_memory(void)
{
    problem_t problem;
    problem_open(&problem, 5, N_ROWS, N_FEATURES, LONGEST, 1, 0);
    CHECK(ht_fetched_nbytes(&problem.rows, 16) == 0);
    CHECK(!ht_rows_is_mapped(&problem.rows));
    problem_close(&problem);
}

/* What each call says of all rows; the caller's arrays must stay as they were where an
 * index is not of a feature. */
static void expect_of_all_calls(const problem_t *problem, ht_err_t expected)
{
    const ht_rows_t *rows = &problem->rows;
    ht_facts_t facts = {0};
    ht_column_t columns[N_FEATURES] = {{0}};
    float largest[N_FEATURES] = {0}, parameters[N_FEATURES + 1] = {0}, z[N_ROWS];
    int32_t rank[N_FEATURES], hot[N_ROWS];
    for (int32_t j = 0; j < N_FEATURES; j++)
        rank[j] = N_FEATURES - 1 - j;
    int32_t *indices = malloc(sizeof *indices * (size_t)problem->n_elements);
    float *values = malloc(sizeof *values * (size_t)problem->n_elements);
    REQUIRE(indices != NULL && values != NULL);
    CHECK(ht_rows_count(rows, 0, N_ROWS, 1, &facts, columns) == expected);
    CHECK(ht_rows_largest(rows, 0, N_ROWS, largest) == expected);
    CHECK(ht_rows_renumber(rows, rank, 7, 0, N_ROWS, indices, values, hot) == expected);
    CHECK(ht_linear_margins(rows, parameters, 1, HT_BASELINE, 0, N_ROWS, z) == expected);
    free(indices);
    free(values);
}

static void an_index_that_has_changed_is_met_by_every_call(void)
{
    const int32_t wrong[] = {N_FEATURES, INT32_MAX, -1, INT32_MIN};
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        problem_t problem;
        open_mapped(&problem, 1, 0);
        expect_of_all_calls(&problem, HT_OK);
        problem.indices[problem.n_elements * (int64_t)k / 4] = wrong[k];
        expect_of_all_calls(&problem, HT_ECHANGED);
        problem_close(&problem);
    }
}

static void calls_on_mapped_rows_give_what_others_give(void)
{
    problem_t problem;
    open_mapped(&problem, 1, 1);
    ht_rows_t others = problem.rows;
    others.longest = 0;
    ht_facts_t facts[2] = {{0}};
    ht_column_t columns[2][N_FEATURES] = {{{0}}};
    float largest[2][N_FEATURES] = {{0}}, parameters[N_FEATURES + 1], z[2][N_ROWS];
    for (int j = 0; j <= N_FEATURES; j++)
        parameters[j] = sinf((float)j);
    for (int k = 0; k < 2; k++) {
        const ht_rows_t *rows = k == 0 ? &problem.rows : &others;
        CHECK(ht_rows_count(rows, 3, N_ROWS, 1, &facts[k], columns[k]) == HT_OK);
        CHECK(ht_rows_largest(rows, 3, N_ROWS, largest[k]) == HT_OK);
        CHECK(ht_linear_margins(rows, parameters, 1, HT_BASELINE, 0, N_ROWS, z[k]) == HT_OK);
    }
    CHECK(memcmp(&facts[0], &facts[1], sizeof facts[0]) == 0 && facts[0].n_elements > 0);
    CHECK(memcmp(columns[0], columns[1], sizeof columns[0]) == 0);
    CHECK(memcmp(largest[0], largest[1], sizeof largest[0]) == 0);
    CHECK(memcmp(z[0], z[1], sizeof z[0]) == 0);
    problem_close(&problem);
}

int main(void)
{
    fetched_rows_are_those_asked_for();
    rows_that_nobody_changes_need_no_memory();
    an_index_that_has_changed_is_met_by_every_call();
    calls_on_mapped_rows_give_what_others_give();
    FINISH();
}

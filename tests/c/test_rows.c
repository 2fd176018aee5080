/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rows/ht_rows.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/problem.h"

/* ---- count ------------------------------------------------------------ */

static void check_count(problem_t *problem, int intercept, int64_t cut)
{
    const ht_rows_t *rows = &problem->rows;
    size_t n_features = (size_t)rows->n_features;
    ht_facts_t facts = {0};
    ht_column_t *columns = calloc(n_features, sizeof *columns);
    double *weight_of = calloc(n_features, sizeof *weight_of);
    double *curvature_of = calloc(n_features, sizeof *curvature_of);
    REQUIRE(columns != NULL && weight_of != NULL && curvature_of != NULL);
    /* Facts add up over ranges. */
    REQUIRE(ht_rows_count(rows, 0, cut, intercept, &facts, columns) == HT_OK);
    REQUIRE(ht_rows_count(rows, cut, rows->n_rows, intercept, &facts, columns) == HT_OK);
    int64_t n_ones = 0;
    double norm2_sum = 0.0, l1_sum = 0.0, norm_sum = 0.0;
    for (int64_t r = 0; r < rows->n_rows; r++) {
        double weight = rows->weights == NULL ? 1.0 : (double)rows->weights[r];
        double l1 = 0.0, norm2 = 0.0;
        for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++) {
            double x = rows->values == NULL ? 1.0 : (double)rows->values[i];
            n_ones += x == 1.0;
            norm2 += x * x;
            l1 += fabs(x);
            weight_of[rows->indices[i]] += weight;
        }
        double norm = sqrt(norm2 + intercept);
        norm2_sum += weight * norm2;
        norm_sum += weight * norm;
        l1_sum += weight * l1;
        for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++) {
            double x = rows->values == NULL ? 1.0 : fabs((double)rows->values[i]);
            curvature_of[rows->indices[i]] += weight * x * norm;
        }
    }
    CHECK(facts.n_rows == rows->n_rows);
    CHECK(facts.n_elements == rows->pointers[rows->n_rows]);
    CHECK(facts.n_ones == n_ones);
    CHECK_CLOSE(facts.norm2_sum, norm2_sum, 1e-5 * norm2_sum);
    CHECK_CLOSE(facts.l1_sum, l1_sum, 1e-5 * l1_sum);
    CHECK_CLOSE(facts.norm_sum, norm_sum, 1e-5 * norm_sum);
    for (size_t j = 0; j < n_features; j++) {
        CHECK_CLOSE(columns[j].weight, weight_of[j], 1e-5 * weight_of[j]);
        CHECK_CLOSE(columns[j].curvature, curvature_of[j], 1e-5 * curvature_of[j]);
    }
    ht_facts_t again = {0};
    REQUIRE(ht_rows_count(rows, 0, rows->n_rows, intercept, &again, NULL) == HT_OK);
    CHECK(again.n_elements == facts.n_elements && again.n_ones == facts.n_ones);
    free(columns);
    free(weight_of);
    free(curvature_of);
}

static void counts_agree_with_a_naive_loop(void)
{
    for (int has_values = 0; has_values < 2; has_values++)
        for (int has_weights = 0; has_weights < 2; has_weights++)
            for (int intercept = 0; intercept < 2; intercept++) {
                problem_t problem;
                problem_open(&problem, 21, 500, 80, 30, has_values, has_weights);
                for (int64_t i = 0; has_values && i < problem.n_elements; i += 3)
                    problem.values[i] = 1.0f;
                check_count(&problem, intercept, 123);
                problem_close(&problem);
            }
}

/* ---- renumber --------------------------------------------------------- */

/* rank[j] is where column j goes: a permutation. */
static void shuffle(int32_t *rank, int32_t n, uint64_t *random)
{
    for (int32_t j = 0; j < n; j++)
        rank[j] = j;
    for (int32_t j = n - 1; j > 0; j--) {
        int32_t k = (int32_t)(delay_random(random) % (uint64_t)(j + 1));
        int32_t swapped = rank[j];
        rank[j] = rank[k];
        rank[k] = swapped;
    }
}

/* Row r of the renumbered matrix holds row r's elements: first the hot ones,
 * then the others, each in their order. */
static void check_renumbered_row(const ht_rows_t *rows, int64_t r, const int32_t *rank,
                                 int64_t n_hot, const int32_t *indices, const float *values,
                                 int32_t hot)
{
    int64_t to = rows->pointers[r], n_hot_here = 0;
    for (int want_hot = 1; want_hot >= 0; want_hot--) {
        for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++) {
            int32_t expected = rank[rows->indices[i]];
            if ((expected < n_hot) != want_hot)
                continue;
            CHECK(indices[to] == expected);
            CHECK(values == NULL || values[to] == rows->values[i]);
            to++;
            n_hot_here += want_hot;
        }
    }
    CHECK(to == rows->pointers[r + 1]);
    CHECK(hot == n_hot_here);
}

static void check_renumber(int has_values, int64_t longest, int64_t n_hot)
{
    enum { WIDTH = 400 };
    problem_t problem;
    uint64_t random = 31;
    int32_t rank[WIDTH];
    problem_open(&problem, 22, 350, WIDTH, longest, has_values, 0);
    const ht_rows_t *rows = &problem.rows;
    shuffle(rank, WIDTH, &random);
    size_t n = (size_t)problem.n_elements;
    int32_t *indices = malloc(n * sizeof *indices);
    float *values = has_values ? malloc(n * sizeof *values) : NULL;
    int32_t hot[350];
    REQUIRE(indices != NULL && (values != NULL) == has_values);
    memset(indices, 0xff, n * sizeof *indices);
    memset(hot, 0xff, sizeof hot);
    /* A range of its own first: nothing outside is written. */
    CHECK(ht_rows_renumber(rows, rank, n_hot, 100, 349, indices, values, hot) == HT_OK);
    for (int64_t i = 0; i < rows->n_rows; i++)
        CHECK((hot[i] == -1) == (i < 100 || i >= 349));
    for (int64_t i = 0; i < problem.n_elements; i++)
        CHECK((indices[i] == -1) == (i < rows->pointers[100] || i >= rows->pointers[349]));
    CHECK(ht_rows_renumber(rows, rank, n_hot, 0, 100, indices, values, hot) == HT_OK);
    CHECK(ht_rows_renumber(rows, rank, n_hot, 349, 350, indices, values, hot) == HT_OK);
    for (int64_t r = 0; r < rows->n_rows; r++)
        check_renumbered_row(rows, r, rank, n_hot, indices, values, hot[r]);
    free(indices);
    free(values);
    problem_close(&problem);
}

static void renumbered_rows_hold_hot_elements_first(void)
{
    const int64_t n_hots[] = {0, 1, 57, 400};
    for (size_t h = 0; h < 4; h++)
        for (int has_values = 0; has_values < 2; has_values++) {
            check_renumber(has_values, 12, n_hots[h]);
            check_renumber(has_values, 97, n_hots[h]);
            check_renumber(has_values, 349, n_hots[h]);
        }
}

/* ---- dense rows ------------------------------------------------------- */

static void dense_rows_have_the_facts_of_sparse_ones(void)
{
    enum { ROWS = 60, WIDTH = 21 };
    ht_column_t dense[WIDTH] = {{0}}, sparse[WIDTH] = {{0}};
    float most_dense[WIDTH] = {0}, most_sparse[WIDTH] = {0}, norms[2][ROWS];
    ht_facts_t of_dense = {0}, of_sparse = {0};
    problem_t problem;
    problem_open_dense(&problem, 23, ROWS, WIDTH, 1);
    for (int i = 0; i < ROWS * WIDTH; i += 5)
        problem.values[i] = 1.0f;
    const ht_rows_t rows = problem_as_sparse(&problem);
    REQUIRE(ht_rows_count(&problem.rows, 3, ROWS, 1, &of_dense, dense) == HT_OK);
    REQUIRE(ht_rows_count(&rows, 3, ROWS, 1, &of_sparse, sparse) == HT_OK);
    CHECK(memcmp(&of_dense, &of_sparse, sizeof of_dense) == 0);
    CHECK(memcmp(dense, sparse, sizeof dense) == 0);
    CHECK(of_dense.n_elements == (ROWS - 3) * WIDTH && of_dense.n_ones > 200);
    REQUIRE(ht_rows_largest(&problem.rows, 3, ROWS, most_dense) == HT_OK);
    REQUIRE(ht_rows_largest(&rows, 3, ROWS, most_sparse) == HT_OK);
    CHECK(memcmp(most_dense, most_sparse, sizeof most_dense) == 0 && most_dense[0] > 0.9f);
    REQUIRE(ht_rows_norms(&problem.rows, 0, ROWS, norms[0]) == HT_OK);
    REQUIRE(ht_rows_norms(&rows, 0, 2, norms[1]) == HT_OK);
    REQUIRE(ht_rows_norms(&rows, 2, ROWS, norms[1]) == HT_OK);
    CHECK(memcmp(norms[0], norms[1], sizeof norms[0]) == 0);
    int32_t rank[WIDTH] = {0}, indices[1], hot[1];
    CHECK(ht_rows_renumber(&problem.rows, rank, 1, 0, 1, indices, NULL, hot) == HT_EINVAL);
    problem_close(&problem);
}

static void a_row_knows_its_columns_and_what_is_hot(void)
{
    problem_t problem;
    problem_open_dense(&problem, 25, 4, 20, 0);
    problem.rows.n_hot = 16;
    ht_row_t row = ht_row_at(&problem.rows, 3);
    CHECK(row.index == NULL && row.n == 20 && row.n_hot == 16);
    CHECK(row.value == problem.values + 60 && ht_row_column(row, 7) == 7);
    problem_close(&problem);
}

static void ranks_and_counts_out_of_range_are_refused(void)
{
    enum { WIDTH = 8 };
    static int32_t rank[WIDTH], indices[2000], hot[20];
    const int32_t bad[] = {-1, WIDTH, INT32_MIN, INT32_MAX};
    problem_t problem;
    int64_t bad_row = -1;
    problem_open(&problem, 9, 20, WIDTH, WIDTH, 0, 0);
    ht_rows_t *rows = &problem.rows;
    REQUIRE(problem.n_elements <= 2000);
    for (int32_t j = 0; j < WIDTH; j++)
        rank[j] = j;
    CHECK(ht_rows_renumber(rows, rank, -1, 0, 20, indices, NULL, hot) == HT_EINVAL);
    CHECK(ht_rows_renumber(rows, rank, WIDTH + 1, 0, 20, indices, NULL, hot) == HT_EINVAL);
    for (int i = 0; i < 4; i++) {
        rank[5] = bad[i];
        CHECK(ht_rows_renumber(rows, rank, 3, 0, 20, indices, NULL, hot) == HT_EINVAL);
    }
    rank[5] = 5;
    CHECK(ht_rows_renumber(rows, rank, 3, 0, 20, indices, NULL, hot) == HT_OK);
    CHECK(ht_rows_check_hot(rows, &bad_row) == HT_OK); /* without counts */
    rows->hot = hot;
    CHECK(ht_rows_check_hot(rows, &bad_row) == HT_OK && bad_row == -1);
    for (int64_t r = 0; r < 20; r += 19)
        for (int below = 0; below < 2; below++) {
            int32_t kept = hot[r];
            hot[r] = below ? -1 : (int32_t)(rows->pointers[r + 1] - rows->pointers[r]) + 1;
            CHECK(ht_rows_check_hot(rows, &bad_row) == HT_EINVAL && bad_row == r);
            hot[r] = kept;
        }
    rows->hot = NULL;
    problem_close(&problem);
}

int main(void)
{
    dense_rows_have_the_facts_of_sparse_ones();
    a_row_knows_its_columns_and_what_is_hot();
    counts_agree_with_a_naive_loop();
    renumbered_rows_hold_hot_elements_first();
    ranks_and_counts_out_of_range_are_refused();
    FINISH();
}

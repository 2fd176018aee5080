/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "rows/ht_rows.h"
#include "support/check.h"
#include "support/problem.h"

enum { N_ROWS = 6, N_FEATURES = 10, N_ELEMENTS = 13 };

/* A small matrix that tests break in one place at a time. */
typedef struct {
    int64_t pointers[N_ROWS + 1];
    int32_t indices[N_ELEMENTS];
    float values[N_ELEMENTS];
    ht_rows_t rows;
} small_t;

static void make_small(small_t *small)
{
    const small_t fresh = {
        .pointers = {0, 3, 3, 4, 9, 11, 13},
        .indices = {0, 4, 9, 5, 0, 1, 2, 3, 9, 7, 8, 0, 9},
        .values = {1, -2, 3, 1, 1, 1, 1, 1, 1, 0, 1e30f, 1, 1},
    };
    *small = fresh;
    small->rows = (ht_rows_t){.n_rows = N_ROWS,
                              .n_features = N_FEATURES,
                              .pointers = small->pointers,
                              .indices = small->indices,
                              .values = small->values};
}

static ht_err_t check_all(const small_t *small, int64_t *bad_row)
{
    *bad_row = -1;
    return ht_rows_check(&small->rows, N_ELEMENTS, 0, N_ROWS, bad_row);
}

static int64_t row_of_element(const small_t *small, int64_t element)
{
    int64_t r = 0;
    while (small->pointers[r + 1] <= element)
        r++;
    return r;
}

static void sound_rows_pass(void)
{
    small_t small;
    int64_t bad_row;
    make_small(&small);
    CHECK(check_all(&small, &bad_row) == HT_OK);
    CHECK(ht_rows_check(&small.rows, N_ELEMENTS, 2, 2, &bad_row) == HT_OK);
    small.rows.values = NULL;
    CHECK(check_all(&small, &bad_row) == HT_OK);
}

/* Expects err in the row, and that ranges without the row pass. */
static void expect_fault(const small_t *small, ht_err_t err, int64_t row)
{
    int64_t bad_row;
    CHECK(check_all(small, &bad_row) == err);
    CHECK(bad_row == row);
    CHECK(ht_rows_check(&small->rows, N_ELEMENTS, row, row + 1, &bad_row) == err);
    CHECK(bad_row == row);
    CHECK(ht_rows_check(&small->rows, N_ELEMENTS, 0, row, &bad_row) == HT_OK);
}

static void broken_row_pointers_are_found(void)
{
    static const struct {
        int pointer;
        int64_t value;
        int64_t row;
    } faults[] = {
        {0, -1, 0},             /* begins before the arrays */
        {1, -5, 0},             /* decreases below 0 */
        {2, 2, 1},              /* decreases */
        {3, 2, 2},              /* decreases, the next one rises */
        {6, 12 - 2, 5},         /* the last row ends before it begins */
        {6, N_ELEMENTS + 1, 5}, /* ends beyond the arrays */
        {4, INT64_MAX, 3},      /* far beyond */
        {4, INT64_MIN, 3},      /* far below */
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        small_t small;
        make_small(&small);
        small.pointers[faults[i].pointer] = faults[i].value;
        expect_fault(&small, HT_EROWPTR, faults[i].row);
    }
}

static void indices_out_of_range_are_found(void)
{
    const int32_t bad[] = {-1, N_FEATURES, INT32_MAX, INT32_MIN};
    for (int64_t e = 0; e < N_ELEMENTS; e++)
        for (size_t b = 0; b < 4; b++) {
            small_t small;
            make_small(&small);
            small.indices[e] = bad[b];
            expect_fault(&small, HT_EINDEX, row_of_element(&small, e));
            small_t later = small; /* and the rows after it pass */
            later.rows = small.rows;
            int64_t bad_row;
            int64_t next = row_of_element(&small, e) + 1;
            CHECK(ht_rows_check(&later.rows, N_ELEMENTS, next, N_ROWS, &bad_row) == HT_OK);
        }
}

/* Columns may stand in any order, and in many rows, but not twice in a row. */
static void only_duplicates_are_refused(void)
{
    small_t small;
    int64_t bad_row;
    make_small(&small);
    for (int64_t e = 0; e < N_ELEMENTS; e++)
        small.indices[e] = N_FEATURES - 1 - small.indices[e];
    CHECK(check_all(&small, &bad_row) == HT_OK);
    for (int64_t r = 0; r < N_ROWS; r++)
        for (int64_t e = small.pointers[r]; e < small.pointers[r + 1]; e++)
            for (int64_t other = small.pointers[r]; other < e; other++) {
                int32_t kept = small.indices[e];
                small.indices[e] = small.indices[other];
                expect_fault(&small, HT_EDUPLICATE, r);
                small.indices[e] = kept;
            }
}

static void non_finite_values_are_found(void)
{
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int64_t e = 0; e < N_ELEMENTS; e++)
        for (size_t b = 0; b < 4; b++) {
            small_t small;
            make_small(&small);
            small.values[e] = bad[b];
            expect_fault(&small, HT_EVALUE, row_of_element(&small, e));
        }
}

static void of_dense_rows_only_values_can_be_wrong(void)
{
    enum { ROWS = 9, WIDTH = 5 };
    const float bad[] = {NAN, INFINITY, -INFINITY};
    int64_t bad_row;
    problem_t problem;
    problem_open_dense(&problem, 24, ROWS, WIDTH, 0);
    CHECK(ht_rows_check(&problem.rows, ROWS * WIDTH, 0, ROWS, &bad_row) == HT_OK);
    for (int64_t e = 0; e < ROWS * WIDTH; e++) {
        float kept = problem.values[e];
        problem.values[e] = bad[e % 3];
        CHECK(ht_rows_check(&problem.rows, ROWS * WIDTH, 0, ROWS, &bad_row) == HT_EVALUE);
        CHECK(bad_row == e / WIDTH);
        CHECK(ht_rows_check(&problem.rows, ROWS * WIDTH, 0, e / WIDTH, &bad_row) == HT_OK);
        problem.values[e] = kept;
    }
    problem_close(&problem);
}

int main(void)
{
    sound_rows_pass();
    broken_row_pointers_are_found();
    indices_out_of_range_are_found();
    only_duplicates_are_refused();
    non_finite_values_are_found();
    of_dense_rows_only_values_can_be_wrong();
    FINISH();
}

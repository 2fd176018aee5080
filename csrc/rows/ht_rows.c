/* SPDX-License-Identifier: BSD-3-Clause */
#include "rows/ht_rows.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef float f32x2_t __attribute__((vector_size(8)));
typedef float f32x4_t __attribute__((vector_size(16)));
typedef int32_t i32x4_t __attribute__((vector_size(16)));

/* NaN or infinite: the exponent is all ones.  Integer test, so that a block
 * of values is checked without a branch. */
HT_INLINE uint32_t is_nonfinite(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7f800000u) == 0x7f800000u;
}

/* Returns the column of an element; n_features for all that are none. */
HT_INLINE uint32_t column_or_end(const int32_t *index, uint32_t n_features)
{
    /* race: with a process that changes a mapped file; harmless, because the index is read once and
     * is in range then; worst case a wrong answer. */
    uint32_t column = (uint32_t)__atomic_load_n(index, __ATOMIC_RELAXED);
    return column < n_features ? column : n_features;
}

/* Returns whether a column stands twice in a row.  is_held has n_features + 1 zeros, and has them
 * again afterwards, unless the row changes meanwhile. */
static int has_duplicates(ht_row_t row, uint32_t n_features, uint8_t *is_held)
{
    uint8_t is_twice = 0;
    for (int64_t i = 0; i < row.n; i++) {
        uint32_t column = column_or_end(row.index + i, n_features);
        is_twice |= is_held[column];
        is_held[column] = 1;
    }
    for (int64_t i = 0; i < row.n; i++)
        is_held[column_or_end(row.index + i, n_features)] = 0;
    return is_twice;
}

/* Checks row id.  *is_held is for has_duplicates; NULL until a row needs it. */
static ht_err_t check_row(const ht_rows_t *rows, int64_t n_elements, int64_t id, uint8_t **is_held)
{
    if (!ht_rows_is_dense(rows)) {
        int64_t begin = rows->pointers[id], end = rows->pointers[id + 1];
        if (begin < 0 || end < begin || end > n_elements)
            return HT_EROWPTR;
    }
    const uint32_t n_features = (uint32_t)rows->n_features;
    ht_row_t row = ht_row_at(rows, id);
    uint32_t outside = 0, unordered = 0, nonfinite = 0;
    if (row.index != NULL) {
        for (int64_t i = 0; i < row.n; i++)
            outside |= (uint32_t)row.index[i] >= n_features; /* negative ones wrap to large */
        for (int64_t i = 1; i < row.n; i++)
            unordered |= row.index[i - 1] >= row.index[i];
    }
    if (row.value != NULL)
        for (int64_t i = 0; i < row.n; i++)
            nonfinite |= is_nonfinite(row.value[i]);
    if (outside)
        return HT_EINDEX;
    if (unordered) { /* else no column stands twice */
        if (*is_held == NULL)
            *is_held = calloc((size_t)n_features + 1, 1);
        if (*is_held == NULL)
            return -ENOMEM;
        if (has_duplicates(row, n_features, *is_held))
            return HT_EDUPLICATE;
    }
    return nonfinite ? HT_EVALUE : HT_OK;
}

ht_err_t ht_rows_check(const ht_rows_t *rows, int64_t n_elements, int64_t first, int64_t last,
                       int64_t *bad_row)
{
    uint8_t *is_held = NULL;
    ht_err_t err = HT_OK;
    for (int64_t r = first; err == HT_OK && r < last; r++) {
        *bad_row = r;
        err = check_row(rows, n_elements, r, &is_held);
    }
    free(is_held);
    return err;
}

ht_err_t ht_rows_check_hot(const ht_rows_t *rows, int64_t *bad_row)
{
    if (rows->hot == NULL)
        return HT_OK;
    for (int64_t r = 0; r < rows->n_rows; r++) {
        int64_t n = ht_rows_is_dense(rows) ? 0 : rows->pointers[r + 1] - rows->pointers[r];
        if (rows->hot[r] >= 0 && rows->hot[r] <= n)
            continue;
        *bad_row = r;
        return HT_EINVAL;
    }
    return HT_OK;
}

/* Writes the norms and the number of ones of a row, in four partial sums each: a single sum would
 * wait for its own last addition. */
static void measure_row(const float *value, int64_t n, float *norm2, float *l1, int64_t *ones)
{
    f32x4_t squares = {0}, sums = {0};
    i32x4_t counts = {0};
    for (int64_t i = 0; i < n; i += 4) {
        f32x4_t x = {0};
        if (n - i >= 4)
            memcpy(&x, value + i, sizeof x);
        else /* lanes beyond the row stay 0, and add nothing */
            for (int64_t k = 0; k < n - i; k++)
                x[k] = value[i + k];
        squares += x * x;
        sums += (f32x4_t)((i32x4_t)x & 0x7fffffff);
        counts -= x == 1.0f; /* true is -1 */
    }
    *norm2 = squares[0] + squares[1] + (squares[2] + squares[3]);
    *l1 = sums[0] + sums[1] + (sums[2] + sums[3]);
    *ones = (int64_t)counts[0] + counts[1] + counts[2] + counts[3];
}

/* ---- rows of a mapped file ----------------------------------------------- */

const int64_t ht_fetched_ids[HT_FETCH_ROWS] = {0, 1, 2,  3,  4,  5,  6,  7,
                                               8, 9, 10, 11, 12, 13, 14, 15};

size_t ht_fetched_nbytes(const ht_rows_t *rows, int n)
{
    size_t elements = (size_t)rows->longest * (size_t)n;
    return elements * (sizeof(int32_t) + (rows->values == NULL ? 0 : sizeof(float)));
}

void ht_fetched_open(ht_fetched_t *fetched, const ht_rows_t *rows, int n, void *memory)
{
    fetched->indices = memory;
    fetched->values = NULL;
    if (rows->values != NULL)
        fetched->values = (float *)(void *)(fetched->indices + rows->longest * n);
    fetched->rows = (ht_rows_t){
        .n_rows = n,
        .n_features = rows->n_features,
        .pointers = fetched->pointers,
        .indices = fetched->indices,
        .values = fetched->values,
        .targets = rows->targets == NULL ? NULL : fetched->targets,
        .weights = rows->weights == NULL ? NULL : fetched->weights,
        .reach = rows->reach == NULL ? NULL : fetched->reach,
        .n_hot = rows->n_hot,
    };
}

ht_err_t ht_rows_fetch(const ht_rows_t *rows, const int64_t *ids, int n, ht_fetched_t *fetched)
{
    const uint32_t n_features = (uint32_t)rows->n_features;
    int64_t at = 0;
    uint32_t outside = 0;
    for (int k = 0; k < n; k++) {
        ht_row_t row = ht_row_at(rows, ids[k]);
        int32_t *indices = fetched->indices + at;
        /* race: with a process that changes the file; harmless, because only the copy is used;
         * worst case a row of other numbers. */
        memcpy(indices, row.index, sizeof *indices * (size_t)row.n);
        if (row.value != NULL)
            memcpy(fetched->values + at, row.value, sizeof(float) * (size_t)row.n);
        for (int64_t i = 0; i < row.n; i++)
            outside |= (uint32_t)indices[i] >= n_features; /* negative ones wrap to large */
        if (rows->targets != NULL)
            fetched->targets[k] = rows->targets[ids[k]];
        if (rows->weights != NULL)
            fetched->weights[k] = rows->weights[ids[k]];
        if (rows->reach != NULL)
            fetched->reach[k] = rows->reach[ids[k]];
        fetched->pointers[k] = at;
        at += row.n;
    }
    fetched->pointers[n] = at;
    return outside ? HT_ECHANGED : HT_OK;
}

/* Makes room for fetching one row at a time; the caller frees *memory. */
static ht_err_t open_one(ht_fetched_t *fetched, const ht_rows_t *rows, void **memory)
{
    *memory = NULL;
    if (!ht_rows_is_mapped(rows))
        return HT_OK;
    *memory = malloc(ht_fetched_nbytes(rows, 1));
    if (*memory == NULL)
        return -ENOMEM;
    ht_fetched_open(fetched, rows, 1, *memory);
    return HT_OK;
}

/* Finds a row: in place, or fetched where the file is mapped. */
HT_INLINE ht_err_t find_row(const ht_rows_t *rows, int64_t id, ht_fetched_t *fetched, ht_row_t *row)
{
    if (!ht_rows_is_mapped(rows)) {
        *row = ht_row_at(rows, id);
        return HT_OK;
    }
    ht_err_t err = ht_rows_fetch(rows, &id, 1, fetched);
    *row = ht_row_at(&fetched->rows, 0);
    return err;
}

/* ---- facts ---------------------------------------------------------------- */

static void count_row(ht_row_t row, float weight, int intercept, ht_facts_t *facts,
                      ht_column_t *columns)
{
    float norm2 = (float)row.n, l1 = (float)row.n;
    int64_t ones = row.n;
    if (row.value != NULL)
        measure_row(row.value, row.n, &norm2, &l1, &ones);
    facts->n_rows++;
    facts->n_elements += row.n;
    facts->n_ones += ones;
    facts->norm2_sum += (double)weight * (double)norm2;
    facts->l1_sum += (double)weight * (double)l1;
    float share = weight * sqrtf(norm2 + (float)intercept);
    facts->norm_sum += (double)share;
    for (int64_t i = 0; columns != NULL && i < row.n; i++) {
        ht_column_t *column = columns + ht_row_column(row, i);
        f32x2_t sums, more = {weight, share * fabsf(ht_row_value(row, i))};
        memcpy(&sums, column, sizeof sums); /* both are added at once */
        sums += more;
        memcpy(column, &sums, sizeof sums);
    }
}

ht_err_t ht_rows_count(const ht_rows_t *rows, int64_t first, int64_t last, int intercept,
                       ht_facts_t *facts, ht_column_t *columns)
{
    ht_fetched_t fetched;
    void *memory;
    ht_err_t err = open_one(&fetched, rows, &memory);
    for (int64_t r = first; err == HT_OK && r < last; r++) {
        ht_row_t row;
        err = find_row(rows, r, &fetched, &row);
        if (err == HT_OK)
            count_row(row, rows->weights == NULL ? 1.0f : rows->weights[r], intercept, facts,
                      columns);
    }
    free(memory);
    return err;
}

ht_err_t ht_rows_norms(const ht_rows_t *rows, int64_t first, int64_t last, float *norm2)
{
    ht_fetched_t fetched;
    void *memory;
    ht_err_t err = open_one(&fetched, rows, &memory);
    for (int64_t r = first; err == HT_OK && r < last; r++) {
        ht_row_t row;
        float l1;
        int64_t ones;
        err = find_row(rows, r, &fetched, &row);
        norm2[r] = (float)row.n;
        if (err == HT_OK && row.value != NULL)
            measure_row(row.value, row.n, &norm2[r], &l1, &ones);
    }
    free(memory);
    return err;
}

ht_err_t ht_rows_largest(const ht_rows_t *rows, int64_t first, int64_t last, float *largest)
{
    ht_fetched_t fetched;
    void *memory;
    ht_err_t err = open_one(&fetched, rows, &memory);
    for (int64_t r = first; err == HT_OK && r < last; r++) {
        ht_row_t row;
        err = find_row(rows, r, &fetched, &row);
        for (int64_t i = 0; err == HT_OK && i < row.n; i++) {
            float size = fabsf(ht_row_value(row, i));
            float *most = largest + ht_row_column(row, i);
            *most = size > *most ? size : *most;
        }
    }
    free(memory);
    return err;
}

/* ---- renumbering ---------------------------------------------------------- */

/* Writes one row; returns how many elements are hot.  These go to their place at once, cold ones
 * wait in the buffers.  Both stores are made each time, so that no branch is predicted. */
static int64_t split_row(const int32_t *index, const float *value, int64_t n, const int32_t *rank,
                         int32_t n_hot, int32_t *to_index, float *to_value, int32_t *cold_index,
                         float *cold_value)
{
    int64_t hot = 0, cold = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t r = rank[index[i]];
        to_index[hot] = r;
        cold_index[cold] = r;
        if (value != NULL)
            to_value[hot] = cold_value[cold] = value[i];
        hot += r < n_hot;
        cold += r >= n_hot;
    }
    memcpy(to_index + hot, cold_index, sizeof *cold_index * (size_t)cold);
    if (value != NULL)
        memcpy(to_value + hot, cold_value, sizeof *cold_value * (size_t)cold);
    return hot;
}

ht_err_t ht_rows_renumber(const ht_rows_t *rows, const int32_t *rank, int64_t n_hot, int64_t first,
                          int64_t last, int32_t *indices, float *values, int32_t *hot)
{
    if (ht_rows_is_dense(rows) || n_hot < 0 || n_hot > rows->n_features)
        return HT_EINVAL;
    uint32_t outside = 0;
    for (int64_t j = 0; j < rows->n_features; j++)
        outside |= (uint32_t)rank[j] >= (uint32_t)rows->n_features; /* negative: wraps */
    if (outside)
        return HT_EINVAL;
    int64_t longest = 0;
    for (int64_t r = first; r < last; r++) {
        int64_t n = rows->pointers[r + 1] - rows->pointers[r];
        longest = n > longest ? n : longest;
    }
    ht_fetched_t fetched;
    void *memory;
    ht_err_t err = open_one(&fetched, rows, &memory);
    /* One more: the last store of a row may be one past its elements. */
    int32_t *cold_index = malloc((size_t)(longest + 1) * sizeof *cold_index);
    float *cold_value = malloc((size_t)(longest + 1) * sizeof *cold_value);
    if (cold_index == NULL || cold_value == NULL)
        err = -ENOMEM;
    for (int64_t r = first; err == HT_OK && r < last; r++) {
        ht_row_t row;
        int64_t begin = rows->pointers[r];
        err = find_row(rows, r, &fetched, &row);
        if (err == HT_OK)
            hot[r] = (int32_t)split_row(row.index, row.value, row.n, rank, (int32_t)n_hot,
                                        indices + begin, row.value == NULL ? NULL : values + begin,
                                        cold_index, cold_value);
    }
    free(cold_index);
    free(cold_value);
    free(memory);
    return err;
}

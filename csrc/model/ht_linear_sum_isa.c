/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels that sum the gradients of a task's dense rows, compiled once per instruction set
 * (HT_ISA).
 *
 * The sums of a few coordinates stay in registers while the rows pass.  Each sum has a lane of its
 * own and takes the rows in their order, so that its bits depend on neither the width of registers
 * nor the number of rows in a call.
 */
#include <string.h>

#include "model/ht_linear_tables.h"

enum { HELD = 8 }; /* vectors of sums in registers */

/* Sums `held` vectors of neighbouring features, for one output. */
HT_INLINE void sum_features(const float *const *x, int n_rows, int64_t first, int held,
                            const float *gradient, int is_first, float *sum)
{
    ht_native_t sums[HELD] = {{0}};
    for (int v = 0; v < held && !is_first; v++)
        sums[v] = ht_native_load(sum + first + v * HT_NATIVE);
    for (int k = 0; k < n_rows; k++)
        for (int v = 0; v < held; v++)
            sums[v] += ht_native_load(x[k] + first + v * HT_NATIVE) * gradient[k];
    for (int v = 0; v < held; v++)
        ht_native_store(sum + first + v * HT_NATIVE, sums[v]);
}

static void sum_one(const float *const *x, int n_rows, int64_t n_features, const float *gradient,
                    int is_first, float *sum)
{
    int64_t j = 0;
    for (; j + HELD * HT_NATIVE <= n_features; j += HELD * HT_NATIVE)
        sum_features(x, n_rows, j, HELD, gradient, is_first, sum);
    for (; j + HT_NATIVE <= n_features; j += HT_NATIVE)
        sum_features(x, n_rows, j, 1, gradient, is_first, sum);
    for (; j < n_features; j++) {
        float total = is_first ? 0.0f : sum[j];
        for (int k = 0; k < n_rows; k++)
            total += x[k][j] * gradient[k];
        sum[j] = total;
    }
}

/* Sums a vector of outputs of `held` neighbouring features. */
HT_INLINE void sum_outputs(const float *const *x, int n_rows, int64_t first, int held,
                           const float *gradient, int64_t outputs, int is_first, float *sum)
{
    ht_native_t sums[HELD] = {{0}};
    for (int v = 0; v < held && !is_first; v++)
        sums[v] = ht_native_load(sum + (first + v) * outputs);
    for (int k = 0; k < n_rows; k++) {
        ht_native_t g = ht_native_load(gradient + k * outputs);
        for (int v = 0; v < held; v++)
            sums[v] += g * x[k][first + v];
    }
    for (int v = 0; v < held; v++)
        ht_native_store(sum + (first + v) * outputs, sums[v]);
}

static void sum_several(const float *const *x, int n_rows, int64_t n_features,
                        const float *gradient, int64_t outputs, int is_first, float *sum)
{
    for (int64_t o = 0; o < outputs; o += HT_NATIVE) {
        int64_t j = 0;
        for (; j + HELD <= n_features; j += HELD)
            sum_outputs(x, n_rows, j, HELD, gradient + o, outputs, is_first, sum + o);
        for (; j < n_features; j++)
            sum_outputs(x, n_rows, j, 1, gradient + o, outputs, is_first, sum + o);
    }
}

static void sum_intercepts(int n_rows, const float *gradient, int64_t outputs, int is_first,
                           float *sum)
{
    if (is_first)
        memset(sum, 0, sizeof *sum * (size_t)outputs);
    for (int k = 0; k < n_rows; k++)
        for (int64_t o = 0; o < outputs; o++)
            sum[o] += gradient[k * outputs + o];
}

static void sum_rows(const ht_rows_t *rows, const int64_t *ids, int n, const float *gradient,
                     int64_t outputs, int has_intercept, int is_first, float *sum)
{
    const float *x[HT_SUM_ROWS];
    for (int k = 0; k < n; k++)
        x[k] = ht_row_at(rows, ids[k]).value;
    if (has_intercept)
        sum_intercepts(n, gradient, outputs, is_first, sum);
    if (outputs == 1)
        sum_one(x, n, rows->n_features, gradient, is_first, sum + 1);
    else
        sum_several(x, n, rows->n_features, gradient, outputs, is_first, sum + outputs);
}

const ht_sum_fn_t HT_ISA_SYMBOL(ht_linear_sum) = sum_rows;

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels that add sparse rows to sums, compiled once per instruction set (HT_ISA).
 *
 * race: the stores to sums with the loads of a merging worker that was delayed
 * until the next step; harmless, because that worker's commit fails and its result
 * is thrown away; worst case wasted time.
 */
#include "model/ht_linear_tables.h"

HT_INLINE void add_row_exact(const ht_sums_t *to, ht_row_t row, double gradient,
                             const double *scales)
{
    int64_t *sums = (int64_t *)to->sums + 1;
    for (int64_t i = 0; i < row.n; i += HT_LANES) {
        int64_t q[HT_LANES];
        int m = row.n - i < HT_LANES ? (int)(row.n - i) : HT_LANES;
        if (m == HT_LANES && scales == NULL) /* the compiler vectorises this loop */
            for (int k = 0; k < HT_LANES; k++)
                q[k] =
                    ht_sums_round(gradient * (row.value == NULL ? 1.0 : (double)row.value[i + k]));
        else
            for (int k = 0; k < m; k++) {
                int64_t at = row.index[i + k] + 1;
                double scale = scales == NULL ? 1.0 : scales[at / HT_SUMS_SCALE];
                q[k] = ht_sums_round(gradient * scale * (double)ht_row_value(row, i + k));
            }
        for (int k = 0; k < m; k++) {
            int64_t j = row.index[i + k];
            sums[j] = (int64_t)((uint64_t)sums[j] + (uint64_t)q[k]);
            to->marks[(j + 1) / HT_SUMS_GROUP] = 1;
        }
    }
}

HT_INLINE void add_row_plain(const ht_sums_t *to, ht_row_t row, float gradient)
{
    float *sums = (float *)to->sums + 1;
    for (int64_t i = 0; i < row.n; i++) {
        int64_t j = row.index[i];
        sums[j] += row.value == NULL ? gradient : gradient * row.value[i];
        to->marks[(j + 1) / HT_SUMS_GROUP] = 1;
    }
}

/* Adds x times the gradients of 16 outputs to neighbouring coordinates. */
HT_INLINE void add_outputs(const ht_sums_t *to, int64_t at, const float *gradient, float x,
                           double inverse_unit, const double *scales, int is_exact)
{
    to->marks[at / HT_SUMS_GROUP] = to->marks[at / HT_SUMS_GROUP + 1] = 1;
    if (!is_exact) {
        float *sums = (float *)to->sums + at;
        for (int o = 0; o < HT_LANES; o++)
            sums[o] += gradient[o] * x;
        return;
    }
    uint64_t *sums = (uint64_t *)to->sums + at;
    double factor = inverse_unit * (scales == NULL ? 1.0 : scales[at / HT_SUMS_SCALE]);
    for (int o = 0; o < HT_LANES; o++)
        sums[o] += (uint64_t)ht_sums_round((double)gradient[o] * factor * (double)x);
}

HT_INLINE void add_row_outputs(const ht_sums_t *to, ht_row_t row, const float *gradient,
                               int64_t outputs, int has_intercept, double inverse_unit,
                               const double *scales, int is_exact)
{
    for (int64_t o = 0; o < outputs; o += HT_LANES) {
        for (int64_t i = 0; i < row.n; i++)
            add_outputs(to, (row.index[i] + 1) * outputs + o, gradient + o, ht_row_value(row, i),
                        inverse_unit, scales, is_exact);
        if (has_intercept)
            add_outputs(to, o, gradient + o, 1.0f, inverse_unit, scales, is_exact);
    }
}

HT_INLINE void add_rows(const ht_sums_t *to, const ht_rows_t *rows, const int64_t *ids, int n,
                        const float *gradient, int64_t outputs, int has_intercept,
                        double inverse_unit, const double *scales, int is_exact)
{
    for (int k = 0; k < n; k++) {
        ht_row_t row = ht_row_at(rows, ids[k]);
        if (outputs > 1) {
            add_row_outputs(to, row, gradient + k * outputs, outputs, has_intercept, inverse_unit,
                            scales, is_exact);
            continue;
        }
        double g = (double)gradient[k] * inverse_unit;
        if (!is_exact)
            add_row_plain(to, row, gradient[k]);
        else
            add_row_exact(to, row, g, scales);
        if (!has_intercept)
            continue;
        to->marks[0] = 1;
        if (is_exact)
            *(uint64_t *)to->sums += (uint64_t)ht_sums_round(scales == NULL ? g : g * scales[0]);
        else
            *(float *)to->sums += gradient[k];
    }
}

static void add_plain_racy(const ht_sums_t *to, const ht_rows_t *rows, const int64_t *ids, int n,
                           const float *gradient, int64_t outputs, int has_intercept,
                           double inverse_unit, const double *scales)
{
    add_rows(to, rows, ids, n, gradient, outputs, has_intercept, inverse_unit, scales, 0);
}

static void add_exact_racy(const ht_sums_t *to, const ht_rows_t *rows, const int64_t *ids, int n,
                           const float *gradient, int64_t outputs, int has_intercept,
                           double inverse_unit, const double *scales)
{
    add_rows(to, rows, ids, n, gradient, outputs, has_intercept, inverse_unit, scales, 1);
}

const ht_add_fn_t HT_ISA_SYMBOL(ht_linear_add)[2] = {add_plain_racy, add_exact_racy};

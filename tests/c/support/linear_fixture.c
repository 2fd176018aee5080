/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/linear_fixture.h"

#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/delay.h"

static int is_hot(const store_t *store, int64_t row)
{
    return store->n_hot > 0 && row <= store->n_hot;
}

/* Value k of an entry; those that are no share are the same with and without shares. */
static float draw(const store_t *store, uint64_t *random, int64_t row, int64_t o, int k)
{
    if (store->has_shares && k == ht_optimizer_penalty_at(store->optimizer))
        return row == 0 ? 0.0f : 1.0f + (float)(row % 5);
    if (o >= store->classes || k >= ht_optimizer_arrays(store->optimizer))
        return 0.0f;
    float value = (float)(2.0 * delay_uniform(random) - 1.0);
    if (!naive_has_squares(store->optimizer, k))
        return value;
    return row == 3 ? 0.0f : 0.5f + fabsf(value); /* column 2 has seen no gradient */
}

void store_open(store_t *store, const store_kind_t *kind, int64_t n_hot)
{
    uint64_t random = 91;
    int stride = ht_optimizer_stride(kind->optimizer, kind->has_shares);
    int64_t outputs = kind->classes == 0 ? 1 : ht_softmax_outputs(kind->classes);
    int64_t size = stride * outputs;
    REQUIRE(size * (kind->n_features + 1) + 2 * STORE_GUARD <= STORE_MOST);
    store->optimizer = kind->optimizer;
    store->has_shares = kind->has_shares;
    store->stride = stride;
    store->outputs = outputs;
    store->classes = kind->classes == 0 ? 1 : kind->classes;
    store->n_features = kind->n_features;
    store->n_hot = n_hot;
    for (int i = 0; i < STORE_MOST; i++)
        store->hot[i] = store->cold[i] = NAN;
    float *hot = store->hot + STORE_GUARD, *cold = store->cold + STORE_GUARD;
    for (int64_t row = 0; row <= kind->n_features; row++)
        for (int64_t i = 0; i < size; i++) {
            float value = draw(store, &random, row, i / stride, (int)(i % stride));
            *((is_hot(store, row) ? hot : cold) + size * row + i) = value;
        }
    store->view = (ht_view_t){.hot = hot + size, .cold = cold + size, .outputs = outputs};
    if (kind->has_intercept)
        store->view.intercept = n_hot > 0 ? hot : cold;
}

void store_factors(store_t *store)
{
    for (int64_t j = 0; j < store->n_features; j++)
        store->l1_factor[j] = 0.25f + 0.5f * (float)(j % 7);
    store->view.l1_factor = store->l1_factor;
}

size_t store_collect(const store_t *store, float *all)
{
    int64_t size = store->stride * store->outputs, n = size * (store->n_features + 1);
    for (int64_t i = 0; i < STORE_MOST; i++) {
        int64_t at = i - STORE_GUARD;
        int inside = at >= 0 && at < n, hot = inside && is_hot(store, at / size);
        if (inside)
            all[at] = hot ? store->hot[i] : store->cold[i];
        CHECK(hot || isnan(store->hot[i]));
        CHECK((inside && !hot) || isnan(store->cold[i]));
    }
    return (size_t)n;
}

naive_entry_t store_entry(const store_t *store, const float *all, int64_t row, int64_t o)
{
    const float *entry = all + store->stride * (store->outputs * row + o);
    int n = ht_optimizer_arrays(store->optimizer);
    if (ht_optimizer_is_dual(store->optimizer))
        return (naive_entry_t){.a = entry[0], .b = entry[1]};
    return (naive_entry_t){entry[0], n > 1 ? (double)entry[1] : 0.0,
                           n > 2 ? (double)entry[2] : 0.0};
}

void store_check(const store_t *store, const float *all, const naive_entry_t *expected)
{
    for (int64_t i = 0; i < (store->n_features + 1) * store->outputs; i++) {
        naive_entry_t found = store_entry(store, all, i / store->outputs, i % store->outputs);
        if (i % store->outputs >= store->classes)
            CHECK(found.w == 0.0 && found.a == 0.0 && found.b == 0.0);
        if (!ht_optimizer_is_dual(store->optimizer))
            CHECK_CLOSE(found.w, expected[i].w, 2e-5 * (1.0 + fabs(expected[i].w)));
        CHECK_CLOSE(found.a, expected[i].a, 2e-5 * (1.0 + fabs(expected[i].a)));
        CHECK_CLOSE(found.b, expected[i].b, 2e-5 * (1.0 + fabs(expected[i].b)));
    }
}

float store_gradient(const store_t *store, int64_t row, int64_t output)
{
    return output < store->classes ? (float)sin(1.0 + (double)row + 3.0 * (double)output) : 0.0f;
}

void store_step(const store_t *store, const ht_rows_t *rows, ht_step_fn_t fn, const ht_step_t *step)
{
    static float gradient[HT_GROUP_ROWS * HT_MOST_CLASSES];
    for (int64_t first = 0; first < rows->n_rows; first += HT_GROUP_ROWS) {
        int64_t ids[HT_GROUP_ROWS], left = rows->n_rows - first;
        int n = left < HT_GROUP_ROWS ? (int)left : HT_GROUP_ROWS;
        for (int k = 0; k < n; k++) {
            ids[k] = first + k;
            for (int64_t o = 0; o < store->outputs; o++)
                gradient[k * store->outputs + o] = store_gradient(store, first + k, o);
        }
        fn(rows, ids, n, &store->view, gradient, step);
    }
}

void store_step_naively(const store_t *store, const ht_rows_t *rows, const ht_step_t *step,
                        naive_entry_t *entries)
{
    static float all[STORE_MOST], c[STORE_MOST], l1_factor[STORE_MOST];
    double gradient[HT_MOST_CLASSES];
    (void)store_collect(store, all);
    for (int64_t i = 0; i < (store->n_features + 1) * store->outputs; i++)
        entries[i] = store_entry(store, all, i / store->outputs, i % store->outputs);
    for (int64_t row = 0; store->has_shares && row <= store->n_features; row++)
        c[row] =
            all[store->stride * store->outputs * row + ht_optimizer_penalty_at(store->optimizer)];
    for (int64_t j = 0; store->view.l1_factor != NULL && j < store->n_features; j++)
        l1_factor[j + 1] = store->view.l1_factor[j];
    naive_model_t model = {
        .rows = rows,
        .outputs = store->outputs,
        .optimizer = store->optimizer,
        .has_intercept = store->view.intercept != NULL,
        .c = store->has_shares ? c : NULL,
        .l1_factor = store->view.l1_factor == NULL ? NULL : l1_factor,
        .entries = entries,
    };
    ht_step_t mine = *step;
    for (int64_t r = 0; r < rows->n_rows; r++) {
        mine.power1 = r % HT_GROUP_ROWS == 0 ? step->power1 : mine.power1 * step->decay1;
        mine.power2 = r % HT_GROUP_ROWS == 0 ? step->power2 : mine.power2 * step->decay2;
        for (int64_t o = 0; o < store->outputs; o++)
            gradient[o] = store_gradient(store, r, o);
        naive_row(&model, r, gradient, &mine);
    }
}

void store_dot(const store_t *store, const ht_rows_t *rows, ht_dot_fn_t fn, int n,
               const ht_step_t *step, float *z)
{
    for (int64_t first = 0; first < rows->n_rows; first += n) {
        int64_t ids[HT_GROUP_ROWS], left = rows->n_rows - first;
        int m = left < n ? (int)left : n;
        for (int k = 0; k < m; k++)
            ids[k] = first + k;
        fn(rows, ids, m, &store->view, store->stride, step, z + first * store->outputs);
    }
}

ht_step_t store_step_of(ht_optimizer_t optimizer, int which)
{
    const float l1 = which == 2 ? 0.003f : 0.0f, l2 = which > 0 ? 0.05f : 0.0f;
    ht_step_t step = {.lr = 0.1f, .decay1 = 0.9f, .decay2 = 0.95f, .beta = 0.5f};
    step.power1 = 0.7f;
    step.power2 = 0.8f;
    ht_step_correct(&step);
    int is_dual = ht_optimizer_is_dual(optimizer);
    step.l1 = is_dual ? 0.0f : l1;
    step.l2 = is_dual ? 0.0f : l2;
    step.l1_sum = is_dual ? 60.0f * l1 : 0.0f;
    step.l2_sum = is_dual ? 60.0f * l2 : 0.0f;
    return step;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The racy kernels of several outputs.  The entries of a feature's outputs are
 * neighbours, so that lanes run over outputs, for sparse and dense rows alike. */
#include "model/ht_linear_lanes.h"

/* Returns the entries of the feature of element i. */
HT_INLINE float *entries_at(ht_row_t row, int64_t i, const ht_view_t *view, int64_t size)
{
    return (i < row.n_hot ? view->hot : view->cold) + size * ht_row_column(row, i);
}

/* Returns c1 of a feature whose entries do not hold c. */
HT_INLINE float factor_at(const ht_view_t *view, int64_t feature)
{
    return view->l1_factor == NULL ? 1.0f : view->l1_factor[feature];
}

HT_INLINE void dot_row(ht_row_t row, const ht_view_t *view, int stride, int is_dual,
                       const ht_step_t *step, float *z)
{
    const int64_t size = stride * view->outputs;
    const ht_step_t free = without_penalty(step);
    for (int64_t o = 0; o < view->outputs; o += HT_LANES) {
        ht_f32x16_t sum = {0};
        for (int64_t i = 0; i < row.n; i++) {
            float x = ht_row_value(row, i);
            if (stride > 1 && x == 0.0f) /* to take w out of entries has its price */
                continue;
            const float *at = entries_at(row, i, view, size) + stride * o;
            ht_f32x16_t c1 = ht_lanes_set(is_dual ? factor_at(view, ht_row_column(row, i)) : 1.0f);
            sum += load_w(at, HT_LANES, stride, is_dual, c1, step) * x;
        }
        if (view->intercept != NULL)
            sum += load_w(view->intercept + stride * o, HT_LANES, stride, is_dual,
                          ht_lanes_set(1.0f), &free);
        ht_lanes_store(z + o, sum);
    }
}

enum { FLIGHT = 8, STEPPED = 4 }; /* dense rows that share the loads of parameters, of states */

/* Adds the products of features first .. last-1 of a few dense rows to the rows' sums of a vector
 * of outputs. */
HT_INLINE void dot_part(const float *const *x, int n_rows, const float *w, int64_t outputs,
                        int64_t first, int64_t last, ht_native_t *sums)
{
    for (int64_t i = first; i < last; i++) {
        ht_native_t of_feature = ht_native_load(w + outputs * i);
        for (int k = 0; k < n_rows; k++)
            sums[k] += of_feature * x[k][i];
    }
}

HT_INLINE void dot_flight(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                          float *z)
{
    const float *x[FLIGHT];
    for (int k = 0; k < n; k++)
        x[k] = ht_row_at(rows, ids[k]).value;
    for (int64_t o = 0; o < view->outputs; o += HT_NATIVE) {
        ht_native_t sums[FLIGHT] = {{0}};
        dot_part(x, n, view->hot + o, view->outputs, 0, rows->n_hot, sums);
        dot_part(x, n, view->cold + o, view->outputs, rows->n_hot, rows->n_features, sums);
        for (int k = 0; k < n && view->intercept != NULL; k++)
            sums[k] += ht_native_load(view->intercept + o);
        for (int k = 0; k < n; k++)
            ht_native_store(z + k * view->outputs + o, sums[k]);
    }
}

/* Computes what dot_row does, bit for bit, for dense rows and entries that are w alone. */
HT_INLINE void dot_dense(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                         float *z)
{
    int k = 0;
    for (; k + FLIGHT <= n; k += FLIGHT)
        dot_flight(rows, ids + k, FLIGHT, view, z + k * view->outputs);
    for (; k + FLIGHT / 2 <= n; k += FLIGHT / 2)
        dot_flight(rows, ids + k, FLIGHT / 2, view, z + k * view->outputs);
    for (; k < n; k++)
        dot_flight(rows, ids + k, 1, view, z + k * view->outputs);
}

/* Returns whether column i is 0 in n rows. */
HT_INLINE int is_absent(const float *const *x, int n, int64_t i)
{
    int is_held = 0;
    for (int k = 0; k < n; k++)
        is_held |= x[k][i] != 0.0f;
    return !is_held;
}

/* The same for entries with a state; a column that is 0 in all rows of a flight is passed over. */
HT_INLINE void dot_flight_of_states(const ht_rows_t *rows, const int64_t *ids, int n,
                                    const ht_view_t *view, int stride, float *z)
{
    const float *x[STEPPED];
    for (int k = 0; k < n; k++)
        x[k] = ht_row_at(rows, ids[k]).value;
    const int64_t size = stride * view->outputs;
    for (int64_t o = 0; o < view->outputs; o += HT_LANES) {
        ht_f32x16_t sums[STEPPED] = {{0}};
        for (int64_t i = 0; i < rows->n_features; i++) {
            if (is_absent(x, n, i))
                continue;
            const float *entries = (i < rows->n_hot ? view->hot : view->cold) + size * i;
            ht_f32x16_t w = ht_lanes_load_every(entries + stride * o, HT_LANES, stride);
            for (int k = 0; k < n; k++)
                sums[k] += w * x[k][i];
        }
        for (int k = 0; k < n; k++) {
            if (view->intercept != NULL)
                sums[k] += ht_lanes_load_every(view->intercept + stride * o, HT_LANES, stride);
            ht_lanes_store(z + k * view->outputs + o, sums[k]);
        }
    }
}

HT_INLINE void dot_states(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                          int stride, float *z)
{
    int k = 0;
    for (; k + STEPPED <= n; k += STEPPED)
        dot_flight_of_states(rows, ids + k, STEPPED, view, stride, z + k * view->outputs);
    for (; k < n; k++)
        dot_flight_of_states(rows, ids + k, 1, view, stride, z + k * view->outputs);
}

HT_INLINE void dot_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                        int stride, int is_dual, const ht_step_t *step, float *z)
{
    const ht_step_t none = {.lr = 1.0f};
    for (int k = 0; k < n; k++)
        dot_row(ht_row_at(rows, ids[k]), view, stride, is_dual, step == NULL ? &none : step,
                z + k * view->outputs);
}

HT_RACY static void dot_racy(const ht_rows_t *rows, const int64_t *ids, int n,
                             const ht_view_t *view, int stride, const ht_step_t *step, float *z)
{
    if (ht_rows_is_dense(rows) && stride == 1)
        dot_dense(rows, ids, n, view, z);
    else if (ht_rows_is_dense(rows) && stride == 2)
        dot_states(rows, ids, n, view, 2, z);
    else if (ht_rows_is_dense(rows))
        dot_states(rows, ids, n, view, 4, z);
    else if (stride == 1)
        dot_rows(rows, ids, n, view, 1, 0, step, z);
    else if (stride == 2)
        dot_rows(rows, ids, n, view, 2, 0, step, z);
    else
        dot_rows(rows, ids, n, view, 4, 0, step, z);
}

HT_RACY static void dot_dual_racy(const ht_rows_t *rows, const int64_t *ids, int n,
                                  const ht_view_t *view, int stride, const ht_step_t *step,
                                  float *z)
{
    (void)stride;
    dot_rows(rows, ids, n, view, 2, 1, step, z);
}

/* Steps the outputs of one feature; c is read from the first output's entry, if entries hold it;
 * else c1 is the factor. */
HT_INLINE void step_feature(float *entries, float x, float c1, const float *gradient,
                            int64_t outputs, const ht_step_t *s, ht_optimizer_t optimizer,
                            int has_shares, ht_penalty_t penalty)
{
    const int stride = ht_optimizer_stride(optimizer, has_shares);
    const ht_f32x16_t lr = ht_lanes_set(s->lr);
    if (ht_optimizer_is_dual(optimizer) && x == 0.0f)
        return; /* a z and an n without a gradient stay */
    if (has_shares)
        c1 = entries[ht_optimizer_penalty_at(optimizer)];
    const ht_f32x16_t by1 = ht_lanes_set(c1), by2 = has_shares ? by1 : by1 * by1;
    for (int64_t o = 0; o < outputs; o += HT_LANES) {
        ht_f32x16_t g = ht_lanes_load(gradient + o);
        ht_f32x16_t d = (ht_optimizer_is_stateless(optimizer) ? g * s->lr : g) * x;
        float *at = entries + stride * o;
        ht_entries_t old;
        ht_entries_load(at, HT_LANES, stride, &old);
        step16_t next = step16(state_of(&old, optimizer), d, by2, by1, lr, s, optimizer, penalty);
        store_state(at, HT_LANES, stride, optimizer, &old, next);
    }
}

HT_INLINE void step_features(ht_row_t row, float *entries, const ht_view_t *view, int64_t first,
                             int64_t last, const float *gradient, const ht_step_t *s,
                             ht_optimizer_t optimizer, int has_shares, ht_penalty_t penalty)
{
    const int64_t size = ht_optimizer_stride(optimizer, has_shares) * view->outputs;
    if (ht_optimizer_is_dual(optimizer) && view->l1_factor != NULL)
        for (int64_t i = first; i < last; i++)
            step_feature(entries + size * ht_row_column(row, i), ht_row_value(row, i),
                         view->l1_factor[ht_row_column(row, i)], gradient, view->outputs, s,
                         optimizer, has_shares, penalty);
    else /* factors of 1 cost nothing */
        for (int64_t i = first; i < last; i++)
            step_feature(entries + size * ht_row_column(row, i), ht_row_value(row, i), 1.0f,
                         gradient, view->outputs, s, optimizer, has_shares, penalty);
}

HT_INLINE void step_row(ht_row_t row, const ht_view_t *view, const float *gradient,
                        const ht_step_t *s, ht_optimizer_t optimizer, int has_shares,
                        ht_penalty_t penalty)
{
    step_features(row, view->hot, view, 0, row.n_hot, gradient, s, optimizer, has_shares, penalty);
    step_features(row, view->cold, view, row.n_hot, row.n, gradient, s, optimizer, has_shares,
                  penalty == HT_FOLDED ? HT_L2 : penalty);
    if (view->intercept == NULL)
        return;
    ht_step_t slow = free_step(s, optimizer, 0); /* a dual optimizer's, of any rows */
    step_feature(view->intercept, 1.0f, 1.0f, gradient, view->outputs, &slow, optimizer, has_shares,
                 HT_PLAIN);
}

HT_INLINE void step_rows(const ht_rows_t *rows, const int64_t *ids, int n, const ht_view_t *view,
                         const float *gradient, const ht_step_t *step, ht_optimizer_t optimizer,
                         int has_shares)
{
    ht_step_t all = *step;
    for (int k = 0; k < n; k++) {
        ht_step_t mine = step_of_row(&all, rows, ids[k]);
        ht_row_t row = ht_row_at(rows, ids[k]);
#define STEP_ROW(penalty) \
    step_row(row, view, gradient + k * view->outputs, &mine, optimizer, has_shares, penalty)
        WITH_PENALTY(optimizer, has_shares, has_shares, step, STEP_ROW);
#undef STEP_ROW
        next_power(&all, optimizer);
    }
}

/* A few dense rows that are stepped one after the other, but feature by feature: entries are
 * loaded and stored once for all of them. */
typedef struct {
    int n;
    const float *x[STEPPED];
    const float *gradient;   /* of the outputs of each row */
    ht_step_t step[STEPPED]; /* of each row */
} flight_t;

/* Steps the outputs of feature i, or of the intercept (-1), by the first n rows of a flight. */
HT_INLINE void step_feature_dense(const flight_t *flight, int n, int64_t i, float *entries,
                                  float c1, int64_t outputs, ht_optimizer_t optimizer,
                                  ht_penalty_t penalty)
{
    const int stride = ht_optimizer_stride(optimizer, 0);
    /* Without a gradient AdaGrad makes no step, or that of the penalty alone, whose root stays. */
    const int stays = optimizer == HT_ADAGRAD, shrinks = stays && penalty != HT_PLAIN;
    const ht_f32x16_t by1 = ht_lanes_set(c1), by2 = by1 * by1;
    if (stays && !shrinks && i >= 0 && is_absent(flight->x, n, i))
        return;
    for (int64_t o = 0; o < outputs; o += HT_LANES) {
        float *at = entries + stride * o;
        ht_entries_t held;
        ht_entries_load(at, HT_LANES, stride, &held);
        step16_t state = state_of(&held, optimizer);
        if (shrinks)
            state.root = ht_lanes_sqrt(state.a) + HT_ROOT_EPS;
        for (int k = 0; k < n; k++) {
            const ht_step_t *s = &flight->step[k];
            const ht_f32x16_t lr = ht_lanes_set(s->lr);
            float x = i < 0 ? 1.0f : flight->x[k][i];
            if (shrinks && x == 0.0f)
                state.w = step16_shrunk(state, by2, by1, lr, s, penalty);
            if (stays && x == 0.0f)
                continue;
            ht_f32x16_t g = ht_lanes_load(flight->gradient + k * outputs + o);
            ht_f32x16_t d = (ht_optimizer_is_stateless(optimizer) ? g * s->lr : g) * x;
            state = step16(state, d, by2, by1, lr, s, optimizer, penalty);
        }
        store_state(at, HT_LANES, stride, optimizer, &held, state);
    }
}

HT_INLINE void step_features_dense(const flight_t *flight, int n, const ht_rows_t *rows,
                                   const ht_view_t *view, int has_factors, ht_optimizer_t optimizer,
                                   ht_penalty_t penalty)
{
    const int64_t size = ht_optimizer_stride(optimizer, 0) * view->outputs;
    for (int64_t i = 0; i < rows->n_features; i++)
        step_feature_dense(flight, n, i, (i < rows->n_hot ? view->hot : view->cold) + size * i,
                           has_factors ? factor_at(view, i) : 1.0f, view->outputs, optimizer,
                           penalty);
}

HT_INLINE void step_flight(const flight_t *flight, const ht_rows_t *rows, const ht_view_t *view,
                           int has_factors, ht_optimizer_t optimizer, ht_penalty_t penalty)
{
    flight_t own = *flight; /* nothing else points there: its constants stay in registers */
    const int n = own.n;
    if (ht_optimizer_is_stateless(optimizer) && n == STEPPED)
        step_features_dense(&own, STEPPED, rows, view, has_factors, optimizer, penalty);
    else
        step_features_dense(&own, n, rows, view, has_factors, optimizer, penalty);
    for (int k = 0; k < n; k++)
        own.step[k] = free_step(&own.step[k], optimizer, 1);
    if (view->intercept != NULL)
        step_feature_dense(&own, n, -1, view->intercept, 1.0f, view->outputs, optimizer, HT_PLAIN);
}

/* Steps by a flight, with one kind of penalty. */
typedef void (*step_flight_t)(const flight_t *flight, const ht_rows_t *rows, const ht_view_t *view);

HT_APART static void step_dense(const ht_rows_t *rows, const int64_t *ids, int n,
                                const ht_view_t *view, const float *gradient, const ht_step_t *step,
                                ht_optimizer_t optimizer, step_flight_t of_flight)
{
    ht_step_t all = *step;
    for (int k = 0; k < n; k += STEPPED) {
        flight_t flight = {.n = n - k < STEPPED ? n - k : STEPPED,
                           .gradient = gradient + k * view->outputs};
        for (int i = 0; i < flight.n; i++) {
            flight.x[i] = ht_row_at(rows, ids[k + i]).value;
            flight.step[i] = step_of_row(&all, rows, ids[k + i]);
            next_power(&all, optimizer);
        }
        of_flight(&flight, rows, view);
    }
}

#define DEFINE_FLIGHT(name, kind, has_factors, optimizer, penalty) \
    HT_RACY HT_APART static void flight_##name##_##kind( \
        const flight_t *flight, const ht_rows_t *rows, const ht_view_t *view) \
    { \
        step_flight(flight, rows, view, has_factors, optimizer, penalty); \
    }
#define DEFINE_FLIGHTS(optimizer, name, ...) \
    DEFINE_FLIGHT(name, plain, 0, optimizer, HT_PLAIN) \
    DEFINE_FLIGHT(name, l2, 0, optimizer, HT_L2) \
    DEFINE_FLIGHT(name, l1, 1, optimizer, HT_L1)
HT_OPTIMIZERS(DEFINE_FLIGHTS)

/* FTRL steps dense rows one by one: each step waits long for the one before, and none is made
 * for a 0. */
#define DEFINE_STEPS(optimizer, name, ...) \
    HT_RACY static void step_##name##_racy(const ht_rows_t *rows, const int64_t *ids, int n, \
                                           const ht_view_t *view, const float *gradient, \
                                           const ht_step_t *step) \
    { \
        const int reaches_all = ht_optimizer_is_dense(optimizer); /* so that rows are dense */ \
        if (ht_optimizer_is_dual(optimizer) || !(reaches_all || ht_rows_is_dense(rows))) \
            step_rows(rows, ids, n, view, gradient, step, optimizer, 0); \
        else if (!has_penalty(step, optimizer)) \
            step_dense(rows, ids, n, view, gradient, step, optimizer, flight_##name##_plain); \
        else if (step->l1 == 0.0f && view->l1_factor == NULL) \
            step_dense(rows, ids, n, view, gradient, step, optimizer, flight_##name##_l2); \
        else \
            step_dense(rows, ids, n, view, gradient, step, optimizer, flight_##name##_l1); \
    } \
    HT_RACY static void step_##name##_shares_racy(const ht_rows_t *rows, const int64_t *ids, \
                                                  int n, const ht_view_t *view, \
                                                  const float *gradient, const ht_step_t *step) \
    { \
        step_rows(rows, ids, n, view, gradient, step, optimizer, 1); \
    }
HT_OPTIMIZERS(DEFINE_STEPS)

#define STEPS(optimizer, name, reach, ...) \
    [optimizer] = {step_##name##_racy, (reach) == HT_TOUCHED ? step_##name##_shares_racy : NULL},
const ht_linear_kernels_t HT_ISA_SYMBOL(ht_linear_outputs) = {
    .dot_racy = {dot_racy, dot_dual_racy},
    .step_racy = {HT_OPTIMIZERS(STEPS)},
};

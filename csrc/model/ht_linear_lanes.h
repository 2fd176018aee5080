/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_linear_lanes: entries in lanes, for the racy row kernels.
 *
 * Layer L6, for ht_linear_sparse_racy.c, ht_linear_dense_racy.c and
 * ht_linear_outputs_racy.c, which are compiled once per instruction set.
 *
 * race: the loads and stores of `cold` in these files with the accesses of every
 * other worker; harmless, because Hogwild's convergence allows for lost updates
 * and mixed reads; worst case the updates of a vector's coordinates that other
 * workers make between its load and its store are lost, also where this row's
 * value is 0.  Vector accesses cannot be atomic in C, so these files alone are
 * exempt from ThreadSanitizer.
 */
#ifndef HT_LINEAR_LANES_H
#define HT_LINEAR_LANES_H

#include "math/ht_entries.h"
#include "math/ht_optimizer_step.h"
#include "model/ht_linear_tables.h"

HT_DEFINE_STEP(step16, ht_f32x16_t, ht_i32x16_t, ht_lanes_sqrt)

/* Returns the arrays of entries. */
HT_INLINE step16_t state_of(const ht_entries_t *entries, ht_optimizer_t optimizer)
{
    ht_f32x16_t arrays[4] = {{0}};
    for (int k = 0; k < ht_optimizer_arrays(optimizer); k++)
        arrays[ht_optimizer_first(optimizer) + k] = entries->floats[k];
    return (step16_t){.w = arrays[0], .a = arrays[1], .b = arrays[2]};
}

/* Stores n neighbouring entries (1..16) with a new state.  They are loaded and stored whole: a z
 * beside an n that lacks the rows of that z would give a w out of all bounds. */
HT_INLINE void store_state(float *at, int n, int stride, ht_optimizer_t optimizer,
                           ht_entries_t *entries, step16_t state)
{
    const ht_f32x16_t arrays[3] = {state.w, state.a, state.b};
    for (int k = 0; k < ht_optimizer_arrays(optimizer); k++)
        entries->floats[k] = arrays[ht_optimizer_first(optimizer) + k];
    ht_entries_store(at, n, stride, entries);
}

/* Loads c1 of n neighbouring features; l1_factor NULL: 1. */
HT_INLINE ht_f32x16_t load_factor(const float *l1_factor, int64_t feature, int n)
{
    return l1_factor == NULL ? ht_lanes_set(1.0f) : ht_lanes_load_every(l1_factor + feature, n, 1);
}

/* Loads the parameters of n neighbouring entries; computes them from z and n, with the factor c1,
 * if is_dual. */
HT_INLINE ht_f32x16_t load_w(const float *entries, int n, int stride, int is_dual, ht_f32x16_t c1,
                             const ht_step_t *step)
{
    if (!is_dual)
        return ht_lanes_load_every(entries, n, stride);
    ht_entries_t dual;
    ht_entries_load(entries, n, 2, &dual);
    return step16_dual(dual.floats[0], dual.floats[1], c1 * c1, c1, ht_lanes_set(step->lr), step);
}

HT_INLINE ht_step_t without_penalty(const ht_step_t *step)
{
    ht_step_t free = *step;
    free.l1 = free.l2 = free.l1_sum = free.l2_sum = 0.0f;
    return free;
}

/* Returns the step on the intercept: at its own rate, without a penalty. */
HT_INLINE ht_step_t free_step(const ht_step_t *step, ht_optimizer_t optimizer, int is_dense)
{
    ht_step_t slow = without_penalty(step);
    slow.lr *= ht_optimizer_intercept_rate(optimizer, is_dense);
    return slow;
}

/* Returns the value of one output's intercept. */
HT_INLINE float intercept_of(const ht_view_t *view, int is_dual, const ht_step_t *step)
{
    if (view->intercept == NULL)
        return 0.0f;
    if (!is_dual)
        return view->intercept[0];
    ht_step_t free = without_penalty(step);
    float pair[2];
    ht_pieces_copy(pair, view->intercept, 1);
    const ht_f32x4_t z = {pair[0]}, squares = {pair[1]}, none = {0};
    return ht_step4_dual(z, squares, none, none, none + free.lr, &free)[0];
}

/* Copies the n arrays of an entry; a pair at once. */
HT_INLINE void copy_arrays(float *to, const float *from, int n)
{
    ht_pieces_copy(to, from, n / 2);
    if (n % 2 == 1)
        to[n - 1] = from[n - 1];
}

/* Steps one output's intercept. */
HT_INLINE void step_intercept(float *entry, float gradient, const ht_step_t *step,
                              ht_optimizer_t optimizer, int is_dense)
{
    ht_step_t slow = free_step(step, optimizer, is_dense);
    const int first = ht_optimizer_first(optimizer), n_arrays = ht_optimizer_arrays(optimizer);
    float values[HT_OPTIMIZER_ARRAYS];
    copy_arrays(values, entry, n_arrays);
    ht_f32x4_t arrays[4] = {{0}};
    const ht_f32x4_t none = {0};
    for (int k = 0; k < n_arrays; k++)
        arrays[first + k][0] = values[k];
    float d = ht_optimizer_is_stateless(optimizer) ? slow.lr * gradient : gradient;
    ht_step4_t next =
        ht_step4((ht_step4_t){.w = arrays[0], .a = arrays[1], .b = arrays[2]}, (ht_f32x4_t){d},
                 none, none, none + slow.lr, &slow, optimizer, HT_PLAIN);
    const ht_f32x4_t stepped[3] = {next.w, next.a, next.b};
    for (int k = 0; k < n_arrays; k++)
        values[k] = stepped[first + k][0];
    copy_arrays(entry, values, n_arrays);
}

/* Returns the step of a row, with penalties times the row's weight. */
HT_INLINE ht_step_t step_of_row(const ht_step_t *step, const ht_rows_t *rows, int64_t id)
{
    ht_step_t mine = *step;
    ht_step_correct(&mine);
    if (rows->weights != NULL) {
        mine.l1 *= rows->weights[id];
        mine.l2 *= rows->weights[id];
    }
    return mine;
}

HT_INLINE void next_power(ht_step_t *step, ht_optimizer_t optimizer)
{
    if (!ht_optimizer_has_means(optimizer))
        return;
    step->power1 *= step->decay1;
    step->power2 *= step->decay2;
}

/* Returns whether w takes a penalty in its steps; the w of a dual optimizer takes it when it is
 * read. */
HT_INLINE int has_penalty(const ht_step_t *step, ht_optimizer_t optimizer)
{
    return !ht_optimizer_is_dual(optimizer) && (step->l1 != 0.0f || step->l2 != 0.0f);
}

/* Calls body(penalty) with the kind of the step's penalty, as a constant. */
#define WITH_PENALTY(optimizer, has_shares, has_penalty, step, body) \
    do { \
        if ((has_shares) && ht_optimizer_is_stateless(optimizer) && (step)->is_folded) \
            body(HT_FOLDED); \
        else if (!(has_penalty)) \
            body(HT_PLAIN); \
        else if ((step)->l1 == 0.0f) \
            body(HT_L2); \
        else \
            body(HT_L1); \
    } while (0)

#endif

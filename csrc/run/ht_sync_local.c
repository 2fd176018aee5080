/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A replica is a task: a pure function of the parameters of the step and of its rows, so that any
 * worker may make its steps, or make them again.  It trains in its worker's own memory, by the
 * kernels of plain sums: every=1 with one replica is a step of ht_sync without exact sums, bit for
 * bit.
 *
 * The changes of a step have no bound that is known before: their grid is made for four times the
 * largest change of the step before, and the step is refused when one is beyond it.  The first
 * step of a run is always refused, for its bound is a guess that is too small.
 *
 * Tests: tests/c/test_sync_local.c.
 */
#include <math.h>
#include <string.h>

#include "run/ht_sync_local.h"

/* Returns the number of arrays of a replica. */
static int arrays_of(const ht_sync_t *sync)
{
    return ht_sums_arrays(sync->config.optimizer, 0);
}

/* Returns the unit of the grid of an array's changes, a power of two. */
static double change_unit(const ht_sync_t *sync, const state_t *state, int array)
{
    /* 2: the weight of a replica in a mean is below 2. */
    return ldexp(1.0, ht_sums_exponent(2.0 * state->changes[array], tasks_of(sync, state)));
}

/* ---- work ---------------------------------------------------------------- */

/* Lists the groups of coordinates that the rows touch, each once. */
static void list_groups(ht_sync_t *sync, worker_t *me, const int64_t *ids, int n)
{
    int64_t outputs = sync->model->n_outputs, each = (outputs + HT_SUMS_GROUP - 1) / HT_SUMS_GROUP;
    for (int k = 0; k < n; k++) {
        ht_row_t row = ht_row_at(me->rows, ids[k]);
        for (int64_t i = sync->config.intercept ? -1 : 0; i < row.n; i++) {
            int64_t first = (i < 0 ? 0 : row.index[i] + 1) * outputs / HT_SUMS_GROUP;
            for (int64_t g = first; g < first + each; g++) {
                if (me->listed[g])
                    continue;
                me->listed[g] = 1;
                me->groups[me->n_groups++] = (uint32_t)g;
            }
        }
    }
}

/* Clears the sum of the local step. */
static void clear_local(ht_sync_t *sync, worker_t *me)
{
    if (me->slot.sum != NULL)
        ht_sums_clear(&me->local, sync->n_coordinates, 0);
    else
        ht_sums_clear_groups(&me->local, me->groups, me->n_groups);
    for (int64_t i = 0; i < me->n_groups; i++)
        me->listed[me->groups[i]] = 0;
    me->n_groups = 0;
}

/* Adds the gradients of n rows to the sum of the local step.  Returns the sum of their losses; NaN
 * when the rows have changed. */
static double add_gradients(ht_sync_t *sync, worker_t *me, const int64_t *ids, int n, int is_first)
{
    const ht_model_t *model = sync->model;
    float *gradient = me->slot.gradient;
    if (ht_sync_fetch(sync, me, &ids, n) != HT_OK)
        return (double)NAN;
    double loss = ht_sync_gradients(sync, me, me->replica[0], ids, n, gradient);
    double largest = ht_sync_largest(gradient, n * model->n_outputs);
    me->slot.largest = largest > me->slot.largest ? largest : me->slot.largest;
    int intercept = sync->config.intercept;
    if (me->slot.sum != NULL) {
        model->sum(model, me->rows, ids, n, gradient, intercept, is_first, me->slot.sum);
        return loss;
    }
    model->add(model, &me->local, me->rows, ids, n, gradient, intercept, 1.0, NULL);
    list_groups(sync, me, ids, n);
    return loss;
}

/* Makes the replica's step on n rows, the next after `steps` ones. */
static double train_step(ht_sync_t *sync, worker_t *me, const int64_t *ids, int n, uint64_t steps)
{
    double loss = 0.0;
    for (int i = 0; i < n; i += HT_GROUP_ROWS)
        loss +=
            add_gradients(sync, me, ids + i, n - i < HT_GROUP_ROWS ? n - i : HT_GROUP_ROWS, i == 0);
    if (me->slot.sum != NULL)
        (void)sync->kernels->add_racy[0](&me->local, me->slot.sum, sync->n_coordinates, 1.0, NULL);
    ht_sums_merge_t step =
        ht_sync_step_on(sync, (uint64_t)n, step_after(sync, me->state.batches, steps));
    step.last = sync->n_coordinates;
    step.sums = &me->local;
    step.n_sums = 1;
    for (int k = 0; k < arrays_of(sync); k++)
        step.arrays[k] = me->replica[k];
    step.merged = me->replica[0]; /* in place: the replica's arrays follow each other */
    step.array_stride = me->replica[1] == NULL ? 0 : me->replica[1] - me->replica[0];
    if (!ht_rows_is_dense(&sync->config.rows) && !ht_optimizer_is_dense(sync->config.optimizer)) {
        step.groups = me->groups;
        step.n_groups = me->n_groups;
    }
    sync->kernels->merge_racy[0](&step);
    clear_local(sync, me);
    return loss;
}

void ht_sync_wipe_local(ht_sync_t *sync, worker_t *me)
{
    ht_sums_wipe(&me->local, sync->n_coordinates, 0);
    memset(me->listed, 0, sync->layout.parts[LOCAL_LISTED].nbytes);
    me->n_groups = 0;
}

double ht_sync_train_replica(ht_sync_t *sync, worker_t *me)
{
    const int rows = (int)sync->config.local_rows;
    slot_t *slot = &me->slot;
    for (int k = 0; k < arrays_of(sync); k++)
        sync->changes->copy_racy(me->replica[k], sync->arrays[k], sync->n_coordinates);
    slot->largest = 0.0;
    double loss = 0.0;
    uint64_t steps = 0;
    for (int left = slot->n_rows; left > 0; left -= rows, steps++) {
        int n = left < rows ? left : rows;
        loss += train_step(sync, me, slot->ids + (slot->n_rows - left), n, steps);
        if (steps == 0)
            ht_point_pass(ht_round_points(sync->round), HT_IN_COMPUTING, me->self.worker,
                          me->self.step);
    }
    return loss;
}

void ht_sync_add_changes(ht_sync_t *sync, worker_t *me)
{
    uint64_t rows = rows_of(sync, &me->state);
    uint32_t n_tasks = tasks_of(sync, &me->state);
    tally_t *tally = &sync->tallies[me->self.worker];
    ht_change_t change = {
        .n = sync->n_coordinates,
        .optimizer = sync->config.optimizer,
        .lr = lr_at(sync, me->state.batches),
        .sums = sums_of(sync, me->self.worker, 0),
        .weight = (double)me->slot.n_rows * n_tasks / (double)rows,
        .is_alone = n_tasks == 1,
    };
    for (int k = 0; k < arrays_of(sync); k++) {
        change.base[k] = sync->arrays[k];
        change.replica[k] = me->replica[k];
        change.inverse_unit[k] = 1.0 / change_unit(sync, &me->state, k);
    }
    if (!sync->changes->add_racy(&change))
        me->slot.largest = (double)INFINITY; /* ends the run */
    /* relaxed: own words. */
    for (int k = 0; k < arrays_of(sync); k++)
        if (change.largest[k] > double_of(ht_load_relaxed(&tally->changes[k])))
            ht_store_relaxed(&tally->changes[k], bits_of(change.largest[k]));
    ht_point_pass(ht_round_points(sync->round), HT_IN_ADDING, me->self.worker, me->self.step);
}

/* ---- merging --------------------------------------------------------------- */

int ht_sync_judge_changes(ht_sync_t *sync, const worker_t *me, const ht_sync_total_t *total,
                          state_t *next)
{
    const double *largest = total->changes;
    int is_over = 0;
    for (int k = 0; k < arrays_of(sync); k++)
        if (tasks_of(sync, &me->state) > 1 && largest[k] > me->state.changes[k]) {
            is_over = 1;
            next->changes[k] = ht_sync_power_above(largest[k]);
        }
    for (int k = 0; !is_over && k < arrays_of(sync); k++)
        if (largest[k] > 0.0)
            next->changes[k] = ht_sync_power_above(largest[k]) * HT_SYNC_HEADROOM;
    return is_over;
}

void ht_sync_merge_changes(ht_sync_t *sync, worker_t *me, int64_t first, int64_t last,
                           float average_share)
{
    const ht_sync_config_t *c = &sync->config;
    uint64_t batch = me->state.batches;
    uint32_t n_arrays = (uint32_t)arrays_of(sync);
    uint32_t n_tasks = tasks_of(sync, &me->state);
    ht_change_merge_t merge = {
        .first = first,
        .last = last,
        .optimizer = c->optimizer,
        .sums = me->counting,
        .n_sums = me->n_counting / n_arrays,
        .inverse_tasks = 1.0 / (double)n_tasks,
        .is_alone = n_tasks == 1,
        .merged = me->redo,
        .array_stride = BLOCK,
        .touched = me->touched,
        .l1_factor = sync->l1_factor,
        .n_intercept = c->intercept ? sync->model->n_outputs : 0,
        .average_share = average_share,
        .outer = c->outer,
        .step = step_after(sync, batches_after(sync, &me->state), 0),
    };
    merge.step.lr = lr_at(sync, batch);
    for (uint32_t k = 0; k < n_arrays; k++)
        merge.unit[k] = change_unit(sync, &me->state, (int)k);
    for (int k = 0; k < sync->n_arrays; k++)
        merge.arrays[k] = sync->arrays[k];
    sync->changes->merge_racy(&merge);
}

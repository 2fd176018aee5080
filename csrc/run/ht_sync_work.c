/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "run/ht_sync_guest_parts.h"
#include "run/ht_sync_local.h"

static uint32_t slowed(ht_sync_t *sync, uint32_t worker)
{
    /* relaxed: see ht_sync_slow. */
    return ht_load_relaxed(&sync->slowed[worker].thousandths);
}

/* ---- work ---------------------------------------------------------------- */

/* Clears the worker's sums; those that a dead worker of its place has left, whole. */
static void clear_sums(ht_sync_t *sync, worker_t *me)
{
    const int is_exact = sync->config.is_exact;
    uint64_t generation = ht_load_relaxed(&me->report->generation); /* relaxed: see report_t */
    for (uint32_t lane = 0; lane < sync->n_lanes; lane++) {
        const ht_sums_t *sums = sums_of(sync, me->self.worker, lane);
        if (generation != me->generation)
            ht_sums_wipe(sums, sync->n_coordinates, is_exact);
        else
            ht_sums_clear(sums, sync->n_coordinates, is_exact);
    }
    if (has_replicas(sync) && generation != me->generation)
        ht_sync_wipe_local(sync, me);
    me->generation = generation;
}

ht_err_t ht_sync_enter(ht_sync_t *sync, worker_t *me)
{
    if (ht_round_is_barred(&me->self))
        return HT_EBUSY;
    ht_round_enter(&me->self);
    me->state = state_at(sync, me->self.step);
    if (me->self.is_fresh) {
        uint32_t worker = me->self.worker;
        clear_sums(sync, me);
        /* relaxed: see tally_t. */
        ht_store_relaxed(&sync->tallies[worker].loss, 0u);
        ht_store_relaxed(&sync->tallies[worker].largest, bits_of(0.0));
        ht_store_relaxed(&sync->tallies[worker].rows, 0u);
        for (int k = 0; k < HT_CHANGES_ARRAYS; k++)
            ht_store_relaxed(&sync->tallies[worker].changes[k], bits_of(0.0));
        me->hand = HOLDS_NOTHING; /* a task or result in hand was of an older step */
        raise_own(&me->report->steps, 1);
    }
    return me->self.phase == HT_WORK && !is_allowed(sync, &me->state) ? HT_EEND : HT_OK;
}

ht_err_t ht_sync_claim(ht_sync_t *sync, uint32_t worker, uint32_t *task)
{
    worker_t *me = &sync->workers[worker];
    if (ht_sync_enter(sync, me) != HT_OK || me->self.phase != HT_WORK)
        return HT_EEND;
    if (ht_round_claim(&me->self, task) != HT_OK)
        return note_idle(me);
    me->task = *task;
    me->hand = HOLDS_TASK;
    return HT_OK;
}

double ht_sync_largest(const float *gradient, int64_t n)
{
    float largest = 0.0f;
    int finite = 1;
    for (int64_t k = 0; k < n; k++) {
        float size = fabsf(gradient[k]);
        finite &= size <= 3.4e38f;
        largest = size > largest ? size : largest;
    }
    return finite ? (double)largest : (double)INFINITY;
}

ht_err_t ht_sync_fetch(ht_sync_t *sync, worker_t *me, const int64_t **ids, int n)
{
    const ht_rows_t *rows = &sync->config.rows;
    if (!ht_rows_is_mapped(rows))
        return HT_OK;
    ht_err_t err = ht_rows_fetch(rows, *ids, n, &me->fetched);
    *ids = ht_fetched_ids;
    if (err != HT_OK)
        ht_store_relaxed(&sync->words->changed, 1u); /* relaxed: see ht_sync_parts.h */
    return err;
}

/* Writes the gradients of rows first .. first + n - 1 of the task, n <= HT_GROUP_ROWS, and adds
 * those of dense rows to the task's sum.  Returns the sum of the rows' losses; NaN when the rows
 * have changed. */
static double compute_group(ht_sync_t *sync, worker_t *me, int first, int n)
{
    const ht_model_t *model = sync->model;
    const int64_t *ids = me->slot.ids + first;
    float *gradient = me->slot.gradient + first * model->n_outputs;
    if (ht_sync_fetch(sync, me, &ids, n) != HT_OK)
        return (double)NAN;
    double loss = ht_sync_gradients(sync, me, sync->arrays[0], ids, n, gradient);
    if (me->slot.sum != NULL)
        model->sum(model, me->rows, ids, n, gradient, sync->config.intercept, first == 0,
                   me->slot.sum);
    return loss;
}

double ht_sync_gradients(ht_sync_t *sync, worker_t *me, const float *w, const int64_t *ids, int n,
                         float *gradient)
{
    const ht_model_t *model = sync->model;
    const ht_rows_t *rows = me->rows;
    /* Outputs only read through the view. */
    union {
        const float *in;
        float *out;
    } all = {w};
    float *z = me->z, *intercept = sync->config.intercept ? all.out : NULL;
    ht_view_t view = {all.out + model->n_outputs, NULL, intercept, model->n_outputs, NULL};
    model->outputs(model, rows, ids, n, &view, NULL, z);
    float lr = lr_at(sync, me->state.batches);
    double loss = model->gradient(model, rows, ids, n, lr, z, gradient);
    if (model->loss == NULL)
        return loss;
    float y[HT_GROUP_ROWS] = {0}, weight[HT_GROUP_ROWS];
    for (int k = 0; k < n; k++)
        y[k] = rows->targets[ids[k]];
    for (int k = 0; rows->weights != NULL && k < n; k++)
        weight[k] = rows->weights[ids[k]];
    return model->loss(model, n, z, y, rows->weights == NULL ? NULL : weight);
}

/* Computes the gradients of the task's rows.  Returns the sum of their losses; notes the largest
 * |gradient|. */
static double compute_rows(ht_sync_t *sync, worker_t *me)
{
    slot_t *slot = &me->slot;
    double loss = 0.0;
    for (int i = 0; i < slot->n_rows; i += HT_GROUP_ROWS) {
        int n = slot->n_rows - i < HT_GROUP_ROWS ? slot->n_rows - i : HT_GROUP_ROWS;
        loss += compute_group(sync, me, i, n);
        if (i == 0)
            ht_point_pass(ht_round_points(sync->round), HT_IN_COMPUTING, me->self.worker,
                          me->self.step);
    }
    slot->largest = ht_sync_largest(slot->gradient, slot->n_rows * sync->model->n_outputs);
    return loss;
}

/* Keeps the core busy until a time, or until the workers are asked to leave. */
static void spin_until(ht_sync_t *sync, uint64_t ns)
{
    /* relaxed: see ht_sync_leave. */
    while (ht_now_ns() < ns && ht_load_relaxed(&sync->words->leaving) == 0)
        ;
}

ht_err_t ht_sync_compute(ht_sync_t *sync, uint32_t worker, uint32_t task)
{
    worker_t *me = &sync->workers[worker];
    if (me->hand == HOLDS_NOTHING || task != me->task)
        return HT_EINVAL;
    me->hand = HOLDS_RESULT;
    slot_t *slot = &me->slot;
    uint64_t begin = ht_now_ns();
    slot->n_rows = ht_batches_task(&sync->batches, me->state.batches, me->state.together,
                                   first_task(sync, &me->state) + task, slot->ids);
    double loss = has_replicas(sync) ? ht_sync_train_replica(sync, me) : compute_rows(sync, me);
    if (!isfinite(loss))
        slot->largest = (double)INFINITY;
    double units = loss / loss_unit(&me->state);
    double most = ldexp(1.0, LOSS_SUM_BITS) / (double)tasks_of(sync, &me->state);
    slot->loss = (int64_t)rint(isfinite(loss) && units < most ? units : most);
    uint64_t end = ht_now_ns();
    if (slowed(sync, worker) != 0) {
        spin_until(sync, end + (end - begin) * slowed(sync, worker) / 1000);
        end = ht_now_ns();
    }
    raise_own(&me->report->compute_ns, end - begin);
    return HT_OK;
}

/* Adds the gradients of the task's sparse rows to the worker's sums. */
static void add_rows(ht_sync_t *sync, worker_t *me, const ht_sums_t *sums, double inverse_unit)
{
    const ht_sync_config_t *c = &sync->config;
    const ht_model_t *model = sync->model;
    slot_t *slot = &me->slot;
    for (int i = 0; i < slot->n_rows; i += HT_GROUP_ROWS) {
        int n = slot->n_rows - i < HT_GROUP_ROWS ? slot->n_rows - i : HT_GROUP_ROWS;
        const int64_t *ids = slot->ids + i;
        if (ht_sync_fetch(sync, me, &ids, n) == HT_OK)
            model->add(model, sums, me->rows, ids, n, slot->gradient + i * model->n_outputs,
                       c->intercept, inverse_unit, c->scales);
        else
            slot->largest = (double)INFINITY; /* ends the run: these rows were not added */
        if (i == 0)
            ht_point_pass(ht_round_points(sync->round), HT_IN_ADDING, me->self.worker,
                          me->self.step);
    }
}

/* Adds the sum of the task's dense rows to the worker's sums. */
static void add_sum(ht_sync_t *sync, worker_t *me, const ht_sums_t *sums, double inverse_unit)
{
    const ht_sync_config_t *c = &sync->config;
    ht_sums_add_fn_t add = sync->kernels->add_racy[c->is_exact != 0];
    if (!add(sums, me->slot.sum, sync->n_coordinates, inverse_unit, c->scales))
        me->slot.largest = (double)INFINITY; /* ends the run: products have overflowed */
    ht_point_pass(ht_round_points(sync->round), HT_IN_ADDING, me->self.worker, me->self.step);
}

static void add_slot(ht_sync_t *sync, uint32_t worker)
{
    int is_exact = sync->config.is_exact;
    worker_t *me = &sync->workers[worker];
    slot_t *slot = &me->slot;
    ht_sums_t *sums = sums_of(sync, worker, is_exact ? 0 : me->task);
    double inverse_unit = is_exact ? 1.0 / unit_of(sync, &me->state) : 1.0;
    if (has_replicas(sync))
        ht_sync_add_changes(sync, me);
    else if (slot->sum != NULL)
        add_sum(sync, me, sums, inverse_unit);
    else
        add_rows(sync, me, sums, inverse_unit);
    tally_t *tally = &sync->tallies[worker];
    /* relaxed: own words. */
    ht_store_relaxed(&tally->loss, ht_load_relaxed(&tally->loss) + (uint64_t)slot->loss);
    ht_store_relaxed(&tally->rows, ht_load_relaxed(&tally->rows) + (uint64_t)slot->n_rows);
    if (slot->largest > double_of(ht_load_relaxed(&tally->largest)))
        ht_store_relaxed(&tally->largest, bits_of(slot->largest));
}

ht_err_t ht_sync_commit(ht_sync_t *sync, uint32_t worker)
{
    worker_t *me = &sync->workers[worker];
    if (me->hand != HOLDS_RESULT)
        return HT_EINVAL;
    me->hand = HOLDS_NOTHING;
    ht_err_t err = ht_round_commit(&me->self);
    if (err != HT_OK)
        return err;
    uint64_t begin = ht_now_ns();
    add_slot(sync, worker);
    /* The time is noted before the result counts: the step may be over at once. */
    raise_own(&me->report->compute_ns, ht_now_ns() - begin);
    return ht_round_added(&me->self);
}

ht_err_t ht_sync_await(ht_sync_t *sync, uint32_t worker, uint64_t deadline_ns)
{
    worker_t *me = &sync->workers[worker];
    /* Before the look at the phase: a change after the look rings the bell again. */
    uint32_t bell = ht_round_bell(sync->round);
    /* relaxed: see ht_sync_leave. */
    if (ht_load_relaxed(&sync->words->leaving) != 0)
        return HT_ESTOPPED;
    ht_err_t entered = ht_sync_enter(sync, me);
    int is_resting = entered == HT_EEND;
    if (entered == HT_OK) {
        int is_idle = me->self.step == me->idle_step && me->self.phase == me->idle_phase;
        if (me->self.phase != HT_EXCHANGE && !is_idle)
            return HT_OK;
        if (me->self.phase == HT_WORK && ht_round_finish_work(&me->self) == HT_OK) {
            if (sync->guest != NULL)
                ht_sync_call_guest(sync);
            return HT_OK;
        }
    }
    uint64_t begin = ht_now_ns();
    ht_err_t err = ht_round_await(&me->self, bell, is_resting, deadline_ns);
    raise_own(&me->report->wait_ns, ht_now_ns() - begin);
    return err;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "ht_futex.h"
#include "ht_sync_parts.h"

static uint32_t slowed(ht_sync_t *sync, uint32_t worker)
{
    /* relaxed: see ht_sync_slow. */
    return ht_load_relaxed((ht_word32_t *)(void *)((char *)sync->slowed + worker * HT_LINE));
}

/* ---- work ---------------------------------------------------------------- */

static ht_sums_t *sums_of(ht_sync_t *sync, uint32_t worker, uint32_t lane)
{
    return &sync->sums[(size_t)worker * sync->n_lanes + lane];
}

/* Takes part in the current step.  HT_EEND: none is allowed. */
static ht_err_t enter(ht_sync_t *sync, worker_t *me)
{
    ht_round_enter(&me->self);
    me->state = state_at(sync, me->self.step);
    if (me->self.is_fresh) {
        uint32_t worker = me->self.worker;
        for (uint32_t lane = 0; lane < sync->n_lanes; lane++)
            ht_grid_clear(sums_of(sync, worker, lane), sync->n_coordinates, sync->config.is_exact);
        /* relaxed: see tally_t. */
        ht_store_relaxed(&sync->tallies[worker].loss, 0u);
        ht_store_relaxed(&sync->tallies[worker].largest, bits_of(0.0));
        ht_store_relaxed(&sync->tallies[worker].rows, 0u);
        me->hand = HOLDS_NOTHING; /* what it held was of an older step */
        me->report.steps++;
    }
    return me->self.phase == HT_WORK && !is_allowed(sync, &me->state) ? HT_EEND : HT_OK;
}

static ht_err_t note_idle(worker_t *me)
{
    me->idle_step = me->self.step;
    me->idle_phase = me->self.phase;
    return HT_EEND;
}

ht_err_t ht_sync_claim(ht_sync_t *sync, uint32_t worker, uint32_t *task)
{
    worker_t *me = &sync->workers[worker];
    if (enter(sync, me) != HT_OK || me->self.phase != HT_WORK)
        return HT_EEND;
    if (ht_round_claim(&me->self, task) != HT_OK)
        return note_idle(me);
    me->task = *task;
    me->hand = HOLDS_TASK;
    return HT_OK;
}

/* The largest |gradient|; infinite when one is infinite or NaN. */
static double largest_of(const float *gradient, int64_t n)
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

/* Fetches n rows where their file is mapped: then *ids are those of the copies. */
static ht_err_t fetch(ht_sync_t *sync, worker_t *me, const int64_t **ids, int n)
{
    const ht_rows_t *rows = &sync->config.rows;
    if (!ht_rows_is_mapped(rows))
        return HT_OK;
    ht_err_t err = ht_rows_fetch(rows, *ids, n, &me->fetched);
    *ids = ht_fetched_ids;
    if (err != HT_OK)
        ht_store_relaxed(sync->changed, 1u); /* relaxed: see ht_sync_parts.h */
    return err;
}

/* Gradients of up to HT_GROUP_ROWS rows; returns the sum of their losses, NaN when the rows
 * have changed. */
static double compute_group(ht_sync_t *sync, worker_t *me, const int64_t *ids, int n,
                            float *gradient)
{
    const ht_sync_config_t *c = &sync->config;
    const ht_linear_t *linear = &me->linear;
    if (fetch(sync, me, &ids, n) != HT_OK)
        return (double)NAN;
    float *w = sync->arrays[0];
    ht_view_t view = {w + linear->outputs, NULL, c->intercept ? w : NULL, linear->outputs};
    float *z = me->z, y[HT_GROUP_ROWS] = {0}, weight[HT_GROUP_ROWS];
    linear->dot(&linear->rows, ids, n, &view, 1, NULL, z);
    double loss = ht_linear_gradient(linear, ids, n, z, gradient);
    if (linear->classes != 0)
        return loss;
    for (int k = 0; k < n; k++)
        y[k] = linear->rows.targets[ids[k]];
    for (int k = 0; linear->rows.weights != NULL && k < n; k++)
        weight[k] = linear->rows.weights[ids[k]];
    return ht_loss_sum(c->loss, n, z, y, linear->rows.weights == NULL ? NULL : weight);
}

/* A power of two. */
static double loss_unit(const state_t *state)
{
    int exponent;
    (void)frexp(state->bound, &exponent);
    return ldexp(1.0, 2 * exponent - LOSS_BITS);
}

static void spin_until(uint64_t ns)
{
    while (ht_now_ns() < ns)
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
    int64_t outputs = sync->linear.outputs;
    slot->n_rows = ht_batches_task(&sync->batches, me->state.batches, task, slot->ids);
    double loss = 0.0;
    for (int i = 0; i < slot->n_rows; i += HT_GROUP_ROWS) {
        int n = slot->n_rows - i < HT_GROUP_ROWS ? slot->n_rows - i : HT_GROUP_ROWS;
        loss += compute_group(sync, me, slot->ids + i, n, slot->gradient + i * outputs);
        if (i == 0)
            ht_point_pass(ht_round_points(sync->round), HT_IN_COMPUTING, worker);
    }
    slot->largest =
        isfinite(loss) ? largest_of(slot->gradient, slot->n_rows * outputs) : (double)INFINITY;
    double units = loss / loss_unit(&me->state), most = ldexp(1.0, LOSS_MOST_BITS);
    slot->loss = (int64_t)rint(isfinite(loss) && units < most ? units : most);
    uint64_t end = ht_now_ns();
    if (slowed(sync, worker) != 0) {
        spin_until(end + (end - begin) * slowed(sync, worker) / 1000);
        end = ht_now_ns();
    }
    me->report.compute_ns += end - begin;
    return HT_OK;
}

/* The unit of the grid before scales, a power of two. */
static double unit_of(const ht_sync_t *sync, const state_t *state)
{
    double largest = state->bound * sync->config.largest_value;
    if (!(largest > 0.0))
        largest = 1.0;
    return ldexp(1.0, ht_grid_exponent(largest, ht_batches_rows(&sync->batches, state->batches)));
}

static void add_slot(ht_sync_t *sync, uint32_t worker)
{
    const ht_sync_config_t *c = &sync->config;
    worker_t *me = &sync->workers[worker];
    slot_t *slot = &me->slot;
    ht_sums_t *sums = sums_of(sync, worker, c->is_exact ? 0 : me->task);
    ht_grid_add_fn_t add = sync->kernels->add_racy[c->is_exact != 0];
    double inverse_unit = c->is_exact ? 1.0 / unit_of(sync, &me->state) : 1.0;
    for (int i = 0; i < slot->n_rows; i += HT_GROUP_ROWS) {
        int n = slot->n_rows - i < HT_GROUP_ROWS ? slot->n_rows - i : HT_GROUP_ROWS;
        const int64_t *ids = slot->ids + i;
        if (fetch(sync, me, &ids, n) == HT_OK)
            add(sums, &me->linear.rows, ids, n, slot->gradient + i * sync->linear.outputs,
                sync->linear.outputs, c->intercept, inverse_unit, c->scales);
        else
            slot->largest = (double)INFINITY; /* ends the run: a part is missing */
        if (i == 0)
            ht_point_pass(ht_round_points(sync->round), HT_IN_ADDING, worker);
    }
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
    /* Noted before it counts: the step may be over at once. */
    me->report.compute_ns += ht_now_ns() - begin;
    return ht_round_added(&me->self);
}

/* ---- merge --------------------------------------------------------------- */

/* The smallest power of two that is not below x. */
static double power_above(double x)
{
    int exponent;
    double mantissa = frexp(x, &exponent);
    return ldexp(1.0, mantissa == 0.5 ? exponent - 1 : exponent);
}

enum { HEADROOM = 4 }; /* of the bound over the largest gradient of the step before */

/* Lists the sums that the step merges, in an order that is the same for all. */
static void list_sums(ht_sync_t *sync, worker_t *me)
{
    uint32_t n = 0;
    if (sync->config.is_exact)
        for (uint32_t w = 0; w < sync->config.n_workers; w++)
            if (ht_round_accumulates(&me->self, w))
                me->counting[n++] = *sums_of(sync, w, 0);
    for (uint32_t task = 0; !sync->config.is_exact && task < me->self.n_tasks; task++) {
        uint32_t owner = ht_round_owner(&me->self, task);
        if (owner != UINT32_MAX) /* else the step is over, and the commit will fail */
            me->counting[n++] = *sums_of(sync, owner, task);
    }
    me->n_counting = n;
}

/* What the step leads to: a function of the tallies that count, so the same
 * for every worker that asks. */
static void judge(ht_sync_t *sync, worker_t *me)
{
    if (me->judged == me->self.step)
        return;
    int64_t loss = 0;
    double largest = 0.0;
    for (uint32_t w = 0; w < sync->config.n_workers; w++) {
        if (!ht_round_accumulates(&me->self, w))
            continue;
        /* relaxed: see tally_t. */
        loss += (int64_t)ht_load_relaxed(&sync->tallies[w].loss);
        double mine = double_of(ht_load_relaxed(&sync->tallies[w].largest));
        largest = mine > largest ? mine : largest;
    }
    state_t next = me->state;
    int is_over = sync->config.is_exact && largest > next.bound;
    me->is_merging = isfinite(largest) && !is_over;
    if (!isfinite(largest)) {
        next.outcome = HT_ENONFINITE;
    } else if (is_over) {
        next.refused++;
        next.bound = power_above(largest);
    } else {
        next.batches++;
        next.loss += (double)loss * loss_unit(&me->state);
        if (!sync->config.is_bounded && largest > 0.0)
            next.bound = power_above(largest) * HEADROOM;
    }
    if (me->is_merging)
        list_sums(sync, me);
    me->verdict = next;
    me->judged = me->self.step;
}

/* The share of the parameters after this batch in their average; 0: it is not due. */
static float average_share(const ht_sync_t *sync, uint64_t batch)
{
    uint64_t number = averages_until(sync, batch + 1), from = sync->config.average_from;
    if (number == averages_until(sync, batch) || number <= from)
        return 0.0f;
    return 1.0f / (float)(number - from);
}

static void compute_block(ht_sync_t *sync, worker_t *me, uint32_t block)
{
    const ht_sync_config_t *c = &sync->config;
    judge(sync, me);
    if (block == sync->n_blocks)
        return; /* the control: the verdict is its redo slot */
    memset(me->touched, 0, BLOCK / HT_GRID_GROUP);
    if (!me->is_merging)
        return;
    int64_t first = (int64_t)block * BLOCK;
    ht_grid_merge_t merge = {
        .first = first,
        .last = first + BLOCK < sync->n_coordinates ? first + BLOCK : sync->n_coordinates,
        .sums = me->counting,
        .n_sums = me->n_counting,
        .unit = unit_of(sync, &me->state),
        .scales = c->scales,
        .inverse_rows = 1.0f / (float)ht_batches_rows(&sync->batches, me->state.batches),
        .n_arrays = sync->n_arrays,
        .merged = me->redo,
        .array_stride = BLOCK,
        .touched = me->touched,
        .c = sync->shares,
        .n_intercept = c->intercept ? sync->linear.outputs : 0,
        .intercept_rate = ht_optimizer_intercept_rate(c->optimizer, ht_rows_is_dense(&c->rows)),
        .average_share = average_share(sync, me->state.batches),
        .step = step_at(sync, me->state.batches),
        .optimizer = c->optimizer,
    };
    for (int k = 0; k < sync->n_arrays; k++)
        merge.arrays[k] = sync->arrays[k];
    sync->kernels->merge_racy[c->is_exact != 0](&merge);
}

/* Counts the rows of a step that is merged for those whose sums it merges.  An heir
 * may do it again: `before` is what it was when the step was counted first. */
static void credit_rows(ht_sync_t *sync, const worker_t *me)
{
    /* relaxed, all accesses: see credit_t. */
    for (uint32_t w = 0; w < sync->config.n_workers; w++) {
        if (!ht_round_accumulates(&me->self, w))
            continue;
        credit_t *credit = &sync->credits[w];
        if (ht_load_relaxed(&credit->step) != me->self.step) {
            ht_store_relaxed(&credit->before, ht_load_relaxed(&credit->rows));
            ht_store_relaxed(&credit->step, me->self.step);
        }
        uint64_t rows = ht_load_relaxed(&sync->tallies[w].rows);
        ht_store_relaxed(&credit->rows, ht_load_relaxed(&credit->before) + rows);
    }
}

/* Copies what `from` has computed; the one who may is the owner of the commit. */
static void copy_block(ht_sync_t *sync, const worker_t *me, const worker_t *from, uint32_t block)
{
    ht_point_pass(ht_round_points(sync->round), HT_IN_COPYING, me->self.worker);
    if (block == sync->n_blocks) {
        control_t *control = &sync->controls[(me->self.step + 1) % 2];
        /* relaxed: see control_t. */
        ht_store_relaxed(&control->batches, from->verdict.batches);
        ht_store_relaxed(&control->refused, from->verdict.refused);
        ht_store_relaxed(&control->loss, bits_of(from->verdict.loss));
        ht_store_relaxed(&control->bound, bits_of(from->verdict.bound));
        ht_store_relaxed(&control->outcome, (uint64_t)from->verdict.outcome);
        if (from->is_merging)
            credit_rows(sync, me);
        return;
    }
    int64_t first = (int64_t)block * BLOCK;
    size_t nbytes = sizeof(float) * HT_GRID_GROUP;
    /* The average is as before unless it was due. */
    int n_arrays =
        ht_grid_arrays(sync->config.optimizer, average_share(sync, me->state.batches) != 0.0f);
    for (int g = 0; g < BLOCK / HT_GRID_GROUP; g++) {
        if (!from->touched[g])
            continue;
        int64_t at = first + g * HT_GRID_GROUP;
        for (int k = 0; k < n_arrays; k++)
            memcpy(sync->arrays[k] + at, from->redo + k * BLOCK + g * HT_GRID_GROUP, nbytes);
    }
}

/* Opens the next step if every block is done. */
static void advance(ht_sync_t *sync, worker_t *me)
{
    if (!ht_round_is_merged(&me->self))
        return;
    state_t next = state_at(sync, me->self.step + 1);
    ht_round_advance(&me->self, ht_batches_tasks(&sync->batches, next.batches));
    if (is_allowed(sync, &next))
        return;
    /* Pairs with the acquire in ht_sync_await_rest. */
    ht_add_seq_cst(HT_PAIR_STEP, sync->rested, 1u);
    ht_futex_wake(sync->rested);
}

ht_err_t ht_sync_merge_next(ht_sync_t *sync, uint32_t worker)
{
    worker_t *me = &sync->workers[worker];
    uint32_t block, redo;
    if (enter(sync, me) != HT_OK || me->self.phase != HT_MERGE)
        return HT_EEND;
    uint64_t begin = ht_now_ns();
    ht_err_t err = ht_round_merge_next(&me->self, &block, &redo);
    if (err != HT_OK) {
        advance(sync, me);
        return note_idle(me);
    }
    if (redo == UINT32_MAX) {
        compute_block(sync, me, block);
        err = ht_round_merge_commit(&me->self);
    }
    if (err == HT_OK) {
        copy_block(sync, me, redo == UINT32_MAX ? me : &sync->workers[redo], block);
        ht_round_merge_done(&me->self);
    }
    me->report.merge_ns += ht_now_ns() - begin;
    return HT_OK;
}

ht_err_t ht_sync_await(ht_sync_t *sync, uint32_t worker, uint64_t deadline_ns)
{
    worker_t *me = &sync->workers[worker];
    /* Before the look at the phase: a change after it rings another bell. */
    uint32_t bell = ht_round_bell(sync->round);
    /* relaxed: see ht_sync_leave. */
    if (ht_load_relaxed(sync->leaving) != 0)
        return HT_ESTOPPED;
    int is_resting = enter(sync, me) != HT_OK;
    if (!is_resting) {
        if (me->self.step != me->idle_step || me->self.phase != me->idle_phase)
            return HT_OK;
        if (me->self.phase == HT_WORK && ht_round_finish_work(&me->self) == HT_OK)
            return HT_OK;
    }
    uint64_t begin = ht_now_ns();
    ht_err_t err = ht_round_await(&me->self, bell, is_resting, deadline_ns);
    me->report.wait_ns += ht_now_ns() - begin;
    return err;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "math/ht_average.h"
#include "run/ht_sync_guest_parts.h"
#include "run/ht_sync_local.h"

double ht_sync_power_above(double x)
{
    int exponent;
    double mantissa = frexp(x, &exponent);
    return ldexp(1.0, mantissa == 0.5 ? exponent - 1 : exponent);
}

/* Lists the sums that the step merges, in an order that is equal for all workers. */
static void list_sums(ht_sync_t *sync, worker_t *me)
{
    uint32_t n = 0;
    if (sync->guest != NULL) { /* they hold those of the workers */
        for (; n < sync->n_lanes; n++)
            me->counting[n] = sync->guest_sums[n];
        me->n_counting = n;
        return;
    }
    for (uint32_t w = 0; sync->config.is_exact && w < sync->config.n_workers; w++)
        for (uint32_t lane = 0; ht_round_accumulates(&me->self, w) && lane < sync->n_lanes; lane++)
            me->counting[n++] = *sums_of(sync, w, lane);
    for (uint32_t task = 0; !sync->config.is_exact && task < me->self.n_tasks; task++) {
        uint32_t owner = ht_round_owner(&me->self, task);
        if (owner != UINT32_MAX) /* else the step is over, and the commit will fail */
            me->counting[n++] = *sums_of(sync, owner, task);
    }
    me->n_counting = n;
}

/* Sets the worker's verdict: the state after the step.  It is a function of the tallies that count,
 * or of the guest's total, so it is equal for every worker that computes it. */
static void judge(ht_sync_t *sync, worker_t *me)
{
    if (me->judged == me->self.step)
        return;
    ht_sync_total_t total =
        sync->guest == NULL ? ht_sync_sum_tallies(sync, &me->self) : ht_sync_read_total(sync);
    int64_t loss = total.loss;
    double largest = total.largest;
    state_t next = me->state;
    int is_over = sync->config.is_exact && largest > next.bound;
    if (has_replicas(sync))
        is_over |= ht_sync_judge_changes(sync, me, &total, &next);
    me->is_merging = isfinite(largest) && !is_over;
    if (sync->guest != NULL && ht_sync_passes_over(sync, &next)) {
        me->is_merging = 0;
    } else if (!isfinite(largest)) {
        next.outcome = HT_ENONFINITE;
    } else if (is_over) {
        next.refused++;
        if (largest > next.bound)
            next.bound = ht_sync_power_above(largest);
    } else {
        next.batches = batches_after(sync, &me->state);
        next.loss += (double)loss * loss_unit(&me->state);
        if (!sync->config.is_bounded && largest > 0.0)
            next.bound = ht_sync_power_above(largest) * HT_SYNC_HEADROOM;
    }
    if (me->is_merging)
        list_sums(sync, me);
    me->verdict = next;
    ht_point_pass(ht_round_points(sync->round), HT_IN_JUDGING, me->self.worker, me->self.step);
    me->judged = me->self.step;
}

/* Returns the share of the parameters after this step in their average; 0: no average is due. */
static float average_share(const ht_sync_t *sync, const state_t *state)
{
    uint64_t number = averages_until(sync, batches_after(sync, state));
    return number == averages_until(sync, state->batches) ? 0.0f : ht_average_share(number);
}

static void compute_block(ht_sync_t *sync, worker_t *me, uint32_t block)
{
    const ht_sync_config_t *c = &sync->config;
    judge(sync, me);
    if (block == sync->n_blocks) {
        write_state(&sync->verdicts[me->self.worker], &me->verdict);
        return;
    }
    memset(me->touched, 0, BLOCK / HT_SUMS_GROUP);
    if (!me->is_merging)
        return;
    uint64_t batch = me->state.batches;
    int64_t first = (int64_t)block * BLOCK;
    int64_t last = first + BLOCK < sync->n_coordinates ? first + BLOCK : sync->n_coordinates;
    if (has_replicas(sync)) {
        ht_sync_merge_changes(sync, me, first, last, average_share(sync, &me->state));
        return;
    }
    ht_sums_merge_t merge = ht_sync_step_on(sync, rows_of(sync, &me->state), step_at(sync, batch));
    merge.first = first;
    merge.last = last;
    merge.sums = me->counting;
    merge.n_sums = me->n_counting;
    merge.unit = unit_of(sync, &me->state);
    merge.scales = c->scales;
    merge.merged = me->redo;
    merge.array_stride = BLOCK;
    merge.touched = me->touched;
    merge.average_share = average_share(sync, &me->state);
    for (int k = 0; k < sync->n_arrays; k++)
        merge.arrays[k] = sync->arrays[k];
    sync->kernels->merge_racy[c->is_exact != 0](&merge);
}

ht_sums_merge_t ht_sync_step_on(const ht_sync_t *sync, uint64_t n_rows, ht_step_t step)
{
    const ht_sync_config_t *c = &sync->config;
    return (ht_sums_merge_t){
        .unit = 1.0,
        .inverse_rows = 1.0f / (float)n_rows,
        .c = sync->shares,
        .l1_factor = sync->l1_factor,
        .n_intercept = c->intercept ? sync->model->n_outputs : 0,
        .intercept_rate = ht_optimizer_intercept_rate(c->optimizer, ht_rows_is_dense(&c->rows)),
        .step = step,
        .optimizer = c->optimizer,
    };
}

/* Credits the rows of a merged step to the workers whose sums it merges.  An heir may call it
 * again: `before` keeps the rows of all earlier steps. */
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

/* Copies a block from the redo slot of worker `from`.  The right to copy belongs to the owner of
 * the block's commit, or to its heir.  points: where the copying worker may be held; NULL: the
 * supervisor copies. */
static void copy_block(ht_sync_t *sync, const worker_t *me, uint32_t from, uint32_t block,
                       ht_points_t *points)
{
    const uint32_t step = me->self.step;
    ht_point_t point = from == me->self.worker ? HT_IN_COPYING : HT_HEIR_COPYING;
    if (block == sync->n_blocks) {
        state_t verdict = read_state(&sync->verdicts[from]);
        write_state(&sync->controls[(step + 1) % 2], &verdict);
        ht_point_pass(points, point, me->self.worker, step);
        if (verdict.batches != me->state.batches) /* the step is merged */
            credit_rows(sync, me);
        return;
    }
    const worker_t *owner = &sync->workers[from];
    int64_t first = (int64_t)block * BLOCK;
    size_t nbytes = sizeof(float) * HT_SUMS_GROUP;
    /* Usually the average is left as it is; when it is due, it is copied with the other arrays. */
    int n_arrays = sync->n_arrays;
    if (has_average(sync) && average_share(sync, &me->state) == 0.0f)
        n_arrays--;
    for (int g = 0; g < BLOCK / HT_SUMS_GROUP; g++) {
        if (!owner->touched[g])
            continue;
        int64_t at = first + g * HT_SUMS_GROUP;
        for (int k = 0; k < n_arrays; k++)
            memcpy(sync->arrays[k] + at, owner->redo + k * BLOCK + g * HT_SUMS_GROUP, nbytes);
        ht_point_pass(points, point, me->self.worker, step);
        points = NULL; /* once a block */
    }
}

void ht_sync_revive(ht_sync_t *sync, uint32_t worker)
{
    ht_phase_t phase;
    worker_t heir = {0};
    ht_round_self_init(&heir.self, sync->round, worker, &sync->reports[worker].counts);
    heir.self.step = ht_round_now(sync->round, &phase, NULL);
    heir.state = state_at(sync, heir.self.step);
    uint32_t block, redo;
    while (ht_round_orphan(sync->round, &block, &redo) == HT_OK) {
        copy_block(sync, &heir, redo, block, NULL);
        ht_round_orphan_done(sync->round, block);
    }
    ht_round_revive(sync->round, worker);
}

/* Opens the next step if every block is done. */
static void advance(ht_sync_t *sync, worker_t *me)
{
    if (!ht_round_is_merged(&me->self))
        return;
    state_t next = state_at(sync, me->self.step + 1);
    ht_round_advance(&me->self, own_tasks(sync, &next));
    if (is_allowed(sync, &next))
        return;
    /* seq_cst, pairs with the acquire in ht_sync_await_rest: hands over the phase just opened. */
    ht_add_seq_cst(HT_PAIR_STEP, &sync->words->rested, 1u);
    ht_futex_wake(&sync->words->rested);
}

void ht_sync_settle(ht_sync_t *sync)
{
    ht_phase_t phase;
    uint32_t now, step = ht_round_now(sync->round, &phase, NULL);
    if (phase != HT_MERGE)
        return;
    ht_point_release_all(ht_round_points(sync->round)); /* the supervisor must not be held */
    ht_sync_revive(sync, 0);
    /* ends: nobody else holds a block, and one that a dead worker had claimed is soon overdue. */
    do {
        (void)ht_sync_merge_next(sync, 0);
        now = ht_round_now(sync->round, &phase, NULL);
    } while (now == step && phase == HT_MERGE);
}

ht_err_t ht_sync_merge_next(ht_sync_t *sync, uint32_t worker)
{
    worker_t *me = &sync->workers[worker];
    uint32_t block, redo;
    if (ht_sync_enter(sync, me) != HT_OK || me->self.phase != HT_MERGE)
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
        copy_block(sync, me, redo == UINT32_MAX ? worker : redo, block,
                   ht_round_points(sync->round));
        ht_round_merge_done(&me->self);
    }
    raise_own(&me->report->merge_ns, ht_now_ns() - begin);
    return HT_OK;
}

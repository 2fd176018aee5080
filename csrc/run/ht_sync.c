/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * The supervisor takes no part in the steps.  It allows batches, and workers rest in the WORK of
 * the first step that is not allowed.  So a stop never leaves a part of a batch, and where a run
 * was stopped changes no bits.
 *
 * Between steps only the controls remember anything.  The control of the next step is merged as one
 * more block (ht_sync_merge.c), so the round's rules for blocks, heirs included, hold for it.
 *
 * `rested` is read before the look at the phase, and a worker raises it after it has opened a step
 * that is not allowed: a change that the look misses changes the word, and the wait ends at once.
 *
 * A refused batch is done again at most once: with equal parameters its gradients are equal, and
 * the new bound holds them.
 *
 * A task's rows are fixed, and its sum over dense rows takes them in their order.  So the float sum
 * is as free of the workers as a row's gradient is, and rounding it once keeps equal bits.
 *
 * Tests: tests/c/test_sync.c, test_sync_dense.c, test_sync_attach.c and test_sync_breadth.c.
 */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "run/ht_sync_guest_parts.h"
#include "run/ht_sync_step.h"

ht_segment_t *ht_sync_segment(ht_sync_t *sync)
{
    return sync->segment;
}

int32_t ht_sync_segment_fd(const ht_sync_t *sync)
{
    return sync->segment_fd;
}

ht_round_t *ht_sync_round(ht_sync_t *sync)
{
    return sync->round;
}

uint64_t ht_sync_steps_per_epoch(const ht_sync_t *sync)
{
    return sync->batches.steps_per_epoch;
}

uint64_t ht_sync_rows_until(const ht_sync_t *sync, uint64_t batches)
{
    return ht_batches_rows_until(&sync->batches, batches);
}

void ht_sync_load(ht_sync_t *sync, const float *parameters)
{
    memcpy(sync->arrays[0], parameters, sizeof *parameters * (size_t)sync->n_coordinates);
    if (!ht_optimizer_is_dual(sync->config.optimizer))
        return;
    ht_step_t step = step_at(sync, 0);
    for (int64_t j = 0; j < sync->n_coordinates; j++)
        sync->arrays[1][j] = ht_optimizer_to_dual(parameters[j], &step);
}

void ht_sync_store(ht_sync_t *sync, float *parameters)
{
    uint64_t batches = ht_sync_progress(sync).batches;
    int has_average = averages_until(sync, batches) > 0;
    const float *from = sync->arrays[has_average ? sync->n_arrays - 1 : 0];
    memcpy(parameters, from, sizeof *parameters * (size_t)sync->n_coordinates);
    if (!ht_optimizer_is_dual(sync->config.optimizer))
        return;
    /* A coordinate's w is as old as the last batch that touched it. */
    const ht_step_t step = step_at(sync, batches);
    for (int64_t j = sync->model->n_outputs; j < sync->n_coordinates; j++) {
        float c1 = sync->l1_factor == NULL ? 1.0f : sync->l1_factor[j];
        ht_step_t mine = step;
        mine.l1_sum = c1 * step.l1_sum;
        mine.l2_sum = c1 * c1 * step.l2_sum;
        parameters[j] = ht_optimizer_from_dual(sync->arrays[1][j], sync->arrays[2][j], &mine);
    }
}

/* ---- saving ------------------------------------------------------------- */

int ht_sync_n_arrays(const ht_sync_t *sync)
{
    return sync->n_arrays;
}

ht_sync_saved_t ht_sync_save(ht_sync_t *sync, float *arrays)
{
    size_t n = (size_t)sync->n_coordinates;
    ht_phase_t phase;
    state_t state = state_at(sync, ht_round_now(sync->round, &phase, NULL));
    for (int k = 0; k < sync->n_arrays; k++)
        memcpy(arrays + (size_t)k * n, sync->arrays[k], sizeof *arrays * n);
    ht_sync_saved_t saved = {
        .batches = state.batches,
        .refused = state.refused,
        .loss = state.loss,
        .bound = state.bound,
        .together = state.together,
    };
    memcpy(saved.changes, state.changes, sizeof saved.changes);
    return saved;
}

ht_err_t ht_sync_state_of(const ht_sync_t *sync, const ht_sync_saved_t *saved, state_t *state)
{
    if (saved->together < 1 || saved->together > most_together(sync))
        return HT_EINVAL;
    if (saved->batches > HT_SYNC_STEPS || !(saved->bound > 0) || !isfinite(saved->bound))
        return HT_EINVAL;
    for (int k = 0; k < HT_CHANGES_ARRAYS; k++)
        if (!(saved->changes[k] > 0) || !isfinite(saved->changes[k]))
            return HT_EINVAL;
    *state = (state_t){
        .batches = saved->batches,
        .refused = saved->refused,
        .loss = saved->loss,
        .bound = saved->bound,
        .outcome = HT_OK,
        .together = saved->together,
        .share = ht_whole,
    };
    memcpy(state->changes, saved->changes, sizeof state->changes);
    return HT_OK;
}

ht_err_t ht_sync_restore(ht_sync_t *sync, const ht_sync_saved_t *saved, const float *arrays)
{
    const ht_sync_config_t *c = &sync->config;
    size_t n = (size_t)sync->n_coordinates;
    state_t state;
    if (ht_sync_state_of(sync, saved, &state) != HT_OK)
        return HT_EINVAL;
    state.share = state_at(sync, 1).share;
    for (int k = 0; k < sync->n_arrays; k++)
        memcpy(sync->arrays[k], arrays + (size_t)k * n, sizeof *arrays * n);
    write_state(&sync->controls[1], &state); /* step 1 reads it */
    return ht_round_init(sync->round, c->n_workers, sync->most_tasks, sync->n_blocks + 1,
                         c->has_guest != 0, own_tasks(sync, &state));
}

/* ---- statistics --------------------------------------------------------- */

ht_sync_report_t ht_sync_report(const ht_sync_t *sync, uint32_t worker)
{
    const report_t *report = &sync->reports[worker];
    /* relaxed: see report_t. */
    return (ht_sync_report_t){
        .generation = ht_load_relaxed(&report->generation),
        .steps = ht_load_relaxed(&report->steps),
        .compute_ns = ht_load_relaxed(&report->compute_ns),
        .merge_ns = ht_load_relaxed(&report->merge_ns),
        .wait_ns = ht_load_relaxed(&report->wait_ns),
        .repeated = ht_load_relaxed(&report->counts.repeated),
        .lost = ht_load_relaxed(&report->counts.lost),
        .revoked = ht_load_relaxed(&report->counts.revoked),
    };
}

uint64_t ht_sync_rows(ht_sync_t *sync, uint32_t worker)
{
    /* relaxed: see credit_t. */
    return ht_load_relaxed(&sync->credits[worker].rows);
}

void ht_sync_set_rates(ht_sync_t *sync, uint32_t epoch, const float *lrs)
{
    ht_rates_write(sync->rates, epoch - 1, lrs);
}

/* ---- the supervisor ----------------------------------------------------- */

void ht_sync_allow(ht_sync_t *sync, uint64_t batches)
{
    ht_phase_t phase;
    uint32_t n_tasks;
    /* relaxed: handed over by the bell. */
    ht_store_relaxed(&sync->words->allowed, batches);
    (void)ht_round_now(sync->round, &phase, &n_tasks);
    ht_round_wake(sync->round, ht_round_wanted(n_tasks));
}

ht_err_t ht_sync_take_together(ht_sync_t *sync, uint32_t together)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(sync->round, &phase, NULL);
    if (together < 1 || together > most_together(sync))
        return HT_EINVAL;
    /* relaxed: handed over by the bell of ht_sync_allow. */
    ht_store_relaxed(&sync->controls[step % 2].together, together);
    return HT_OK;
}

void ht_sync_stop(ht_sync_t *sync)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(sync->round, &phase, NULL);
    state_t state = state_at(sync, step);
    uint64_t end = batches_after(sync, &state);
    if (end < ht_load_relaxed(&sync->words->allowed)) /* relaxed: own word */
        ht_sync_allow(sync, end);
}

void ht_sync_leave(ht_sync_t *sync)
{
    /* relaxed: handed over by the bell. */
    ht_store_relaxed(&sync->words->leaving, 1u);
    ht_round_wake(sync->round, HT_ROUND_WORKERS);
}

void ht_sync_declare_dead(ht_sync_t *sync, uint32_t worker)
{
    ht_round_declare_dead(sync->round, worker);
    raise_own(&sync->reports[worker].generation, 1); /* nobody else writes it now */
}

int ht_sync_takes_part(ht_sync_t *sync, uint32_t worker)
{
    ht_round_self_t self;
    ht_round_self_init(&self, sync->round, worker, NULL);
    return !ht_round_is_barred(&self);
}

ht_err_t ht_sync_await_rest(ht_sync_t *sync, uint64_t deadline_ns)
{
    for (;;) {
        /* acquire, pairs with the addition in advance: hands over the phase of the opened step.
         * Before the look at the phase: a change after the look raises the word once more. */
        uint32_t rested = ht_load_acquire(HT_PAIR_STEP, &sync->words->rested);
        ht_phase_t phase;
        uint32_t step = ht_round_now(sync->round, &phase, NULL);
        state_t state = state_at(sync, step);
        int is_done = phase == HT_WORK && !is_allowed(sync, &state);
        /* Looks again: while this thread slept, the state may have become a later step's. */
        if (is_done && ht_round_now(sync->round, &phase, NULL) == step && phase == HT_WORK)
            return HT_OK;
        ht_err_t err = ht_futex_wait(&sync->words->rested, rested, deadline_ns);
        if (err != HT_OK)
            return err;
    }
}

ht_sync_progress_t ht_sync_progress(ht_sync_t *sync)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(sync->round, &phase, NULL);
    state_t state = state_at(sync, step);
    return (ht_sync_progress_t){
        .batches = state.batches,
        .refused = state.refused,
        .loss = state.loss,
        /* relaxed: see `changed`. */
        .outcome = state.outcome != HT_OK && ht_load_relaxed(&sync->words->changed) != 0
                       ? HT_ECHANGED
                       : state.outcome,
        .step = step,
    };
}

void ht_sync_slow(ht_sync_t *sync, uint32_t worker, double factor)
{
    uint32_t on_top = (uint32_t)((factor - 1.0) * 1000.0);
    /* relaxed: a worker may see the factor at any time. */
    ht_store_relaxed(&sync->slowed[worker].thousandths, on_top);
}

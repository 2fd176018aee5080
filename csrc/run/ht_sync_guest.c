/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * In an exchange nobody changes a worker's word, its sums or its tally: the work is over, and a
 * worker clears its sums when it enters the next step.  The guest's sums are read in the merge
 * alone; a worker that is late reads them while the guest writes those of a later step, and fails
 * its commit.  So heirs find the sums of the step in hand as they found those of the workers.
 *
 * A step that counts for nothing is merged as a refused one is: no block changes, and the control
 * of the next step says the same batch.  The share of a step stands in its control, so that all
 * workers of the step have the same tasks.
 *
 * Tests: tests/c/test_sync_guest.c.
 */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "run/ht_sync_guest_parts.h"
#include "share/ht_encoding.h"

static int is_share(ht_share_t share)
{
    return share.first <= share.last && share.last <= HT_SHARES;
}

/* Returns what a worker would know of the current step. */
static ht_round_self_t self_of(ht_sync_t *sync)
{
    ht_phase_t phase;
    ht_round_self_t self;
    ht_round_self_init(&self, sync->round, 0, NULL);
    self.step = ht_round_now(sync->round, &phase, &self.n_tasks);
    return self;
}

ht_err_t ht_sync_set_share(ht_sync_t *sync, ht_share_t share)
{
    const ht_sync_config_t *c = &sync->config;
    if (sync->guest == NULL || !is_share(share))
        return HT_EINVAL;
    state_t state = state_at(sync, 1);
    state.share = share;
    write_state(&sync->controls[1], &state); /* step 1 reads it */
    /* relaxed: see ht_sync_guest. */
    ht_store_relaxed(&sync->guest->share, word_of(share));
    return ht_round_init(sync->round, c->n_workers, sync->most_tasks, sync->n_blocks + 1, 1,
                         own_tasks(sync, &state));
}

void ht_sync_call_guest(ht_sync_t *sync)
{
    /* seq_cst, pairs with the acquire in ht_sync_await_exchange: hands over the phase. */
    ht_add_seq_cst(HT_PAIR_STEP, &sync->words->exchanging, 1u);
    ht_futex_wake(&sync->words->exchanging);
}

ht_err_t ht_sync_await_exchange(ht_sync_t *sync, uint32_t *step, uint64_t deadline_ns)
{
    for (;;) {
        /* acquire: see ht_sync_call_guest.  Before the look at the phase, as in
         * ht_sync_await_rest.  A worker may die before its call: no nap is long. */
        uint32_t seen = ht_load_acquire(HT_PAIR_STEP, &sync->words->exchanging);
        ht_phase_t phase;
        uint32_t now = ht_round_now(sync->round, &phase, NULL);
        if (phase == HT_EXCHANGE && now != *step) {
            *step = now;
            return HT_OK;
        }
        if (ht_load_relaxed(&sync->words->leaving) != 0) /* relaxed: see ht_sync_leave */
            return HT_ESTOPPED;
        ht_err_t err = ht_futex_wait(&sync->words->exchanging, seen, deadline_ns);
        if (err != HT_OK)
            return err;
    }
}

int ht_sync_is_merging(ht_sync_t *sync)
{
    ht_phase_t phase;
    (void)ht_round_now(sync->round, &phase, NULL);
    return phase == HT_MERGE;
}

int64_t ht_sync_n_sums(const ht_sync_t *sync)
{
    return guest_lane(sync->n_coordinates) * sync->n_lanes;
}

uint64_t ht_sync_applied(ht_sync_t *sync)
{
    ht_phase_t phase;
    state_t state = state_at(sync, ht_round_now(sync->round, &phase, NULL));
    return state.batches + state.refused;
}

/* Adds n_groups of an accumulator, those that are marked, to others. */
static void add_marked(const ht_sums_t *from, int64_t first, int64_t n_groups, int64_t *sums,
                       uint8_t *marks)
{
    const int64_t *theirs = (const int64_t *)from->sums + first;
    const uint8_t *marked = from->marks + first / HT_SUMS_GROUP;
    for (int64_t g = 0; g < n_groups; g++) {
        if (!marked[g])
            continue;
        marks[g] = 1;
        /* As unsigned: a partial sum may wrap around. */
        for (int64_t i = g * HT_SUMS_GROUP; i < (g + 1) * HT_SUMS_GROUP; i++)
            sums[i] = (int64_t)((uint64_t)sums[i] + (uint64_t)theirs[i]);
    }
}

void ht_sync_collect(ht_sync_t *sync, int64_t first, int64_t last, int64_t *sums, uint8_t *marks)
{
    ht_round_self_t self = self_of(sync);
    int64_t each = guest_lane(sync->n_coordinates);
    for (uint32_t w = 0; w < sync->config.n_workers; w++) {
        if (!ht_round_accumulates(&self, w))
            continue;
        for (int64_t lane = first / each; lane * each < last; lane++) {
            int64_t from = lane * each < first ? first : lane * each;
            int64_t to = (lane + 1) * each < last ? (lane + 1) * each : last;
            add_marked(sums_of(sync, w, (uint32_t)lane), from - lane * each,
                       (to - from) / HT_SUMS_GROUP, sums + (from - first),
                       marks + (from - first) / HT_SUMS_GROUP);
        }
    }
}

ht_sync_total_t ht_sync_sum_tallies(ht_sync_t *sync, const ht_round_self_t *self)
{
    ht_sync_total_t total = {0};
    for (uint32_t w = 0; w < sync->config.n_workers; w++) {
        if (!ht_round_accumulates(self, w))
            continue;
        /* relaxed: see tally_t. */
        const tally_t *tally = &sync->tallies[w];
        total.loss += (int64_t)ht_load_relaxed(&tally->loss);
        total.rows += ht_load_relaxed(&tally->rows);
        double largest = double_of(ht_load_relaxed(&tally->largest));
        total.largest = largest > total.largest ? largest : total.largest;
        for (int k = 0; k < HT_CHANGES_ARRAYS; k++) {
            double change = double_of(ht_load_relaxed(&tally->changes[k]));
            total.changes[k] = change > total.changes[k] ? change : total.changes[k];
        }
    }
    return total;
}

ht_sync_total_t ht_sync_tally(ht_sync_t *sync)
{
    ht_round_self_t self = self_of(sync);
    return ht_sync_sum_tallies(sync, &self);
}

void ht_sync_put(ht_sync_t *sync, int64_t first, int64_t last, const uint8_t *body, int encoding)
{
    int64_t *sums = (int64_t *)sync->guest_sums[0].sums + first;
    uint8_t *marks = sync->guest_sums[0].marks + first / HT_SUMS_GROUP;
    int64_t n_groups = (last - first) / HT_SUMS_GROUP;
    ht_encoding_clear(sums, marks, n_groups);
    ht_encoding_add(body, encoding, n_groups, sums, marks);
}

/* Writes the guest's verdict on the step, and opens its merge. */
static ht_err_t finish(ht_sync_t *sync, const ht_sync_total_t *total, ht_sync_verdict_t verdict)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(sync->round, &phase, NULL);
    if (sync->guest == NULL || phase != HT_EXCHANGE)
        return HT_EBUSY;
    struct ht_sync_guest *guest = sync->guest;
    /* relaxed: see ht_sync_guest. */
    ht_store_relaxed(&guest->total.loss, (uint64_t)total->loss);
    ht_store_relaxed(&guest->total.largest, bits_of(total->largest));
    ht_store_relaxed(&guest->total.rows, total->rows);
    for (int k = 0; k < HT_CHANGES_ARRAYS; k++)
        ht_store_relaxed(&guest->total.changes[k], bits_of(total->changes[k]));
    ht_store_relaxed(&guest->verdict, (uint64_t)verdict);
    return ht_round_guest_added(sync->round, 0, step);
}

ht_err_t ht_sync_merge(ht_sync_t *sync, const ht_sync_total_t *total)
{
    return finish(sync, total, HT_MERGES);
}

ht_err_t ht_sync_repeat(ht_sync_t *sync, ht_share_t share)
{
    ht_phase_t phase;
    (void)ht_round_now(sync->round, &phase, NULL);
    if (sync->guest == NULL || phase != HT_EXCHANGE)
        return HT_EBUSY;
    if (!is_share(share))
        return HT_EINVAL;
    ht_store_relaxed(&sync->guest->share, word_of(share)); /* relaxed: see ht_sync_guest */
    return finish(sync, &(ht_sync_total_t){0}, HT_REPEATS);
}

ht_err_t ht_sync_replace(ht_sync_t *sync, const ht_sync_saved_t *saved, const float *arrays,
                         ht_share_t share)
{
    ht_phase_t phase;
    (void)ht_round_now(sync->round, &phase, NULL);
    if (sync->guest == NULL || phase != HT_EXCHANGE)
        return HT_EBUSY;
    state_t state;
    if (!is_share(share) || ht_sync_state_of(sync, saved, &state) != HT_OK)
        return HT_EINVAL;
    /* Workers that are late with a task read what is changing; their commits will fail. */
    size_t n = (size_t)sync->n_coordinates;
    for (int k = 0; k < sync->n_arrays; k++)
        memcpy(sync->arrays[k], arrays + (size_t)k * n, sizeof *arrays * n);
    write_state(&sync->guest->state, &state);
    ht_store_relaxed(&sync->guest->share, word_of(share)); /* relaxed: see ht_sync_guest */
    return finish(sync, &(ht_sync_total_t){0}, HT_REPLACES);
}

ht_sync_total_t ht_sync_read_total(const ht_sync_t *sync)
{
    /* relaxed: see ht_sync_guest. */
    const tally_t *total = &sync->guest->total;
    ht_sync_total_t all = {
        .loss = (int64_t)ht_load_relaxed(&total->loss),
        .largest = double_of(ht_load_relaxed(&total->largest)),
        .rows = ht_load_relaxed(&total->rows),
    };
    for (int k = 0; k < HT_CHANGES_ARRAYS; k++)
        all.changes[k] = double_of(ht_load_relaxed(&total->changes[k]));
    return all;
}

int ht_sync_passes_over(const ht_sync_t *sync, state_t *next)
{
    /* relaxed: see ht_sync_guest. */
    ht_sync_verdict_t verdict = (ht_sync_verdict_t)ht_load_relaxed(&sync->guest->verdict);
    uint64_t repeats = next->repeats;
    if (verdict == HT_REPLACES) {
        *next = read_state(&sync->guest->state);
        next->repeats = repeats;
    }
    next->repeats += verdict == HT_REPEATS;
    next->share = share_of(ht_load_relaxed(&sync->guest->share));
    return verdict != HT_MERGES;
}

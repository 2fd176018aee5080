/* SPDX-License-Identifier: BSD-3-Clause */
#include <sched.h>

#include "share/ht_round_parts.h"

/* ---- merge ------------------------------------------------------------ */

uint32_t ht_round_owner(const ht_round_self_t *self, uint32_t task)
{
    uint64_t word = ht_load_acquire(HT_PAIR_ADDED, &task_at(self->round, task)->word);
    int counts = step_of(word) == self->step && state_of(word) == COMMITTED &&
                 standing(self->round, word, self->step) == STANDS;
    return counts ? owner_of(word) : UINT32_MAX;
}

int ht_round_accumulates(const ht_round_self_t *self, uint32_t worker)
{
    uint64_t word = ht_load_acquire(HT_PAIR_ADDED, worker_at(self->round, worker));
    return step_of(word) == self->step && !is_revoked(word) && added_of(word) > 0;
}

ht_err_t ht_round_merge_next(ht_round_self_t *self, uint32_t *block, uint32_t *redo)
{
    ht_round_t *round = self->round;
    uint32_t n = round->n_blocks;
    uint32_t start = (uint32_t)((uint64_t)n * self->worker / round->n_workers);
    *redo = UINT32_MAX;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t k = pass == 0 ? self->next : 0; k < n; k++) {
            uint32_t b = start + k < n ? start + k : start + k - n;
            item_t *item = block_at(round, b);
            uint64_t word = ht_load_acquire(HT_PAIR_DONE, &item->word);
            uint64_t mine = 0;
            if (step_of(word) < self->step) /* transition: claim a block. */
                mine = item_word(self->step, CLAIMED, self->worker, 0);
            else if (step_of(word) == self->step && state_of(word) == COMMITTED &&
                     is_dead(round, owner_of(word), self->step)) /* transition: inherit its copy. */
                mine = item_word(self->step, COMMITTED, self->worker, rest_of(word));
            if (mine != 0) {
                if (!ht_cas_seq_cst(HT_PAIR_COMMIT, &item->word, &word, mine))
                    continue;
                note_taken(self, item, b, mine);
                if (state_of(mine) == COMMITTED)
                    *redo = rest_of(mine);
            } else if (pass == 0 || step_of(word) != self->step || state_of(word) != CLAIMED ||
                       !take_overdue(self, item, b, word, self->block_ns)) {
                continue;
            }
            if (pass == 0)
                self->next = k + 1;
            *block = b;
            ht_point_pass(&round->points, HT_IN_MERGING, self->worker, self->step);
            return HT_OK;
        }
        self->next = n;
    }
    return HT_EEND;
}

ht_err_t ht_round_merge_commit(ht_round_self_t *self)
{
    ht_round_t *round = self->round;
    uint64_t seen = self->held;
    uint64_t mine = item_word(self->step, COMMITTED, self->worker, self->worker);
    note_pace(&self->block_ns, self->taken_ns);
    /* transition: commit a block.  Pairs with the compare-and-swap of an heir
     * in ht_round_merge_next: hands over the redo slot. */
    if (!ht_cas_seq_cst(HT_PAIR_COMMIT, &block_at(round, self->at)->word, &seen, mine)) {
        count(&self->counts->lost);
        return HT_EBUSY;
    }
    self->held = mine;
    ht_point_pass(&round->points, HT_AFTER_BLOCK_COMMIT, self->worker, self->step);
    return HT_OK;
}

void ht_round_merge_done(ht_round_self_t *self)
{
    ht_round_t *round = self->round;
    ht_point_pass(&round->points, HT_AFTER_COPY, self->worker, self->step);
    uint64_t seen = self->held;
    uint64_t done = item_word(self->step, DONE, 0, 0);
    /* transition: done.  Pairs with the acquire in ht_round_is_merged: hands
     * over the block's parameters. */
    (void)ht_cas_seq_cst(HT_PAIR_DONE, &block_at(round, self->at)->word, &seen, done);
}

ht_err_t ht_round_orphan(ht_round_t *round, uint32_t *block, uint32_t *redo)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(round, &phase, NULL);
    for (uint32_t b = 0; phase == HT_MERGE && b < round->n_blocks; b++) {
        uint64_t word = ht_load_acquire(HT_PAIR_COMMIT, &block_at(round, b)->word);
        if (step_of(word) != step || state_of(word) != COMMITTED)
            continue;
        *block = b;
        *redo = rest_of(word);
        return HT_OK;
    }
    return HT_EEND;
}

void ht_round_orphan_done(ht_round_t *round, uint32_t block)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(round, &phase, NULL);
    ht_word64_t *word = &block_at(round, block)->word;
    uint64_t seen = ht_load_relaxed(word); /* relaxed: no worker takes part in the step */
    (void)ht_cas_seq_cst(HT_PAIR_DONE, word, &seen, item_word(step, DONE, 0, 0));
}

int ht_round_is_merged(const ht_round_self_t *self)
{
    for (uint32_t b = 0; b < self->round->n_blocks; b++) {
        /* acquire, pairs with ht_round_merge_done. */
        uint64_t word = ht_load_acquire(HT_PAIR_DONE, &block_at(self->round, b)->word);
        if (step_of(word) != self->step || state_of(word) != DONE)
            return 0;
    }
    return 1;
}

void ht_round_advance(ht_round_self_t *self, uint32_t n_tasks)
{
    ht_round_t *round = self->round;
    ht_point_pass(&round->points, HT_BEFORE_PHASE, self->worker, self->step);
    uint64_t from = phase_word(self->step, HT_MERGE, self->n_tasks);
    /* transition: the next step. */
    if (change_phase(round, from, phase_word(self->step + 1, HT_WORK, n_tasks))) {
        ht_point_pass(&round->points, HT_BEFORE_WAKE, self->worker, self->step);
        ht_round_wake(round, ht_round_wanted(n_tasks));
    }
}

/* ---- waiting ---------------------------------------------------------- */

enum { SPINS = 300, YIELD_NS = 1000000, LEAST_NAP_NS = 500000 };
enum { ASLEEP = 1 }; /* as idle_ns */

static void pause_core(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Notes that the bell has rung.  A worker that the step may need spins and yields again; one beyond
 * that number goes on as it was, and so falls asleep. */
static ht_err_t hear(ht_round_self_t *self)
{
    uint32_t n = self->round->n_blocks;
    n = self->n_tasks > n ? self->n_tasks : n;
    if (n_awake(self->round) <= ht_round_wanted(n))
        self->idle_ns = 0;
    return HT_OK;
}

static uint64_t nap_ns(const ht_round_self_t *self, int is_resting, uint32_t sleepers)
{
    if (is_resting)
        return ht_futex_rest_ns(sleepers);
    /* Not past the time at which a task may be overdue. */
    uint64_t nap = 2 * self->task_ns;
    nap = (nap < LEAST_NAP_NS ? LEAST_NAP_NS : nap) * sleepers;
    return nap < HT_FUTEX_NAP_NS ? nap : HT_FUTEX_NAP_NS;
}

static ht_err_t sleep_until(ht_round_self_t *self, uint32_t bell, int is_resting,
                            uint64_t deadline_ns)
{
    ht_round_t *round = self->round;
    uint32_t sleepers = ht_add_seq_cst(HT_PAIR_NONE, &round->sleepers, 1u) + 1;
    int woken = 0;
    ht_err_t err = HT_OK;
    if (ht_load_seq_cst(HT_PAIR_STEP, &round->bell) == bell)
        err = ht_futex_nap(&round->bell, bell, nap_ns(self, is_resting, sleepers), deadline_ns,
                           &woken);
    if (!woken) /* else its waker has counted it out */
        ht_add_seq_cst(HT_PAIR_NONE, &round->sleepers, -1u);
    /* A worker whose nap is over only looks, and sleeps on unless it finds a task. */
    return err == HT_OK ? hear(self) : err;
}

ht_err_t ht_round_await(ht_round_self_t *self, uint32_t bell, int is_resting, uint64_t deadline_ns)
{
    ht_round_t *round = self->round;
    /* An exchange lasts longer than a wake-up, and the guest needs the core. */
    if (self->idle_ns == ASLEEP || self->phase == HT_EXCHANGE)
        return sleep_until(self, bell, is_resting, deadline_ns);
    for (int k = 0; k < SPINS; k++) {
        if (ht_round_bell(round) != bell)
            return hear(self);
        pause_core();
    }
    uint64_t now = ht_now_ns();
    if (self->idle_ns == 0)
        self->idle_ns = now;
    if (now - self->idle_ns < YIELD_NS) {
        sched_yield();
        return now < deadline_ns ? HT_OK : HT_ETIMEOUT;
    }
    self->idle_ns = ASLEEP;
    return sleep_until(self, bell, is_resting, deadline_ns);
}

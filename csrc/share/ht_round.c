/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * Tasks are functions of (parameters of the step, rows), so computing one twice is harmless.  Only
 * adding twice and copying late would do harm, and these two are fenced: the first commit of a task
 * wins and the loser adds nothing; the right to copy a block passes on only from an owner whose
 * death is confirmed, to one heir.  Every memory has one writer, and words alone change hands.
 *
 *   a commit counts   while its owner's word has the commit's step and generation, not revoked
 *   WORK is over      when every task has a commit that counts and each owner has added all of its
 *                     commits; once true, this stays true
 *
 * A word of an older step is open, so nothing is reset, and a late worker's compare-and-swap fails.
 *
 * tests/model explores every interleaving of small settings, with delays and a death anywhere; its
 * transitions have the names of the comments here.  Tried there, and wrong within a few thousand
 * states: WORK that ends at the commits alone; words without the generation; taking over the copy
 * of a living owner.  Tried here: watching all owners that do not add at once, which watched none;
 * a mean instead of the median as a worker's pace, where one stop made all later patience long.
 */
#include <string.h>

#include "share/ht_round_parts.h"

/* ---- opening ---------------------------------------------------------- */

size_t ht_round_nbytes(uint32_t n_workers, uint32_t most_tasks, uint32_t n_blocks,
                       uint32_t n_guests)
{
    return sizeof(ht_round_t) + sizeof(place_t) * (2 * (size_t)n_workers + n_guests) +
           sizeof(item_t) * ((size_t)most_tasks + n_blocks) + found_nbytes(n_workers) * n_workers;
}

ht_err_t ht_round_init(ht_round_t *round, uint32_t n_workers, uint32_t most_tasks,
                       uint32_t n_blocks, uint32_t n_guests, uint32_t n_tasks)
{
    if (n_workers < 1 || n_workers > HT_ROUND_WORKERS || most_tasks > HT_ROUND_TASKS ||
        n_tasks > most_tasks || n_guests > HT_ROUND_WORKERS)
        return HT_EINVAL;
    round->n_workers = n_workers;
    round->most_tasks = most_tasks;
    round->n_blocks = n_blocks;
    round->n_guests = n_guests;
    /* relaxed: nobody else has the round yet. */
    ht_store_relaxed(&round->phase, phase_word(1, HT_WORK, n_tasks));
    return HT_OK;
}

ht_points_t *ht_round_points(ht_round_t *round)
{
    return &round->points;
}

void ht_round_self_init(ht_round_self_t *self, ht_round_t *round, uint32_t worker,
                        ht_round_counts_t *counts)
{
    memset(self, 0, sizeof *self);
    self->round = round;
    self->worker = worker;
    self->counts = counts;
    self->found = found_of(round, worker);
}

/* ---- phases ----------------------------------------------------------- */

uint32_t ht_round_now(ht_round_t *round, ht_phase_t *phase, uint32_t *n_tasks)
{
    /* acquire, pairs with the change in change_phase: hands over the
     * parameters of the step. */
    uint64_t word = ht_load_acquire(HT_PAIR_STEP, &round->phase);
    *phase = phase_of(word);
    if (n_tasks != NULL)
        *n_tasks = tasks_of(word);
    return step_of(word);
}

uint32_t ht_round_bell(ht_round_t *round)
{
    /* acquire, pairs with the addition in ht_round_wake: hands over what the
     * waker has changed. */
    return ht_load_acquire(HT_PAIR_STEP, &round->bell);
}

void ht_round_wake(ht_round_t *round, uint32_t wanted)
{
    /* Both sequentially consistent: either the sleeper sees the new bell, or
     * we see the sleeper. */
    ht_add_seq_cst(HT_PAIR_STEP, &round->bell, 1u);
    uint32_t awake = n_awake(round);
    if (awake >= wanted || awake == round->n_workers)
        return;
    /* Counted out here: until they run, the next bell would take them for asleep. */
    uint32_t woken = ht_futex_wake_some(&round->bell, wanted - awake);
    if (woken > 0)
        ht_add_seq_cst(HT_PAIR_NONE, &round->sleepers, -woken);
}

ht_err_t ht_round_grow(ht_round_t *round, uint32_t step, uint32_t more)
{
    for (;;) {
        uint64_t seen = ht_load_acquire(HT_PAIR_STEP, &round->phase);
        if (step_of(seen) != step || phase_of(seen) != HT_WORK)
            return HT_EBUSY;
        if (more > round->most_tasks - tasks_of(seen))
            return HT_EINVAL;
        /* ends: a failed attempt means that the pool grew or the work is over. */
        if (change_phase(round, seen, phase_word(step, HT_WORK, tasks_of(seen) + more))) {
            ht_round_wake(round, ht_round_wanted(tasks_of(seen) + more));
            return HT_OK;
        }
    }
}

void ht_round_declare_dead(ht_round_t *round, uint32_t worker)
{
    ht_phase_t phase;
    /* relaxed: see is_dead. */
    ht_store_relaxed(death_at(round, worker), ht_round_now(round, &phase, NULL));
    ht_round_wake(round, HT_ROUND_WORKERS);
}

int ht_round_is_barred(const ht_round_self_t *self)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(self->round, &phase, NULL);
    /* Sequentially consistent, as in ht_round_revive: the worker then sees that it was revoked. */
    return ht_load_seq_cst(HT_PAIR_NONE, death_at(self->round, self->worker)) >= step;
}

void ht_round_revive(ht_round_t *round, uint32_t worker)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(round, &phase, NULL);
    ht_word64_t *word = worker_at(round, worker);
    uint64_t seen = ht_load_relaxed(word); /* relaxed: no worker takes part in the step */
    /* In WORK, what the dead worker has added is void: its sums are cleared.  In MERGE it counts,
     * and stays. */
    if (phase == HT_WORK && step_of(seen) == step)
        (void)ht_cas_seq_cst(HT_PAIR_NONE, word, &seen, seen | UINT64_C(1) << 31);
    uint64_t death = ht_load_relaxed(death_at(round, worker)); /* relaxed: own word */
    (void)ht_cas_seq_cst(HT_PAIR_NONE, death_at(round, worker), &death, step - 1);
    ht_round_wake(round, HT_ROUND_WORKERS);
}

void ht_round_enter(ht_round_self_t *self)
{
    ht_round_t *round = self->round;
    ht_phase_t phase;
    uint32_t step = ht_round_now(round, &phase, &self->n_tasks);
    if (step != self->step || phase != self->phase)
        self->next = 0;
    self->step = step;
    self->phase = phase;
    self->is_fresh = 0;
    if (self->phase != HT_WORK)
        return;
    ht_word64_t *word = worker_at(round, self->worker);
    /* relaxed: own word; only its mark of being revoked is another's. */
    uint64_t seen = ht_load_relaxed(word);
    /* transition: enter the step.  ends: only one revoke can intervene. */
    while (step_of(seen) != self->step || is_revoked(seen)) {
        uint32_t generation = step_of(seen) == self->step ? generation_of(seen) + 1 : 0;
        uint64_t fresh = worker_word(self->step, generation, 0, 0);
        if (!ht_cas_seq_cst(HT_PAIR_NONE, word, &seen, fresh))
            continue;
        self->generation = generation;
        self->added = 0;
        self->next = 0;
        self->is_fresh = 1;
        return;
    }
}

/* ---- work ------------------------------------------------------------- */

static int is_open(ht_round_t *round, uint64_t task, uint32_t step)
{
    if (step_of(task) != step)
        return step_of(task) < step;
    if (state_of(task) == CLAIMED)
        return is_dead(round, owner_of(task), step);
    return standing(round, task, step) == VOID;
}

ht_err_t ht_round_claim(ht_round_self_t *self, uint32_t *task)
{
    ht_round_t *round = self->round;
    uint32_t n = self->n_tasks;
    uint32_t start = (uint32_t)((uint64_t)n * self->worker / round->n_workers);
    ht_point_pass(&round->points, HT_BEFORE_CLAIM, self->worker, self->step);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t k = pass == 0 ? self->next : 0; k < n; k++) {
            uint32_t i = start + k < n ? start + k : start + k - n;
            item_t *item = task_at(round, i);
            /* acquire, pairs with the commit: its owner's word is at least as new. */
            uint64_t word = ht_load_acquire(HT_PAIR_ADDED, &item->word);
            if (is_open(round, word, self->step)) {
                uint64_t mine = item_word(self->step, CLAIMED, self->worker, self->generation);
                /* transition: claim. */
                if (!ht_cas_seq_cst(HT_PAIR_NONE, &item->word, &word, mine))
                    continue;
                note_taken(self, item, i, mine);
            } else if (pass == 0 || step_of(word) != self->step || state_of(word) != CLAIMED ||
                       !take_overdue(self, item, i, word, self->task_ns)) {
                continue;
            }
            if (pass == 0)
                self->next = k + 1;
            *task = i;
            ht_point_pass(&round->points, HT_AFTER_CLAIM, self->worker, self->step);
            return HT_OK;
        }
        self->next = n;
    }
    return HT_EEND;
}

ht_err_t ht_round_commit(ht_round_self_t *self)
{
    ht_round_t *round = self->round;
    uint64_t seen = self->held;
    uint64_t mine = item_word(self->step, COMMITTED, self->worker, self->generation);
    /* transition: commit. */
    if (!ht_cas_seq_cst(HT_PAIR_ADDED, &task_at(round, self->at)->word, &seen, mine)) {
        count(&self->counts->lost);
        return HT_EBUSY;
    }
    ht_point_pass(&round->points, HT_AFTER_COMMIT, self->worker, self->step);
    return HT_OK;
}

ht_err_t ht_round_added(ht_round_self_t *self)
{
    ht_round_t *round = self->round;
    ht_point_pass(&round->points, HT_AFTER_ADD, self->worker, self->step);
    note_pace(&self->task_ns, self->taken_ns);
    uint64_t seen = worker_word(self->step, self->generation, self->added, 0);
    uint64_t next = worker_word(self->step, self->generation, self->added + 1, 0);
    /* transition: count.  Pairs with the acquire in counts: hands over the
     * worker's accumulator. */
    if (!ht_cas_seq_cst(HT_PAIR_ADDED, worker_at(round, self->worker), &seen, next))
        return HT_EBUSY;
    self->added++;
    return HT_OK;
}

/* Revokes a worker that has had something to add for longer than the patience, or is dead. */
static void revoke(ht_round_self_t *self, uint32_t worker, uint64_t word)
{
    uint64_t now = ht_now_ns();
    uint64_t patience = 2000000 + 8 * self->task_ns;
    if (!is_dead(self->round, worker, self->step)) {
        if (self->watched != worker || self->watched_word != word) {
            self->watched = worker;
            self->watched_word = word;
            self->watched_ns = now;
            return;
        }
        if (now - self->watched_ns < patience)
            return;
    }
    if (generation_of(word) == GENERATION_MASK && !is_dead(self->round, worker, self->step))
        return; /* the generation must not come round */
    uint64_t marked = word | UINT64_C(1) << 31;
    /* transition: revoke, from exactly the word seen. */
    if (ht_cas_seq_cst(HT_PAIR_NONE, worker_at(self->round, worker), &word, marked)) {
        count(&self->counts->revoked);
        self->next = 0; /* its tasks are open again */
    }
}

static int is_committed(const ht_round_self_t *self, uint32_t task)
{
    uint64_t word = ht_load_acquire(HT_PAIR_ADDED, &task_at(self->round, task)->word);
    return step_of(word) == self->step && state_of(word) == COMMITTED;
}

/* Returns whether every task of the step has a commit that counts and was added.  It looks at all
 * tasks before any worker, and so notices a commit that has become void meanwhile. */
static int is_worked(ht_round_self_t *self)
{
    ht_round_t *round = self->round;
    ht_round_found_t *of = self->found;
    if (self->open < self->n_tasks && !is_committed(self, self->open))
        return 0; /* the task of the last look is open: many workers ask, and often */
    memset(of, 0, sizeof *of * round->n_workers);
    for (uint32_t i = 0; i < self->n_tasks; i++) {
        uint64_t task = ht_load_acquire(HT_PAIR_ADDED, &task_at(round, i)->word);
        if (step_of(task) != self->step || state_of(task) != COMMITTED) {
            self->open = i;
            return 0;
        }
        uint32_t w = owner_of(task);
        if (of[w].commits++ != 0 && of[w].generation != rest_of(task))
            return 0; /* one of the two is void */
        of[w].generation = (uint16_t)rest_of(task);
    }
    int all = 1;
    for (uint32_t w = 0; w < round->n_workers; w++) {
        if (of[w].commits == 0)
            continue;
        /* acquire, pairs with the count in ht_round_added: hands over the
         * accumulator. */
        uint64_t word = ht_load_acquire(HT_PAIR_ADDED, worker_at(round, w));
        if (step_of(word) != self->step || generation_of(word) != of[w].generation ||
            is_revoked(word)) {
            all = 0;
        } else if (added_of(word) < of[w].commits) {
            /* One at a time: the patience is for the one that is watched. */
            if (all && w != self->worker)
                revoke(self, w, word);
            all = 0;
        }
    }
    return all;
}

ht_err_t ht_round_finish_work(ht_round_self_t *self)
{
    ht_round_t *round = self->round;
    if (!is_worked(self))
        return HT_EBUSY;
    ht_point_pass(&round->points, HT_BEFORE_PHASE, self->worker, self->step);
    ht_phase_t next = round->n_guests > 0 ? HT_EXCHANGE : HT_MERGE;
    uint64_t from = phase_word(self->step, HT_WORK, self->n_tasks);
    /* transition: the end of WORK; fails when the pool grew meanwhile. */
    if (change_phase(round, from, phase_word(self->step, next, self->n_tasks))) {
        ht_point_pass(&round->points, HT_BEFORE_WAKE, self->worker, self->step);
        ht_round_wake(round, ht_round_wanted(round->n_blocks));
    }
    return HT_OK;
}

/* ---- exchange --------------------------------------------------------- */

ht_err_t ht_round_guest_added(ht_round_t *round, uint32_t guest, uint32_t step)
{
    uint64_t phase = ht_load_acquire(HT_PAIR_STEP, &round->phase);
    if (step_of(phase) != step || phase_of(phase) != HT_EXCHANGE || guest >= round->n_guests)
        return HT_EBUSY;
    uint64_t seen = ht_load_relaxed(guest_at(round, guest)); /* relaxed: own word */
    /* Pairs with the load below, and hands over the guest's sum; both sequentially
     * consistent, so that one of two guests sees the other. */
    (void)ht_cas_seq_cst(HT_PAIR_ADDED, guest_at(round, guest), &seen, step);
    for (uint32_t g = 0; g < round->n_guests; g++)
        if (ht_load_seq_cst(HT_PAIR_ADDED, guest_at(round, g)) != step)
            return HT_OK;
    if (change_phase(round, phase, phase_word(step, HT_MERGE, tasks_of(phase))))
        ht_round_wake(round, ht_round_wanted(round->n_blocks));
    return HT_OK;
}

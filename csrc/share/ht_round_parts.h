/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_round_parts: the words of a round, for ht_round.c and ht_round_merge.c only.
 *
 * Layer L5.
 */
#ifndef HT_ROUND_PARTS_H
#define HT_ROUND_PARTS_H

#include "base/ht_futex.h"
#include "share/ht_round.h"

/* A task or a block; any worker changes both words, by compare-and-swap. */
typedef struct {
    HT_ALIGNED ht_word64_t word;
    ht_word64_t taken_ns; /* CLOCK_MONOTONIC: a hint, when the item was handed out last */
} item_t;

/* A worker's, a death's or a guest's word, alone on its line. */
typedef struct {
    HT_ALIGNED ht_word64_t word;
} place_t;

/* Any worker changes phase, bell and sleepers; the supervisor bell and deaths; guest g its word.
 *
 *   step of every word <= step of phase
 *   tasks of phase <= most_tasks
 *   added of worker w <= number of tasks that w has committed in its word's step and generation
 *   in EXCHANGE and MERGE    every task of the step has a commit that counts and was added
 *   in WORK of a step > 1    every block is DONE in the step before
 *   sleepers <= n_workers    while no worker was killed
 */
struct ht_round {
    HT_ALIGNED ht_word64_t phase;
    HT_ALIGNED ht_word32_t bell;
    HT_ALIGNED ht_word32_t sleepers; /* a waker counts out those that it wakes */
    HT_ALIGNED ht_points_t points;
    HT_ALIGNED uint32_t n_workers; /* this and the next three: constant */
    uint32_t most_tasks;
    uint32_t n_blocks;
    uint32_t n_guests;
    place_t places[]; /* workers, their deaths, guests; then tasks, blocks and scratch */
};

_Static_assert(sizeof(item_t) == HT_LINE, "the layout of the segment");
_Static_assert(sizeof(place_t) == HT_LINE, "the layout of the segment");
_Static_assert(sizeof(struct ht_round) == 7 * HT_LINE, "the layout of the segment");

enum { OPEN = 0, CLAIMED = 1, COMMITTED = 2, DONE = 3 };

enum {
    TASKS_MASK = 0x3fffffff,
    OWNER_MASK = 0x3ff,
    REST_MASK = 0xfffff,
    ADDED_MASK = 0x7fff,
    GENERATION_MASK = 0xffff
};

_Static_assert(HT_ROUND_TASKS <= TASKS_MASK, "a phase's word has room for the tasks");
_Static_assert(HT_ROUND_TASKS <= ADDED_MASK, "a worker's word has room for its commits");
_Static_assert(HT_ROUND_WORKERS - 1 <= OWNER_MASK, "an item's word has room for its owner");
_Static_assert(GENERATION_MASK <= REST_MASK, "an item's word has room for the generation");
_Static_assert(GENERATION_MASK <= UINT16_MAX && HT_ROUND_TASKS <= UINT16_MAX,
               "ht_round_found_t has room for both");

/* ---- words ------------------------------------------------------------ */

/* phase: step 32, phase 2, tasks 30.  task, block: step 32, state 2, owner 10,
 * then the owner's generation 16 or the redo slot 10.  worker: step 32,
 * revoked 1, added 15, generation 16. */
HT_INLINE uint32_t step_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

HT_INLINE uint64_t phase_word(uint32_t step, ht_phase_t phase, uint32_t n_tasks)
{
    return (uint64_t)step << 32 | (uint64_t)phase << 30 | n_tasks;
}

HT_INLINE uint64_t item_word(uint32_t step, unsigned state, uint32_t owner, uint32_t rest)
{
    return (uint64_t)step << 32 | (uint64_t)state << 30 | (uint64_t)owner << 20 | rest;
}

HT_INLINE unsigned state_of(uint64_t item)
{
    return (unsigned)(item >> 30 & 3);
}

HT_INLINE uint32_t owner_of(uint64_t item)
{
    return (uint32_t)(item >> 20 & OWNER_MASK);
}

HT_INLINE uint32_t rest_of(uint64_t item)
{
    return (uint32_t)(item & REST_MASK);
}

HT_INLINE uint64_t worker_word(uint32_t step, uint32_t generation, uint32_t added, int revoked)
{
    return (uint64_t)step << 32 | (uint64_t)(revoked != 0) << 31 | (uint64_t)added << 16 |
           generation;
}

HT_INLINE uint32_t generation_of(uint64_t worker)
{
    return (uint32_t)(worker & GENERATION_MASK);
}

HT_INLINE uint32_t added_of(uint64_t worker)
{
    return (uint32_t)(worker >> 16 & ADDED_MASK);
}

HT_INLINE int is_revoked(uint64_t worker)
{
    return (int)(worker >> 31 & 1);
}

HT_INLINE ht_word64_t *worker_at(ht_round_t *round, uint32_t worker)
{
    return &round->places[worker].word;
}

/* Returns the word that holds the step in which the latest death of a place was noted; 0: none.  It
 * does not fall, except by ht_round_revive. */
HT_INLINE ht_word64_t *death_at(ht_round_t *round, uint32_t worker)
{
    return &round->places[round->n_workers + worker].word;
}

HT_INLINE ht_word64_t *guest_at(ht_round_t *round, uint32_t guest)
{
    return &round->places[2 * round->n_workers + guest].word;
}

HT_INLINE item_t *task_at(ht_round_t *round, uint32_t task)
{
    item_t *items = (item_t *)(round->places + 2 * round->n_workers + round->n_guests);
    return &items[task];
}

HT_INLINE item_t *block_at(ht_round_t *round, uint32_t block)
{
    return task_at(round, round->most_tasks + block);
}

/* Returns the bytes of a worker's scratch: whole lines, one entry for each worker. */
HT_INLINE size_t found_nbytes(uint32_t n_workers)
{
    return (sizeof(ht_round_found_t) * n_workers + HT_LINE - 1) / HT_LINE * HT_LINE;
}

HT_INLINE ht_round_found_t *found_of(ht_round_t *round, uint32_t worker)
{
    char *first = (char *)block_at(round, round->n_blocks);
    return (ht_round_found_t *)(void *)(first + found_nbytes(round->n_workers) * worker);
}

/* Returns whether what a place has claimed or committed in a step is a dead worker's.  The next
 * worker of the place takes part in later steps only. */
HT_INLINE int is_dead(ht_round_t *round, uint32_t worker, uint32_t step)
{
    /* relaxed: a death is confirmed before it is noted, and lasts for the step. */
    return ht_load_relaxed(death_at(round, worker)) >= step;
}

HT_INLINE ht_phase_t phase_of(uint64_t word)
{
    return (ht_phase_t)(word >> 30 & 3);
}

HT_INLINE uint32_t tasks_of(uint64_t word)
{
    return (uint32_t)(word & TASKS_MASK);
}

HT_INLINE int change_phase(ht_round_t *round, uint64_t from, uint64_t to)
{
    /* Pairs with the acquire in ht_round_now: hands on everything that this
     * worker has seen of the others. */
    return ht_cas_seq_cst(HT_PAIR_STEP, &round->phase, &from, to);
}

/* Returns the number of workers that do not sleep. */
HT_INLINE uint32_t n_awake(ht_round_t *round)
{
    /* Sequentially consistent: see ht_round_wake. */
    uint32_t sleepers = ht_load_seq_cst(HT_PAIR_NONE, &round->sleepers);
    /* A worker that was killed in its sleep is counted for ever. */
    return sleepers < round->n_workers ? round->n_workers - sleepers : 0;
}

HT_INLINE void count(ht_word64_t *counter)
{
    /* relaxed, both: see ht_round_counts_t. */
    ht_store_relaxed(counter, ht_load_relaxed(counter) + 1);
}

/* ---- handing out --------------------------------------------------------- */

/* What the word of a committed task's owner says of the commit. */
typedef enum { VOID, STANDS, LATER } standing_t;

HT_INLINE standing_t standing(ht_round_t *round, uint64_t task, uint32_t step)
{
    /* acquire, pairs with the count in ht_round_added. */
    uint64_t owner = ht_load_acquire(HT_PAIR_ADDED, worker_at(round, owner_of(task)));
    if (step_of(owner) > step)
        return LATER; /* the step is over, and we are late */
    if (step_of(owner) < step || generation_of(owner) != rest_of(task) || is_revoked(owner))
        return VOID;
    return STANDS;
}

/* Notes that the worker has the item in hand.
 *
 * relaxed, all accesses to taken_ns: a hint; a worker that is misled repeats work that is thrown
 * away. */
HT_INLINE void note_taken(ht_round_self_t *self, item_t *item, uint32_t at, uint64_t held)
{
    self->at = at;
    self->held = held;
    self->idle_ns = 0;
    self->taken_ns = ht_now_ns();
    ht_store_relaxed(&item->taken_ns, self->taken_ns);
}

enum { FIRST_NS = 1000000 }; /* the time of a task before one was measured */

/* Takes over an item that another worker has held for twice this worker's usual time; of several
 * workers that try at once, one does. */
HT_INLINE int take_overdue(ht_round_self_t *self, item_t *item, uint32_t at, uint64_t word,
                           uint64_t own_ns)
{
    uint64_t seen = ht_load_relaxed(&item->taken_ns);
    uint64_t now = ht_now_ns();
    uint64_t patience = 2 * (own_ns == 0 ? FIRST_NS : own_ns);
    if (now < seen + patience || !ht_cas_acquire(HT_PAIR_NONE, &item->taken_ns, &seen, now))
        return 0;
    note_taken(self, item, at, word);
    count(&self->counts->repeated);
    return 1;
}

/* Updates the worker's usual time.  It follows the median of the worker's own times, so that one
 * long stop does not make it long. */
HT_INLINE void note_pace(uint64_t *median_ns, uint64_t taken_ns)
{
    uint64_t lasted = ht_now_ns() - taken_ns;
    if (*median_ns == 0)
        *median_ns = lasted;
    else if (lasted > *median_ns)
        *median_ns += *median_ns / 16 + 1;
    else
        *median_ns -= *median_ns / 16;
}

#endif

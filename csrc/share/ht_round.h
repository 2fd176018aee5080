/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_round: a barrier that counts work, not workers.
 *
 * Layer L5.  Lives in the segment.  A step is a pool of work tasks and then a
 * pool of blocks to merge.  Nobody waits for a worker: a task that takes too
 * long is computed by another as well, and the first commit counts.  Here are
 * the words alone; what a task computes, where it adds and what a block merges
 * belongs to the caller (ht_sync).
 *
 * Words change by compare-and-swap only.  Each holds its step, and a word of
 * an older step counts as open, so nothing is reset between steps.
 *
 *   phase      step; WORK, EXCHANGE or MERGE; number of tasks
 *   task[i]    step; CLAIMED or COMMITTED; owner and the owner's generation
 *   worker[w]  step; generation; commits already added; revoked or not
 *   block[b]   step; CLAIMED, COMMITTED or DONE; owner; whose redo slot
 *   guest[g]   step in which a guest of the exchange has added its sum
 *
 * Who may call what: a worker calls everything that takes its own
 * ht_round_self_t, from one thread at a time.  The rest may be called by
 * anyone at any time.  A worker that was delayed for any time finds that its
 * next compare-and-swap fails: until then it has written to its own memory
 * only.  Copying a committed block to the parameters is never done by two.
 */
#ifndef HT_ROUND_H
#define HT_ROUND_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"
#include "share/ht_point.h"

#define HT_ROUND_WORKERS 1024 /* at most */
#define HT_ROUND_TASKS 32767  /* of a step, at most */

typedef enum { HT_WORK = 0, HT_EXCHANGE = 1, HT_MERGE = 2 } ht_phase_t;

typedef struct ht_round ht_round_t;

/* What one worker has found of another's commits; scratch, in the segment, of the one that found
 * it. */
typedef struct {
    uint16_t commits, generation;
} ht_round_found_t;

_Static_assert(sizeof(ht_round_found_t) == 4, "the layout of the segment");

/* What a worker has counted; in the segment, written by that worker alone.  Relaxed: statistics. */
typedef struct {
    ht_word64_t repeated; /* tasks and blocks taken that another had out */
    ht_word64_t lost;     /* commits that another won */
    ht_word64_t revoked;  /* workers that this one revoked */
} ht_round_counts_t;

_Static_assert(sizeof(ht_round_counts_t) == 24, "the layout of the segment");

/* What a worker knows of itself; private to it. */
typedef struct {
    ht_round_t *round;
    ht_round_counts_t *counts;
    ht_round_found_t *found; /* of each worker; scratch of finish_work, in the round's memory */
    uint32_t worker;
    uint32_t step;
    uint32_t generation;
    uint32_t n_tasks;
    ht_phase_t phase;
    int32_t is_fresh; /* set by enter: clear the accumulator before the next commit */
    uint32_t added;   /* commits added in this step and generation */
    uint32_t next;    /* tasks looked at since the step was entered */
    uint32_t open;    /* the task that last kept the work from being over */
    uint32_t at;      /* the task or block in hand */
    uint64_t held;    /* its word when it was taken */
    uint64_t taken_ns;
    uint64_t idle_ns;  /* when waiting began; 0: not waiting; 1: it has slept since */
    uint64_t task_ns;  /* about the median of the own tasks */
    uint64_t block_ns; /* and blocks */
    uint32_t watched;  /* a worker that has not added what it committed, */
    uint64_t watched_word;
    uint64_t watched_ns;
} ht_round_self_t;

size_t ht_round_nbytes(uint32_t n_workers, uint32_t most_tasks, uint32_t n_blocks,
                       uint32_t n_guests);

/* round: ht_round_nbytes, zeroed, aligned to HT_LINE.  Opens step 1 with
 * n_tasks tasks.  HT_EINVAL when a number is out of range. */
ht_err_t ht_round_init(ht_round_t *round, uint32_t n_workers, uint32_t most_tasks,
                       uint32_t n_blocks, uint32_t n_guests, uint32_t n_tasks);

ht_points_t *ht_round_points(ht_round_t *round);

/* The current step and phase; n_tasks may be NULL. */
uint32_t ht_round_now(ht_round_t *round, ht_phase_t *phase, uint32_t *n_tasks);

/* Adds `more` tasks to the open step.  HT_EBUSY when its work is over,
 * HT_EINVAL above most_tasks. */
ht_err_t ht_round_grow(ht_round_t *round, uint32_t step, uint32_t more);

/* The supervisor, once the kernel has confirmed that a worker is dead. */
void ht_round_declare_dead(ht_round_t *round, uint32_t worker);

/* Rings the bell, so that `wanted` workers are awake: something outside the round
 * has changed.  HT_ROUND_WORKERS wakes all who await. */
void ht_round_wake(ht_round_t *round, uint32_t wanted);

/* How many workers should be awake for n tasks or blocks: one for each, and one to
 * watch them. */
HT_INLINE uint32_t ht_round_wanted(uint32_t n)
{
    return n + 1;
}

/* A number that changes with every wake-up; for ht_round_await. */
uint32_t ht_round_bell(ht_round_t *round);

void ht_round_self_init(ht_round_self_t *self, ht_round_t *round, uint32_t worker,
                        ht_round_counts_t *counts);

/* Takes part in the current step, whatever its phase. */
void ht_round_enter(ht_round_self_t *self);

/* The next task in *task: an open one, else one that another has had out for
 * too long.  HT_EEND when there is none now.  Needs phase HT_WORK. */
ht_err_t ht_round_claim(ht_round_self_t *self, uint32_t *task);

/* HT_OK: the worker now adds its result, then calls ht_round_added.
 * HT_EBUSY: another was first; the result is thrown away. */
ht_err_t ht_round_commit(ht_round_self_t *self);

/* Counts the result that was added.  HT_EBUSY: the worker was revoked, what it
 * added in this step is void; enter again. */
ht_err_t ht_round_added(ht_round_self_t *self);

/* Ends the phase WORK if every task has a commit that counts and was added.
 * HT_EBUSY when it is not over (an owner who does not add is revoked when it
 * lasts too long).  In HT_OK the phase has changed; enter again. */
ht_err_t ht_round_finish_work(ht_round_self_t *self);

/* The owner of a task's commit, when it counts; needs the phase MERGE of the
 * worker's step.  UINT32_MAX when it does not. */
uint32_t ht_round_owner(const ht_round_self_t *self, uint32_t task);

/* Whether the worker's accumulator counts in self's step. */
int ht_round_accumulates(const ht_round_self_t *self, uint32_t worker);

/* The next block to merge in *block.  *redo is the worker whose redo slot holds
 * it already (an heir's case: copy it and call done), UINT32_MAX: compute it
 * into the own one and commit.  HT_EEND when there is none now. */
ht_err_t ht_round_merge_next(ht_round_self_t *self, uint32_t *block, uint32_t *redo);

/* HT_OK: the worker now copies its redo slot and then calls done.  HT_EBUSY:
 * another was first. */
ht_err_t ht_round_merge_commit(ht_round_self_t *self);
void ht_round_merge_done(ht_round_self_t *self);

/* If every block is done, whether this one may open the next step. */
int ht_round_is_merged(const ht_round_self_t *self);

/* Opens the next step with n_tasks tasks, unless another did. */
void ht_round_advance(ht_round_self_t *self, uint32_t n_tasks);

/* Waits a little, until the phase may have changed, a task may be overdue or
 * the bell is no longer `bell`: spins, yields, then sleeps.  A worker that took
 * nothing for a while and is not needed goes on sleeping when the bell rings.  The
 * more workers sleep, the longer their naps are, so that all of them together look
 * as often as one would.  is_resting: nothing but the supervisor's bell can end the
 * wait.  HT_OK or HT_EINTR: look again; HT_ETIMEOUT: the deadline passed. */
ht_err_t ht_round_await(ht_round_self_t *self, uint32_t bell, int is_resting, uint64_t deadline_ns);

/* Guests of the exchange: number 0 .. n_guests-1 has added its sum to the step.
 * HT_EBUSY when the step is not in its exchange. */
ht_err_t ht_round_guest_added(ht_round_t *round, uint32_t guest, uint32_t step);

#endif

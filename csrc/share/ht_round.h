/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_round: a barrier that counts work, not workers.
 *
 * Layer L5.  Lives in the segment.  A step is a pool of work tasks and then a
 * pool of blocks to merge.  Nobody waits for a worker: another worker computes
 * a task that takes too long as well, and the first commit counts.  Only the
 * words are here; the caller (ht_sync) computes tasks, adds results and merges
 * blocks.
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
 * A worker calls everything that takes its own ht_round_self_t, from one thread
 * at a time; anyone may make the other calls, unless a contract names the
 * caller.  A worker that wakes up too late fails its next compare-and-swap:
 * until then it has written to its own memory only.  No two workers copy a
 * committed block to the parameters.
 *
 * Which calls may run at the same time; init runs before all of them:
 *
 *                      self calls of w   guest_added(g)   declare_dead(w)   other calls
 *   self calls of w         -                 yes              (2)             yes
 *   self calls of v        yes                yes              yes             yes
 *   guest_added(g)         yes                (1)              yes             yes
 *   guest_added(h)         yes                yes              yes             yes
 *   declare_dead(w)        (2)                yes              yes             yes
 *   revive(w), orphans     (3)                yes              (3)             yes
 *   other calls            yes                yes              yes             yes
 *
 *   v, w; g, h    different workers; different guests
 *   self calls    those that take the worker's ht_round_self_t, and its ht_round_self_init
 *   other calls   _points, _now, _grow, _wake, _bell
 *   -             in turn, by one thread
 *   (1)           in turn: a guest's word has one writer
 *   (2)           after those of the dead worker; those of the place's next worker may follow
 *   (3)           while no worker takes part in the step: each is dead, or barred from it
 *
 * At the wrong time a call does no harm:
 *
 *   claim                after WORK of its step: HT_EEND
 *   commit, added, grow  after WORK of their step: HT_EBUSY
 *   guest_added          outside of its step's EXCHANGE: HT_EBUSY
 *   merge_commit         after another worker's commit of the block: HT_EBUSY
 *   advance              after another worker has opened the next step: no effect
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

/* What one worker has seen of the commits of another; scratch of the first one, in the segment. */
typedef struct {
    uint16_t commits, generation;
} ht_round_found_t;

_Static_assert(sizeof(ht_round_found_t) == 4, "the layout of the segment");

/* What a worker has counted; in the segment, written by that worker alone.  Relaxed: statistics. */
typedef struct {
    ht_word64_t repeated; /* tasks and blocks taken over from another worker */
    ht_word64_t lost;     /* commits that another worker won */
    ht_word64_t revoked;  /* workers that this one revoked */
} ht_round_counts_t;

_Static_assert(sizeof(ht_round_counts_t) == 24, "the layout of the segment");

/* What a worker knows of itself; private to it.
 *
 *   after enter in WORK: the worker's word == (step, generation, added) until it is revoked
 *   added <= commits of the worker in `step` and `generation` <= added + 1
 */
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
    uint64_t held;    /* the word of that item when it was taken */
    uint64_t taken_ns;
    uint64_t idle_ns;  /* when waiting began; 0: not waiting; 1: it has slept since */
    uint64_t task_ns;  /* about the median time of its own tasks */
    uint64_t block_ns; /* and of its own blocks */
    uint32_t
        watched; /* a worker that has not added all its commits; then its word, and since when */
    uint64_t watched_word;
    uint64_t watched_ns;
} ht_round_self_t;

/* Returns the bytes of a round. */
size_t ht_round_nbytes(uint32_t n_workers, uint32_t most_tasks, uint32_t n_blocks,
                       uint32_t n_guests);

/* Prepares a round, ht_round_nbytes, zeroed, aligned to HT_LINE, and opens step 1 with n_tasks
 * tasks.  HT_EINVAL when a number is out of range. */
ht_err_t ht_round_init(ht_round_t *round, uint32_t n_workers, uint32_t most_tasks,
                       uint32_t n_blocks, uint32_t n_guests, uint32_t n_tasks);

/* Returns the points of a round. */
ht_points_t *ht_round_points(ht_round_t *round);

/* Returns the current step, and writes its phase and number of tasks; n_tasks may be NULL. */
uint32_t ht_round_now(ht_round_t *round, ht_phase_t *phase, uint32_t *n_tasks);

/* Adds `more` tasks to the open step.  HT_EBUSY when its work is over,
 * HT_EINVAL above most_tasks. */
ht_err_t ht_round_grow(ht_round_t *round, uint32_t step, uint32_t more);

/* Notes that a worker is dead and wakes all workers: what it has claimed and committed so far is
 * open to heirs, and the place's next worker is barred from the current step.  The supervisor's,
 * once the kernel has confirmed the death. */
void ht_round_declare_dead(ht_round_t *round, uint32_t worker);

/* Returns whether the worker must not take part in the current step: its place has died in it. */
int ht_round_is_barred(const ht_round_self_t *self);

/* Lets the place's next worker take part in the current step.  The supervisor's, when all other
 * workers are dead or barred, and after the orphans are done. */
void ht_round_revive(ht_round_t *round, uint32_t worker);

/* Finds a block whose worker died between its commit and the end of its copy, and the worker whose
 * redo slot holds it; after the copy, notes that it is done.  The supervisor's, when all workers
 * are dead or barred; HT_EEND: there is none. */
ht_err_t ht_round_orphan(ht_round_t *round, uint32_t *block, uint32_t *redo);
void ht_round_orphan_done(ht_round_t *round, uint32_t block);

/* Rings the bell, and wakes sleepers until `wanted` workers are awake, after a change outside of
 * the round.  HT_ROUND_WORKERS wakes all. */
void ht_round_wake(ht_round_t *round, uint32_t wanted);

/* Returns how many workers should be awake for n tasks or blocks: one for each, and one to
 * watch them. */
HT_INLINE uint32_t ht_round_wanted(uint32_t n)
{
    return n + 1;
}

/* Returns a number that changes with every wake-up; for ht_round_await. */
uint32_t ht_round_bell(ht_round_t *round);

/* Prepares what worker number `worker` knows of itself; it is in no step yet. */
void ht_round_self_init(ht_round_self_t *self, ht_round_t *round, uint32_t worker,
                        ht_round_counts_t *counts);

/* Takes part in the current step, in any of its phases; anew if the worker was revoked. */
void ht_round_enter(ht_round_self_t *self);

/* Claims an open task, else takes over one that another worker has held for too long, and writes
 * its number to *task.  HT_EEND when there is none now.  Needs phase HT_WORK. */
ht_err_t ht_round_claim(ht_round_self_t *self, uint32_t *task);

/* Commits the task in hand.  HT_OK: the worker now adds its result, then calls ht_round_added.
 * HT_EBUSY: another worker was first; the result is thrown away. */
ht_err_t ht_round_commit(ht_round_self_t *self);

/* Counts the result that the worker has added.  HT_EBUSY: the worker was revoked, and all that it
 * has added in this step is void; enter again. */
ht_err_t ht_round_added(ht_round_self_t *self);

/* Ends the phase WORK if every task has a commit that counts and was added.  HT_OK: the phase has
 * changed; enter again.  HT_EBUSY: the work is not over.  The call revokes an owner that has
 * committed and does not add for too long. */
ht_err_t ht_round_finish_work(ht_round_self_t *self);

/* Returns the owner of a task's commit, UINT32_MAX when the commit does not count.  Needs the phase
 * MERGE of self's step. */
uint32_t ht_round_owner(const ht_round_self_t *self, uint32_t task);

/* Returns whether the worker's accumulator counts in self's step.  Needs the phase MERGE of that
 * step. */
int ht_round_accumulates(const ht_round_self_t *self, uint32_t worker);

/* Claims a block to merge, or takes one over, and writes its number to *block.  Usually *redo is
 * UINT32_MAX: compute the block into the worker's own redo slot and commit it.  For an heir *redo
 * is the worker whose redo slot holds the block already: copy that slot and call merge_done.
 * HT_EEND when there is none now.  Needs the phase MERGE. */
ht_err_t ht_round_merge_next(ht_round_self_t *self, uint32_t *block, uint32_t *redo);

/* Commits the block in hand.  HT_OK: the worker now copies its redo slot, then calls merge_done.
 * HT_EBUSY: another worker was first. */
ht_err_t ht_round_merge_commit(ht_round_self_t *self);

/* Hands over the block that the worker has copied. */
void ht_round_merge_done(ht_round_self_t *self);

/* Returns whether every block is done: then any worker may open the next step. */
int ht_round_is_merged(const ht_round_self_t *self);

/* Opens the next step with n_tasks tasks, unless another worker did.  Needs ht_round_is_merged. */
void ht_round_advance(ht_round_self_t *self, uint32_t n_tasks);

/* Waits a little, until the phase may have changed, a task may be overdue or the bell is no longer
 * `bell`: spins, yields, then sleeps; in an exchange it sleeps at once.  A worker that has found
 * nothing for a while and is not needed goes on sleeping when the bell rings.  Naps grow with the
 * number of sleepers, so that all sleepers together look as often as one would.  is_resting: only
 * the supervisor's bell can end the wait.  HT_OK or HT_EINTR: look again.  HT_ETIMEOUT: the
 * deadline passed. */
ht_err_t ht_round_await(ht_round_self_t *self, uint32_t bell, int is_resting, uint64_t deadline_ns);

/* Notes that a guest of the exchange, 0 .. n_guests-1, has added its sum to the step; the last one
 * opens the merge.  The guest's.  HT_EBUSY when the step is not in its exchange. */
ht_err_t ht_round_guest_added(ht_round_t *round, uint32_t guest, uint32_t step);

#endif

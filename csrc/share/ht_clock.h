/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_clock: the gate of bounded staleness: how many merges each worker has come to, and which
 * worker has to wait for a slower one.
 *
 * Layer L4: may include L0 to L3.  Lives in the segment.  A worker *ticks* when the work of its
 * next merge is finished, and then passes the gate:
 *
 *   work -> tick -> await (the gate) -> merge -> work
 *
 * The gate lets a worker pass while it is at most `staleness` ticks ahead of the slowest worker
 * that is *in* (Stale Synchronous Parallel, Ho et al. 2013, NIPS 26).  The slowest worker always
 * passes, so that one worker at least can go on.  A worker that rests is out, and so is a dead one:
 * they hold up nobody.
 *
 * What the gate promises, with s the staleness and P the workers:
 *
 *   - no worker works, or merges, while it is more than s ticks ahead of a worker that is in;
 *   - a worker that passes after its m-th tick sees all that every worker that is in has merged
 *     before its (m - s)-th tick;
 *   - between a worker's view and its merge, others make at most (P - 1) (2 s + 2) merges.
 *
 * It does not promise that a dead worker's successor, which takes over an old replica, has a fresh
 * view before its first merge.
 *
 * Each worker calls enter, tick, await and leave on its own place.  start is the supervisor's while
 * all workers rest, bury the supervisor's once a death is confirmed.  All calls of different places
 * may run at the same time, except start with those of the workers.
 */
#ifndef HT_CLOCK_H
#define HT_CLOCK_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

#define HT_CLOCK_OPEN UINT32_MAX /* as staleness: the gate is open */

/* A worker's place.  Written by its worker, and by the supervisor where no worker works: at rest,
 * and for a dead worker. */
typedef struct {
    HT_ALIGNED ht_word32_t word; /* ticks of this epoch, modulo 2^30, << 2 | state */
} ht_clock_place_t;

typedef struct {
    HT_ALIGNED uint32_t n_workers; /* constant */
    uint32_t staleness;            /* constant; HT_CLOCK_OPEN: nobody waits */
    ht_clock_place_t places[];     /* n_workers */
} ht_clock_t;

_Static_assert(sizeof(ht_clock_place_t) == HT_LINE, "the layout of the segment");
_Static_assert(sizeof(ht_clock_t) == HT_LINE, "the layout of the segment");

/* Returns the bytes of a clock. */
size_t ht_clock_nbytes(uint32_t n_workers);

/* Prepares a clock: ht_clock_nbytes, zeroed, aligned to HT_LINE.  All workers are out. */
void ht_clock_init(ht_clock_t *clock, uint32_t n_workers, uint32_t staleness);

/* Takes every worker in that is not dead, with no ticks. */
void ht_clock_start(ht_clock_t *clock);

/* Makes the worker go on in its place.  Usually it is in.  The next worker of a dead one's place
 * comes in with the dead one's ticks, or with those of the slowest worker that is in, whichever are
 * more: nobody waits for what was missed meanwhile. */
void ht_clock_enter(ht_clock_t *clock, uint32_t worker);

/* Counts one more merge, whose work is finished. */
void ht_clock_tick(ht_clock_t *clock, uint32_t worker);

/* Waits until the gate lets the worker pass, not past deadline_ns (absolute, ht_now_ns's clock).
 * HT_OK: it passes, and *lead is how many ticks it is ahead of the slowest worker that is in.
 * HT_EINTR: a nap or a signal ended the wait, look for a call to stop and call again.
 * HT_ETIMEOUT: the deadline passed. */
ht_err_t ht_clock_await(ht_clock_t *clock, uint32_t worker, uint64_t deadline_ns, uint32_t *lead);

/* Takes the worker out: it rests, or goes. */
void ht_clock_leave(ht_clock_t *clock, uint32_t worker);

/* Takes a dead worker out; its ticks stay, for the next worker of the place. */
void ht_clock_bury(ht_clock_t *clock, uint32_t worker);

/* Returns the ticks of a worker in this epoch, as far as can be seen now. */
uint32_t ht_clock_ticks(ht_clock_t *clock, uint32_t worker);

#endif

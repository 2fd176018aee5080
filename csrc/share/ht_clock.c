/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * What "ahead" means.  A worker ticks when it comes to the gate, before its merge, and not after
 * it: counted afterwards, nobody could be first with a staleness of 0.  So with 0 all workers come
 * to the gate, and then all merge.  The result of a worker that waits stays in its replica, and it
 * merges, and sees the others' changes, right before it works on: its view is as fresh as can be.
 *
 * A merge has several blocks, which are exchanged one at a time.  A worker counts one merge for all
 * of them, and takes a busy block up again until every block is exchanged (ht_worker_merge.c).  A
 * block that is left to the next merge, as Hybrid leaves it, would be older than the clock says.
 *
 * A worker that dies between its tick and its merge has counted a merge that its successor makes,
 * and counts again: ticks may be ahead of merges, which only makes the gate narrower.
 *
 * A place is one word, so that a worker that looks at it sees ticks and state of one moment.  A
 * waiter sleeps on the word of the slowest worker, which its own worker changes and wakes: no word
 * has two writers at a time.  A death changes the word as well; a wake-up that is lost with its
 * waker costs a nap.
 *
 * Why the slowest may be looked up without a lock: ticks only grow while a worker is in, so the
 * least of them can be behind what it is now, never ahead.  The exception is a worker that comes in
 * after a death, behind the others: they wait from their next tick on.  It comes in first and then
 * looks for the slowest, so that the others do not run on in between.
 *
 * Tests: tests/c/test_clock.c, with the order HT_PAIR_CLOCK; test_clock_stream.c.
 */
#include "share/ht_clock.h"

#include "base/ht_futex.h"

enum { OUT = 0, IN = 1, DEAD = 2, STATE_MASK = 3, TICK = 4 };

static uint32_t state_of(uint32_t word)
{
    return word & STATE_MASK;
}

/* Returns how many ticks a is ahead of b; negative: behind. */
static int32_t difference(uint32_t a, uint32_t b)
{
    return (int32_t)((a & ~(uint32_t)STATE_MASK) - (b & ~(uint32_t)STATE_MASK)) / TICK;
}

size_t ht_clock_nbytes(uint32_t n_workers)
{
    return sizeof(ht_clock_t) + n_workers * sizeof(ht_clock_place_t);
}

void ht_clock_init(ht_clock_t *clock, uint32_t n_workers, uint32_t staleness)
{
    clock->n_workers = n_workers;
    clock->staleness = staleness;
}

/* Writes the worker's word, and wakes those that wait for it. */
static void set(ht_clock_t *clock, uint32_t worker, uint32_t word)
{
    ht_word32_t *mine = &clock->places[worker].word;
    /* release, pairs with the acquire in slowest: hands over the merges before it. */
    ht_store_release(HT_PAIR_CLOCK, mine, word);
    if (clock->staleness != HT_CLOCK_OPEN && clock->n_workers > 1)
        ht_futex_wake(mine);
}

/* Finds the word of the slowest worker that is in, beside this one; NULL: there is none. */
static ht_word32_t *slowest(ht_clock_t *clock, uint32_t worker, uint32_t *word)
{
    ht_word32_t *found = NULL;
    for (uint32_t w = 0; w < clock->n_workers; w++) {
        if (w == worker)
            continue;
        /* acquire, pairs with the release in set: a worker that passes the gate sees the merges
         * that were counted before. */
        uint32_t seen = ht_load_acquire(HT_PAIR_CLOCK, &clock->places[w].word);
        if (state_of(seen) == IN && (found == NULL || difference(seen, *word) < 0)) {
            found = &clock->places[w].word;
            *word = seen;
        }
    }
    return found;
}

void ht_clock_start(ht_clock_t *clock)
{
    for (uint32_t w = 0; w < clock->n_workers; w++) {
        ht_word32_t *word = &clock->places[w].word;
        /* relaxed: handed over by the start of the epoch.  The compare-and-swap fails where another
         * thread of the supervisor has just buried the worker. */
        uint32_t seen = ht_load_relaxed(word);
        if (state_of(seen) != DEAD)
            (void)ht_cas_acquire(HT_PAIR_NONE, word, &seen, IN);
    }
}

void ht_clock_enter(ht_clock_t *clock, uint32_t worker)
{
    uint32_t mine = ht_load_relaxed(&clock->places[worker].word); /* relaxed: own word */
    if (state_of(mine) == IN)
        return;
    mine = (mine & ~(uint32_t)STATE_MASK) | IN;
    set(clock, worker, mine);
    uint32_t least;
    if (slowest(clock, worker, &least) != NULL && difference(least, mine) > 0)
        set(clock, worker, least);
}

void ht_clock_tick(ht_clock_t *clock, uint32_t worker)
{
    uint32_t mine = ht_load_relaxed(&clock->places[worker].word); /* relaxed: own word */
    set(clock, worker, mine + TICK);
}

ht_err_t ht_clock_await(ht_clock_t *clock, uint32_t worker, uint64_t deadline_ns, uint32_t *lead)
{
    uint32_t mine = ht_load_relaxed(&clock->places[worker].word); /* relaxed: own word */
    for (;;) {
        uint32_t least = 0;
        ht_word32_t *awaited = slowest(clock, worker, &least);
        int32_t ahead = awaited == NULL ? 0 : difference(mine, least);
        *lead = ahead > 0 ? (uint32_t)ahead : 0;
        if (*lead <= clock->staleness)
            return HT_OK;
        ht_err_t err = ht_futex_wait(awaited, least, deadline_ns);
        if (err != HT_OK)
            return err;
    }
}

void ht_clock_leave(ht_clock_t *clock, uint32_t worker)
{
    uint32_t mine = ht_load_relaxed(&clock->places[worker].word); /* relaxed: own word */
    set(clock, worker, (mine & ~(uint32_t)STATE_MASK) | OUT);
}

void ht_clock_bury(ht_clock_t *clock, uint32_t worker)
{
    /* relaxed: of a dead worker; ht_clock_start gives way. */
    uint32_t its = ht_load_relaxed(&clock->places[worker].word);
    set(clock, worker, (its & ~(uint32_t)STATE_MASK) | DEAD);
}

uint32_t ht_clock_ticks(ht_clock_t *clock, uint32_t worker)
{
    /* relaxed: a statistic. */
    return ht_load_relaxed(&clock->places[worker].word) / TICK;
}

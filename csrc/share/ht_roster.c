/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * Every word has one writer, but for the bits of `stop`: the supervisor raises the epoch, a worker
 * writes the number of the epoch that it has ended to its own place.  A counter of the workers at
 * rest was tried: one death made the supervisor wait for ever, and a worker that rested twice stood
 * for two.  With a word each, the supervisor waits for one place after the other.  A worker finds
 * in its place the last epoch that it has ended, so that it can go on in another handle.
 *
 * Workers at rest sleep on the bell, not on the epoch: a call to leave does not change the epoch,
 * and they would notice it only at the end of a nap.  A worker reads the bell before it looks at
 * epoch and stop: a change after the look has rung the bell again, and the futex does not sleep.
 * So no call is lost, and naps at rest may be long.
 *
 * A death during an epoch is not found here: the supervisor's wait has a deadline.  Tests:
 * tests/c/test_roster.c, with the orders HT_PAIR_EPOCH and HT_PAIR_REST.
 */
#include "share/ht_roster.h"

#include "base/ht_futex.h"

void ht_staleness_add(ht_staleness_t *staleness, uint64_t rows)
{
    unsigned bucket = rows == 0 ? 0 : 64u - (unsigned)__builtin_clzll(rows);
    if (bucket >= HT_STALENESS_BUCKETS)
        bucket = HT_STALENESS_BUCKETS - 1;
    staleness->counts[bucket]++;
    staleness->total += rows;
    if (rows > staleness->largest)
        staleness->largest = rows;
}

size_t ht_roster_nbytes(uint32_t n_workers)
{
    return sizeof(ht_roster_t) + n_workers * sizeof(ht_worker_t);
}

ht_err_t ht_roster_init(ht_roster_t *roster, uint32_t n_workers)
{
    if (n_workers < 1 || n_workers > HT_MAX_WORKERS)
        return HT_EINVAL;
    roster->n_workers = n_workers;
    return HT_OK;
}

/* Wakes the workers at rest. */
static void ring(ht_roster_t *roster)
{
    /* release, pairs with the acquire in ht_roster_await_epoch: hands over what
     * the supervisor has changed. */
    ht_add_release(HT_PAIR_EPOCH, &roster->bell, 1u);
    ht_futex_wake(&roster->bell);
}

void ht_roster_start(ht_roster_t *roster)
{
    /* relaxed: the workers rest, and see it after the release below. */
    ht_store_relaxed(&roster->stop, 0u);
    /* release, pairs with the acquire in ht_roster_await_epoch: hands over
     * feed, schedule and parameters as the supervisor left them. */
    ht_add_release(HT_PAIR_EPOCH, &roster->epoch, 1u);
    ring(roster);
}

ht_err_t ht_roster_await_rest(ht_roster_t *roster, uint64_t deadline_ns)
{
    /* relaxed: own word. */
    uint32_t epoch = ht_load_relaxed(&roster->epoch);
    for (uint32_t w = 0; w < roster->n_workers; w++) {
        ht_word32_t *rested = &roster->workers[w].rested;
        uint32_t seen;
        /* acquire, pairs with the release in ht_roster_rest: hands over the worker's entry, its
         * replica and the shared parameters.  A worker that rests stays at rest: it need not be
         * looked at again. */
        while ((seen = ht_load_acquire(HT_PAIR_REST, rested)) != epoch) {
            /* relaxed: what the supervisor itself has written; it may have another thread. */
            if (ht_load_relaxed(&roster->workers[w].gone) != 0)
                break;
            ht_err_t err = ht_futex_wait(rested, seen, deadline_ns);
            if (err != HT_OK)
                return err;
        }
    }
    return HT_OK;
}

void ht_roster_stop(ht_roster_t *roster, uint32_t how)
{
    /* relaxed: a request without data; a worker that sees it late works on. */
    ht_or_relaxed(&roster->stop, how);
    if (how & HT_LEAVE)
        ring(roster);
}

int ht_roster_stopping(ht_roster_t *roster)
{
    /* relaxed: see ht_roster_stop. */
    return ht_load_relaxed(&roster->stop) != 0;
}

int ht_roster_leaving(ht_roster_t *roster)
{
    /* relaxed: see ht_roster_stop. */
    return (ht_load_relaxed(&roster->stop) & HT_LEAVE) != 0;
}

ht_err_t ht_roster_await_epoch(ht_roster_t *roster, uint32_t worker)
{
    /* relaxed: own word. */
    uint32_t ended = ht_load_relaxed(&roster->workers[worker].rested);
    for (;;) {
        /* acquire, pairs with the release in ring.  Before the looks: a change after
         * them rings the bell once more, and no call is lost. */
        uint32_t bell = ht_load_acquire(HT_PAIR_EPOCH, &roster->bell);
        /* acquire, pairs with the release in ht_roster_start. */
        if (ht_load_acquire(HT_PAIR_EPOCH, &roster->epoch) != ended)
            return HT_OK;
        if (ht_roster_leaving(roster))
            return HT_ESTOPPED;
        uint64_t nap = ht_futex_rest_ns(roster->n_workers);
        ht_err_t err = ht_futex_nap(&roster->bell, bell, nap, UINT64_MAX, NULL);
        if (err != HT_OK)
            return err;
    }
}

void ht_roster_rest(ht_roster_t *roster, uint32_t worker)
{
    ht_word32_t *rested = &roster->workers[worker].rested;
    /* relaxed: cannot go stale: the next epoch starts when this worker rests. */
    uint32_t epoch = ht_load_relaxed(&roster->epoch);
    /* release, pairs with the acquire in ht_roster_await_rest. */
    ht_store_release(HT_PAIR_REST, rested, epoch);
    ht_futex_wake(rested); /* the supervisor may wait for this worker */
}

void ht_roster_abandon(ht_roster_t *roster, uint32_t worker)
{
    ht_store_relaxed(&roster->workers[worker].gone, 1u); /* relaxed: see ht_roster_await_rest */
    ht_roster_rest(roster, worker);
}

uint64_t ht_worker_rows(ht_worker_t *worker)
{
    /* relaxed: a statistic. */
    return ht_load_relaxed(&worker->rows_done);
}

uint64_t ht_roster_rows_of_others(ht_roster_t *roster, uint32_t worker)
{
    uint64_t rows = 0;
    for (uint32_t w = 0; w < roster->n_workers; w++)
        if (w != worker)
            rows += ht_worker_rows(&roster->workers[w]);
    return rows;
}

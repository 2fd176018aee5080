/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * One log for all workers, with a ticket for each entry, would be in a total order as it stands.
 * But its line would travel between the cores with each exchange.  The sequence that a block has in
 * any case orders the workers' own logs: an exchange comes after that of the sequence before.
 *
 * Entries before the commit, not after it, so that an heir need not look for the last entry: what
 * is committed is entered, and of what is not, the heir says so.
 *
 * Tests: tests/c/test_log.c, with the order HT_PAIR_LOG; test_replay.c.
 */
#include "share/ht_log.h"

#include "base/ht_futex.h"

enum { LEAST = 1 << 16 }; /* entries: a twentieth of a second of the fastest exchanges */

uint32_t ht_log_capacity(int64_t n_blocks)
{
    uint32_t capacity = LEAST;
    while (capacity / 2 < ht_log_stretch(n_blocks))
        capacity *= 2;
    return capacity;
}

size_t ht_log_nbytes(uint32_t capacity)
{
    return sizeof(ht_log_t) + sizeof(uint64_t) * capacity;
}

void ht_log_init(ht_log_t *log, uint32_t capacity)
{
    log->capacity = capacity;
}

/* Returns the entries for which there is room. */
static uint32_t room(ht_log_t *log)
{
    uint32_t count = ht_load_relaxed(&log->count); /* relaxed: own word */
    /* acquire, pairs with the release in ht_log_drain: the entries there were copied. */
    return log->capacity - (count - ht_load_acquire(HT_PAIR_LOG, &log->drained));
}

void ht_log_add(ht_log_t *log, uint64_t entry)
{
    if (room(log) == 0) {
        ht_add_relaxed(&log->lost, 1u);
        return;
    }
    uint32_t count = ht_load_relaxed(&log->count); /* relaxed: own word */
    log->entries[count & (log->capacity - 1)] = entry;
    /* release, pairs with the acquire in ht_log_drain: hands over the entry. */
    ht_store_release(HT_PAIR_LOG, &log->count, count + 1);
}

ht_err_t ht_log_await_room(ht_log_t *log, uint32_t n)
{
    /* relaxed: room decides. */
    uint32_t drained = ht_load_relaxed(&log->drained);
    if (room(log) >= n)
        return HT_OK;
    (void)ht_futex_nap(&log->drained, drained, HT_FUTEX_NAP_NS, UINT64_MAX, NULL);
    return HT_EINTR;
}

uint32_t ht_log_drain(ht_log_t *log, uint64_t *entries)
{
    uint32_t drained = ht_load_relaxed(&log->drained); /* relaxed: own word */
    /* acquire, pairs with the release in ht_log_add. */
    uint32_t n = ht_load_acquire(HT_PAIR_LOG, &log->count) - drained;
    for (uint32_t k = 0; k < n; k++)
        entries[k] = log->entries[(drained + k) & (log->capacity - 1)];
    if (n == 0)
        return 0;
    /* release, pairs with the acquire in room: gives the places back. */
    ht_store_release(HT_PAIR_LOG, &log->drained, drained + n);
    ht_futex_wake(&log->drained);
    return n;
}

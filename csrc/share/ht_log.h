/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_log: what a worker of a recorded stream has done, in order: 8 bytes for each deed.
 *
 * Layer L4: may include L0 to L3.  Lives in the segment, one for each place.  The worker of the
 * place enters; after its confirmed death its heir does.  One thread of the supervisor at a time
 * drains.  Both may do so at the same time.
 *
 *   worker    enter ----> [ entries, a ring ] ----> drain    supervisor
 *
 * An exchange is entered while its block is locked, before the commit.  So a block that a dead
 * worker has committed is in its log, and of one that it holds locked the heir enters HT_LOG_FREED.
 * Each release of a block is in some log: the sequences of a block have no gap.
 *
 * The ring does not grow.  A worker looks for room before it begins what it cannot interrupt; an
 * entry for which there is no room is counted as lost, and the recording has failed.
 */
#ifndef HT_LOG_H
#define HT_LOG_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

/* What an entry says: kind, a detail below HT_LOG_DETAILS, and a number of 32 bits. */
typedef enum {
    HT_LOG_BEGUN = 1, /* a worker of the place begins the epoch, or goes on with it */
    HT_LOG_CHUNK,     /* detail: row of the chunk to begin with; number: its position */
    HT_LOG_PASS,      /* a pass of exchanges; detail: 1, or 0 when the worker is called to stop
                       * instead; number: rows of the chunk that are finished, 0 without one */
    HT_LOG_EXCHANGE,  /* detail: block; number: its sequence.  This and the next two */
    HT_LOG_REFRESH,
    HT_LOG_FREED,  /* the exchange or refresh before it, if it has the same number, was not made */
    HT_LOG_RESTED, /* the worker has no chunk in hand, and hands in what is left */
    HT_LOG_DIED    /* entered by a reader of the logs; number: of the place's snapshot */
} ht_log_kind_t;

#define HT_LOG_DETAILS (UINT32_C(1) << 28)

/* The ring.
 *
 *   count - drained <= capacity, modulo 2^32    entry k stands at k % capacity
 */
typedef struct {
    HT_ALIGNED ht_word32_t count;   /* of all entries; by the worker */
    ht_word32_t lost;               /* entries without room; by the worker; relaxed: a statistic */
    HT_ALIGNED ht_word32_t drained; /* of these; by the supervisor */
    HT_ALIGNED uint32_t capacity;   /* a power of two; constant */
    HT_ALIGNED uint64_t entries[];  /* capacity */
} ht_log_t;

_Static_assert(sizeof(ht_log_t) == 3 * HT_LINE, "the layout of the segment");

HT_INLINE uint64_t ht_log_entry(ht_log_kind_t kind, uint32_t detail, uint32_t number)
{
    return (uint64_t)kind << 60 | (uint64_t)detail << 32 | number;
}

HT_INLINE uint32_t ht_log_kind(uint64_t entry)
{
    return (uint32_t)(entry >> 60);
}

HT_INLINE uint32_t ht_log_detail(uint64_t entry)
{
    return (uint32_t)(entry >> 32) & (HT_LOG_DETAILS - 1);
}

/* Returns the entries that a worker may make between two looks for room, its heir's included. */
HT_INLINE uint32_t ht_log_stretch(int64_t n_blocks)
{
    return 4 * ((uint32_t)n_blocks + 2);
}

/* Returns the entries of a ring, for exchanges of n_blocks < HT_LOG_DETAILS. */
uint32_t ht_log_capacity(int64_t n_blocks);

/* Returns the bytes of a log. */
size_t ht_log_nbytes(uint32_t capacity);

/* Prepares a zeroed log. */
void ht_log_init(ht_log_t *log, uint32_t capacity);

/* Adds an entry.  The worker's, or its heir's. */
void ht_log_add(ht_log_t *log, uint64_t entry);

/* Adds an entry where the run is recorded: log is not NULL. */
HT_INLINE void ht_log_enter(ht_log_t *log, ht_log_kind_t kind, uint32_t detail, uint32_t number)
{
    if (log != NULL)
        ht_log_add(log, ht_log_entry(kind, detail, number));
}

/* Waits a nap for room for `n` entries, where there is none.  HT_OK, or HT_EINTR: call again.  The
 * worker's. */
ht_err_t ht_log_await_room(ht_log_t *log, uint32_t n);

/* Copies the entries that were not drained, at most `capacity`; returns how many.  The
 * supervisor's. */
uint32_t ht_log_drain(ht_log_t *log, uint64_t *entries);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_roster: the workers of a run: in which epoch each is, how far, and how it went.
 *
 * Layer L4.  Lives in the segment.  The supervisor (the thread that called
 * train) starts epochs, awaits rest and asks to stop; each worker writes its
 * own ht_worker_t alone.  rows_done of any worker may be read at any time and
 * may be stale; the supervisor reads the other fields while the worker rests.
 *
 * Which calls may run at the same time; init runs before all of them:
 *
 *                  start  await_rest  stop  await_epoch  rest  rows  fields
 *   start           -        -        (1)       yes       (2)   yes    -
 *   await_rest      -        -        yes       yes       yes   yes    -
 *   stop           (1)      yes       yes       yes       yes   yes   yes
 *   await_epoch    yes      yes       yes       (3)       (3)   yes   yes
 *   rest           (2)      yes       yes       (3)       (3)   yes   (2)
 *   rows           yes      yes       yes       yes       yes   yes   yes
 *   fields          -        -        yes       yes       (2)   yes    -
 *
 *   rows    ht_worker_rows, ht_roster_rows_of_others, _stopping, _leaving
 *   fields  the supervisor reads what a worker has written
 *   -       both are the supervisor's, one after the other
 *   (1)     allowed, but start may discard the request
 *   (2)     after it: rest, then await_rest has returned HT_OK, then start or reading fields
 *   (3)     of different workers; one worker calls them in turn
 */
#ifndef HT_ROSTER_H
#define HT_ROSTER_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"
#include "share/ht_point.h"

#define HT_MAX_WORKERS 1024

/* A histogram of staleness in rows: bucket 0 counts zeros, bucket k values in
 * 2^(k-1) .. 2^k - 1, the last bucket all larger values as well.
 *
 *   largest <= total <= largest * sum of counts
 */
#define HT_STALENESS_BUCKETS 48
typedef struct {
    uint64_t counts[HT_STALENESS_BUCKETS];
    uint64_t total; /* sum of the values */
    uint64_t largest;
} ht_staleness_t;

/* Adds one observation. */
void ht_staleness_add(ht_staleness_t *staleness, uint64_t rows);

#define HT_SAMPLE_PERIOD 1000

/* The place of a worker; written by that worker alone.
 *
 *   rested <= began <= roster.epoch   rested == epoch: the worker is at rest; else it works or has
 *                                     not begun to
 *   trained <= rows_done     rows of one epoch, and of all
 *   sum of merged.counts == hot blocks that the worker has exchanged in the open epoch
 */
typedef struct {
    HT_ALIGNED ht_word64_t rows_done; /* rows of all epochs whose step is finished */
    ht_word64_t progress; /* in the chunk in hand: see ht_progress; relaxed: for the next worker of
                           * the place */
    ht_word32_t began;  /* the last epoch that a worker of the place has begun; relaxed as progress
                         */
    ht_word32_t gone;   /* 1: no worker will come to this place again; by the supervisor */
    uint32_t repeated;  /* rows of this epoch that were in hand when a worker of the place died */
    ht_word32_t slowed; /* the delay of its chunks, in thousandths of their time; by the supervisor;
                         * relaxed: may be seen at any time */
    HT_ALIGNED ht_word32_t rested; /* 0 .. epoch: the last epoch that the worker has ended */
    uint32_t every;                /* rows between exchanges, as chosen last; 0: not yet */
    int32_t outcome;               /* ht_err_t of the epoch */
    float rate;           /* of the chunk in hand: ht_optimizer_rate times the second derivative
                           * of the loss; relaxed: read by the heir of a dead worker */
    uint64_t trained;     /* rows of this epoch: each was trained exactly once */
    uint64_t exchanges;   /* of all epochs: passes over the hot blocks */
    uint64_t skipped;     /* of all epochs: hot blocks that were busy, left to the next pass */
    uint64_t compute_ns;  /* of all epochs */
    uint64_t exchange_ns; /* of all epochs */
    uint64_t wait_ns;     /* of all epochs: from the worker's rest to its next epoch, and at the
                           * gate */
    uint64_t rested_at_ns;
    double loss;   /* sum of the weighted losses of this epoch's rows, each before its step */
    double bad_lr; /* learning rate at the chunk whose loss was not finite */
    uint32_t lead; /* of all epochs: the most ticks of the clock that the worker was ahead
                    * of the slowest one when the gate let it pass */
    float pace;    /* as rate, also where changes add up; read by the supervisor at rest */
    /* Of the open epoch; zeroed by the supervisor, at rest. */
    ht_staleness_t merged;  /* exact, one observation per exchanged hot block */
    ht_staleness_t sampled; /* in place, one row in HT_SAMPLE_PERIOD */
} ht_worker_t;

/* The words of a run.
 *
 *   epoch == number of calls of ht_roster_start
 *   an epoch is open while some worker's rested < epoch
 */
typedef struct {
    HT_ALIGNED ht_word32_t epoch;  /* 1, 2, ...; raised by the supervisor; 0: none was opened */
    HT_ALIGNED ht_word32_t bell;   /* raised by the supervisor: look at epoch and stop again */
    HT_ALIGNED ht_word32_t stop;   /* bits of HT_STOP_EPOCH (anyone) and HT_LEAVE (supervisor) */
    HT_ALIGNED uint32_t n_workers; /* 1 .. HT_MAX_WORKERS; constant */
    ht_points_t points;
    ht_worker_t workers[]; /* n_workers entries */
} ht_roster_t;

_Static_assert(sizeof(ht_staleness_t) == 400, "the layout of the segment");
_Static_assert(sizeof(ht_worker_t) == 8 * HT_LINE, "the layout of the segment");
_Static_assert(sizeof(ht_roster_t) == 7 * HT_LINE, "the layout of the segment");

/* Returns the word of a worker that has finished `rows` rows (0 .. 512) of a chunk of an epoch. The
 * lowest bits of the epoch will do: the chunk's own word says that it is of the open one. */
HT_INLINE uint64_t ht_progress(uint32_t epoch, uint64_t position, uint32_t rows)
{
    return (uint64_t)(epoch & 0xffff) << 48 | position << 16 | rows;
}

enum { HT_STOP_EPOCH = 1, HT_LEAVE = 2 };

/* Returns the bytes of a roster. */
size_t ht_roster_nbytes(uint32_t n_workers);

/* Prepares a roster: ht_roster_nbytes, zeroed, aligned to HT_LINE.  HT_EINVAL unless
 * 1 <= n_workers <= HT_MAX_WORKERS. */
ht_err_t ht_roster_init(ht_roster_t *roster, uint32_t n_workers);

/* Starts the next epoch and wakes the workers.  The supervisor's, while all workers rest. */
void ht_roster_start(ht_roster_t *roster);

/* Waits until all workers rest, not past deadline_ns (absolute, ht_now_ns's clock).  The
 * supervisor's.  HT_OK, HT_EINTR (call again) or HT_ETIMEOUT. */
ht_err_t ht_roster_await_rest(ht_roster_t *roster, uint64_t deadline_ns);

/* Asks the workers to end the epoch early (HT_STOP_EPOCH; anyone may ask) or to leave for good
 * (HT_LEAVE; the supervisor's).  They notice within a chunk of rows.  One request does not cancel
 * the other. */
void ht_roster_stop(ht_roster_t *roster, uint32_t how);

/* Returns whether an early end of the epoch, or leaving, was asked for. */
int ht_roster_stopping(ht_roster_t *roster);

/* Returns whether the supervisor has asked the workers to leave. */
int ht_roster_leaving(ht_roster_t *roster);

/* Waits for an epoch after the last one that the worker has ended.  The worker's, at rest.  HT_OK,
 * HT_EINTR (call again) or HT_ESTOPPED (leave). */
ht_err_t ht_roster_await_epoch(ht_roster_t *roster, uint32_t worker);

/* Hands in the worker's results of the open epoch: the worker is at rest.  The worker's. */
void ht_roster_rest(ht_roster_t *roster, uint32_t worker);

/* Rests in the place of a dead worker, in this epoch and in all later ones.  The supervisor's, at
 * any time. */
void ht_roster_abandon(ht_roster_t *roster, uint32_t worker);

/* Returns the rows that a worker has finished, as far as can be seen now. */
uint64_t ht_worker_rows(ht_worker_t *worker);

/* Returns the rows that all workers but this one have finished, as far as it can see now. */
uint64_t ht_roster_rows_of_others(ht_roster_t *roster, uint32_t worker);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_roster: who works, in which epoch, how far, and how it went.
 *
 * Layer L4.  Lives in the segment.  The supervisor (the thread that called
 * train) starts epochs, awaits rest and asks to stop; each worker writes its
 * own ht_worker_t alone.  Reading another worker's rows_done is allowed at any
 * time and may be stale; the rest of an entry is read by the supervisor while
 * the worker rests.
 */
#ifndef HT_ROSTER_H
#define HT_ROSTER_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"
#include "share/ht_point.h"

#define HT_MAX_WORKERS 1024

/* A histogram of staleness in rows: bucket 0 counts zeros, bucket k values in
 * 2^(k-1) .. 2^k - 1. */
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
 *   rested == roster.epoch   the worker is at rest, else it works or has not begun to
 *   trained <= rows_done     rows of one epoch, and of all
 */
typedef struct {
    HT_ALIGNED ht_word64_t rows_done; /* rows of all epochs whose step is finished */
    HT_ALIGNED ht_word32_t rested;    /* 0 .. epoch: the last one that the worker has ended */
    uint32_t every;                   /* rows between exchanges, as chosen last; 0: not yet */
    int32_t outcome;                  /* ht_err_t of the epoch */
    float rate;           /* what a coordinate relaxes at in the chunk in hand; relaxed: for the
                           * heir of a dead worker */
    uint64_t trained;     /* rows of this epoch: they entered exactly once */
    uint64_t exchanges;   /* of all epochs: passes over the hot blocks */
    uint64_t skipped;     /* of all epochs: hot blocks left to the next pass, busy */
    uint64_t compute_ns;  /* of all epochs */
    uint64_t exchange_ns; /* of all epochs */
    uint64_t wait_ns;     /* of all epochs: from its own rest to the start of the next one */
    uint64_t rested_at_ns;
    double loss;   /* sum of the weighted losses of this epoch's rows, each before its step */
    double bad_lr; /* learning rate at the chunk whose loss was not finite */
    ht_staleness_t merged;  /* exact, one observation per exchanged hot block */
    ht_staleness_t sampled; /* in place, one row in HT_SAMPLE_PERIOD */
} ht_worker_t;

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
_Static_assert(sizeof(ht_roster_t) == 6 * HT_LINE, "the layout of the segment");

enum { HT_STOP_EPOCH = 1, HT_LEAVE = 2 };

/* Bytes of a roster. */
size_t ht_roster_nbytes(uint32_t n_workers);

/* roster: ht_roster_nbytes, zeroed, aligned to HT_LINE.  HT_EINVAL unless
 * 1 <= n_workers <= HT_MAX_WORKERS. */
ht_err_t ht_roster_init(ht_roster_t *roster, uint32_t n_workers);

/* Supervisor: starts the next epoch and wakes the workers.  All must rest. */
void ht_roster_start(ht_roster_t *roster);

/* Supervisor: waits until all workers rest.  HT_OK, HT_EINTR (call again) or
 * HT_ETIMEOUT. */
ht_err_t ht_roster_await_rest(ht_roster_t *roster, uint64_t deadline_ns);

/* Asks the workers to end the epoch early (HT_STOP_EPOCH; a worker may ask, too)
 * or to leave for good (HT_LEAVE; supervisor).  They notice within a chunk of
 * rows.  One request does not cancel the other. */
void ht_roster_stop(ht_roster_t *roster, uint32_t how);

/* Any worker: has somebody asked for an early end? */
int ht_roster_stopping(ht_roster_t *roster);

/* Any worker: has the supervisor asked to leave? */
int ht_roster_leaving(ht_roster_t *roster);

/* Worker at rest: waits for an epoch after the one that it has ended last.  HT_OK, HT_EINTR (call
 * again) or HT_ESTOPPED (leave). */
ht_err_t ht_roster_await_epoch(ht_roster_t *roster, uint32_t worker);

/* Worker: hands in the open epoch's results and rests. */
void ht_roster_rest(ht_roster_t *roster, uint32_t worker);

/* Rows that a worker has finished, as far as can be seen now. */
uint64_t ht_worker_rows(ht_worker_t *worker);

/* Rows that the others have finished, as far as worker can see now. */
uint64_t ht_roster_rows_of_others(ht_roster_t *roster, uint32_t worker);

#endif

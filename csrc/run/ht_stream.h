/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_stream: the shared memory of one run of the stream loop: segment, roster, feed, parameters
 * and replicas.
 *
 * Layer L8.  The calls are the supervisor's, while all workers rest, unless the table allows
 * them at any time.
 *
 * Which calls may run at the same time:
 *
 *                   accessors   store   load, begin ...   attach   ht_worker_stream(w)
 *   accessors          yes       yes         yes            yes            yes
 *   store              yes       yes          -             yes            (1)
 *   load, begin ...    yes        -           -             yes            (1)
 *   attach             yes       yes         yes            yes            yes
 *   ht_worker_
 *    stream(v)         yes       (1)         (1)            yes            yes
 *
 *   accessors         ht_stream_segment, _roster, _feed, _log: they read constants of the handle
 *   load, begin ...   ht_stream_load, _begin, _resume, _save, _restore, _set_rates,
 *                     _measure_exchange
 *   -                 in turn, by the supervisor
 *   (1)               before the epoch starts, or after ht_roster_await_rest has returned HT_OK
 *
 * ht_stream_open comes before all of these on its handle.  ht_stream_close comes after all calls
 * on its handle, and on the creator's handle after all calls on all handles of the segment.
 * v and w are different workers: a worker's calls are made in turn.
 */
#ifndef HT_STREAM_H
#define HT_STREAM_H

#include "model/ht_model.h"
#include "rows/ht_feed.h"
#include "share/ht_clock.h"
#include "share/ht_log.h"
#include "share/ht_replica.h"
#include "share/ht_roster.h"
#include "share/ht_segment.h"

typedef struct {
    ht_rows_t rows;
    const ht_model_t *model;
    ht_optimizer_t optimizer;
    ht_step_t step; /* penalties, decays and beta; the rest is set while running */
    ht_isa_t isa;
    uint32_t n_workers;
    /* The team of each worker (ht_team.h): 0, and from there on that of the worker before, or the
     * next one, up to n_teams - 1.  The members of a team share one replica, on which they step in
     * place.  Needs n_hot > 0, and an optimizer that steps on the coordinates of its rows alone. */
    const uint32_t *team_of;
    uint32_t n_teams;        /* 0: each worker has a replica of its own; team_of is then NULL */
    uint32_t rows_in_flight; /* 1 .. HT_GROUP_ROWS */
    uint32_t every;          /* rows between exchanges; 0: chosen while running */
    int32_t exact;           /* in place by compare-and-swap; needs n_hot 0 */
    int32_t adds;            /* ht_weighing_t.  Where changes of replicas add up as they come, they
                              * are gated by a clock, and all coordinates are hot */
    uint32_t staleness;      /* where they add up: of the clock (ht_clock.h), or HT_CLOCK_OPEN */
    int32_t intercept;       /* 0 or 1 */
    int64_t n_hot;           /* leading features in replicas, the intercept counts; 0: none.  With
                              * dense rows: all features, or 1 + a multiple of HT_LANES */
    uint64_t seed;
    uint32_t strips; /* of neighbouring rows in a chunk (ht_feed.h) */
    /* Iterates of an epoch that the average takes (ht_average.h); 0: the last iterate is the
     * result.  Not for a dual optimizer, whose entries are sums already. */
    uint64_t averages_per_epoch;
    uint32_t lrs_per_epoch; /* learning rates of one epoch */
    uint32_t n_epochs;      /* of a stretch */
    /* The rates of the first stretch, n_epochs * lrs_per_epoch, each for an equal share of an
     * epoch's chunks.  ht_stream_set_rates sets those of later stretches. */
    const float *lrs;
    /* Row 0 of the parameters is the intercept's, j + 1 is feature j's; each has one
     * coordinate for each output. */
    const float *inverse_share; /* c of each row (ht_optimizer.h); NULL: entries hold none */
    const float *l1_factor;     /* c1 of each row, where the rows of data are dense; NULL: all 1 */
    const float *curvature;     /* of the first n_hot rows; NULL when n_hot is 0 */
    int32_t is_shared;          /* with other processes */
    int32_t is_recorded;        /* with a log for each worker (ht_log.h); needs all features hot */
    int32_t is_leased;          /* an epoch begins with no chunk for its workers; those that they
                                 * may train are leased to them (ht_stream_guest.h) */
} ht_stream_config_t;

typedef struct ht_stream ht_stream_t;

/* Where `every` is chosen while running: the share of a worker's time that exchanges may take, and
 * the fewest exchanges per worker and epoch. */
#define HT_EXCHANGE_SHARE 0.05
#define HT_LEAST_EXCHANGES 32

/* Returns the bytes of the segment of a stream with this configuration; 0 for a broken
 * configuration. */
size_t ht_stream_nbytes(const ht_stream_config_t *config);

/* Creates the segment of a run, and a handle on it.  The rows must outlive the stream; the model
 * and the other arrays are copied.  HT_EINVAL for a broken configuration, a target that the model
 * refuses, or a row with fewer elements than its hot count; -ENOMEM. */
ht_err_t ht_stream_open(const ht_stream_config_t *config, ht_stream_t **out);

/* Makes another handle on a segment of nbytes, as mapped.  The model and the rows are those that
 * the segment was opened with; they may lie at other addresses.  The segment must outlive the
 * handle.  HT_EINVAL for a segment of another build, layout or size, or not of a stream, for
 * another model, and for rows of another shape; -ENOMEM. */
ht_err_t ht_stream_attach(ht_segment_t *segment, size_t nbytes, const ht_model_t *model,
                          const ht_rows_t *rows, ht_stream_t **out);

/* Frees the handle, and unmaps the segment if the handle created it; NULL is allowed. */
void ht_stream_close(ht_stream_t *stream);

/* Return the segment of the run, and its descriptor, which the handle that created it owns; -1: the
 * segment is not shared with other processes. */
ht_segment_t *ht_stream_segment(ht_stream_t *stream);
int32_t ht_stream_segment_fd(const ht_stream_t *stream);

/* Opens epoch 1, 2, ... and wakes the workers; HT_EINVAL for 0. */
ht_err_t ht_stream_begin(ht_stream_t *stream, uint32_t epoch);

/* Continues an epoch that was stopped.  HT_EINVAL when no epoch was opened. */
ht_err_t ht_stream_resume(ht_stream_t *stream);

/* Return the roster and the feed of the run. */
ht_roster_t *ht_stream_roster(ht_stream_t *stream);
ht_feed_t *ht_stream_feed(ht_stream_t *stream);

/* Sets the n_epochs * lrs_per_epoch rates of the stretch that begins with `epoch`, from 1. */
void ht_stream_set_rates(ht_stream_t *stream, uint32_t epoch, const float *lrs);

/* Sets the parameters, before the first epoch: (n_features + 1) * outputs values in the order of
 * coordinates. */
void ht_stream_load(ht_stream_t *stream, const float *parameters);

/* Writes the parameters, in the order of ht_stream_load.  Usually they are the last iterate; once
 * an average of the iterates was taken, they are the average (Polyak and Juditsky 1992). */
void ht_stream_store(const ht_stream_t *stream, float *parameters);

/* What a stream remembers between two chunks, beside its arrays of coordinates. */
typedef struct {
    uint64_t rows;                  /* merged into the hot coordinates */
    uint64_t average_last;          /* number of the iterate that the average took last; 0: none */
    double hot_weight, cold_weight; /* of the iterates in the average */
} ht_stream_saved_t;

/* Returns the number of arrays that ht_stream_save writes: the optimizer's, w or z first, then the
 * average, if the run takes one. */
int ht_stream_n_arrays(const ht_stream_t *stream);

/* Writes all arrays, one after the other, each in the order of ht_stream_load.  done has a byte for
 * each chunk of the open epoch: whether its rows were trained. */
ht_stream_saved_t ht_stream_save(ht_stream_t *stream, float *arrays, unsigned char *done);

/* Makes a stream go on where another one was saved, before its first epoch: the same settings and
 * rows, but any number of workers.  epoch is the one that was open, or the last one; 0: none.
 * ht_stream_resume goes on with it, ht_stream_begin opens the next one. */
void ht_stream_restore(ht_stream_t *stream, const ht_stream_saved_t *saved, const float *arrays,
                       uint32_t epoch, const unsigned char *done);

/* Notes that a worker is dead, once the kernel has confirmed it, and frees the blocks that it held.
 * The next worker of its place goes on where it was: with its replica, and with its chunk.  The
 * supervisor's. */
void ht_stream_declare_dead(ht_stream_t *stream, uint32_t worker);

/* Hands in what a dead worker left, and rests in its place: there will be no next one.  Its chunk
 * is not done in this epoch.  The supervisor's.  HT_EBUSY: other workers hold blocks; call again.
 */
ht_err_t ht_stream_abandon(ht_stream_t *stream, uint32_t worker);

/* Returns the rows of the open epoch that are trained, counted by its chunks: also right when
 * workers have died.  At rest. */
uint64_t ht_stream_trained(ht_stream_t *stream);

/* Returns the log of a worker's place; NULL: the run is not recorded. */
ht_log_t *ht_stream_log(ht_stream_t *stream, uint32_t worker);

/* Makes the worker's chunks take `factor` >= 1 times as long; for tests and rehearsed faults. */
void ht_stream_slow(ht_stream_t *stream, uint32_t worker, double factor);

/* Returns the nanoseconds of one worker's pass over all hot blocks without contention; 0 when
 * nothing is hot.  Changes nothing.  All workers rest. */
uint64_t ht_stream_measure_exchange(ht_stream_t *stream);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sync: minibatch steps by the round.
 *
 * Layer L8.  A step takes one batch.  Its tasks are strips of neighbouring rows
 * in a seeded order that depends on the epoch alone.  A task's result is one
 * gradient per row, in the worker's own slot; who wins the commit adds
 * gradients and rows to its own sums.  Merging applies the optimizer to the mean.
 *
 * Exact: a task is one strip, and sums are free of order (ht_sums), so that
 * the bits depend on neither the number of workers nor on who did what.  Plain:
 * a task is one of n_workers equal shares of the batch, with float sums of its
 * own that are added in the order of the tasks: equal bits for an equal number
 * of workers.
 *
 * A step whose gradients exceed the bound that the grid was made for is
 * refused: nothing is merged, and the same batch is done again with the bound
 * that the largest of all its gradients asks for.
 *
 * Calls with a worker's number belong to that worker; a Python loop may use
 * them as well as ht_worker_round.  The rest are the supervisor's.
 */
#ifndef HT_SYNC_H
#define HT_SYNC_H

#include "model/ht_model.h"
#include "share/ht_round.h"
#include "share/ht_segment.h"
#include "share/ht_sums.h"

#define HT_SYNC_TASK_ROWS 512          /* at most */
#define HT_SYNC_STEPS (UINT32_MAX / 2) /* of all epochs, at most; as many may be refused */

typedef struct {
    ht_rows_t rows; /* no element is hot */
    const ht_model_t *model;
    ht_optimizer_t optimizer;
    ht_step_t step; /* penalties, decays and beta; the rest is set while running */
    ht_isa_t isa;
    uint32_t n_workers;
    int32_t is_exact;
    int32_t intercept; /* 0 or 1 */
    uint64_t seed;
    uint32_t task_rows;          /* of a strip, 1 .. HT_SYNC_TASK_ROWS */
    uint32_t batch_tasks;        /* strips in a batch, 1 .. HT_ROUND_TASKS */
    uint32_t averages_per_epoch; /* as in ht_stream_config_t */
    uint32_t average_from;
    uint32_t lrs_per_epoch; /* as in ht_stream_config_t */
    uint32_t n_epochs;
    const float *lrs;
    const float *inverse_share; /* 1 / (share of batches that touch a row); NULL: all 1 */
    const double *scales;       /* powers of two, one per HT_SUMS_SCALE coordinates; NULL: 1 */
    double largest_value;       /* the largest |x| * scale */
    float bound;                /* of |gradient| in the first step */
    int32_t is_bounded;         /* no gradient can exceed the bound */
} ht_sync_config_t;

/* What the workers of a place have done in all epochs. */
typedef struct {
    uint64_t generation; /* of the place's worker; 0: the first */
    uint64_t steps;      /* entered */
    uint64_t compute_ns;
    uint64_t merge_ns;
    uint64_t wait_ns;
    uint64_t repeated; /* tasks and blocks taken that another had out */
    uint64_t lost;     /* commits that another won */
    uint64_t revoked;  /* workers that this one revoked */
} ht_sync_report_t;

typedef struct ht_sync ht_sync_t;

/* As ht_stream_nbytes. */
size_t ht_sync_nbytes(const ht_sync_config_t *config);

/* As ht_stream_open, _attach, _close and _segment. */
ht_err_t ht_sync_open(const ht_sync_config_t *config, ht_sync_t **out);
ht_err_t ht_sync_attach(ht_segment_t *segment, size_t nbytes, const ht_model_t *model,
                        const ht_rows_t *rows, ht_sync_t **out);
void ht_sync_close(ht_sync_t *sync);
ht_segment_t *ht_sync_segment(ht_sync_t *sync);

ht_round_t *ht_sync_round(ht_sync_t *sync);
uint64_t ht_sync_steps_per_epoch(const ht_sync_t *sync);

/* Rows of the first `batches` batches. */
uint64_t ht_sync_rows_until(const ht_sync_t *sync, uint64_t batches);

/* As ht_stream_set_rates. */
void ht_sync_set_rates(ht_sync_t *sync, uint32_t epoch, const float *lrs);

/* Parameters in and out, (n_features + 1) * outputs values in the order of
 * coordinates; out as ht_stream_store. */
void ht_sync_load(ht_sync_t *sync, const float *parameters);
void ht_sync_store(ht_sync_t *sync, float *parameters);

/* Lets the workers go on until `batches` have been done since the start. */
void ht_sync_allow(ht_sync_t *sync, uint64_t batches);

/* Ends after the open step. */
void ht_sync_stop(ht_sync_t *sync);

/* Workers return from their loops. */
void ht_sync_leave(ht_sync_t *sync);

/* Waits until what is allowed is done, or a gradient was not finite.  HT_OK,
 * HT_EINTR (call again), HT_ETIMEOUT. */
ht_err_t ht_sync_await_rest(ht_sync_t *sync, uint64_t deadline_ns);

/* How far the run is; at rest. */
typedef struct {
    uint64_t batches; /* since the start */
    uint64_t refused; /* steps */
    double loss;      /* sum of the weighted losses of all rows so far, each before its step */
    int32_t outcome;  /* HT_ENONFINITE: a gradient or loss was not finite; HT_ECHANGED */
    uint32_t step;
} ht_sync_progress_t;
ht_sync_progress_t ht_sync_progress(ht_sync_t *sync);

/* The report of a place as far as can be seen now. */
ht_sync_report_t ht_sync_report(const ht_sync_t *sync, uint32_t worker);

/* Rows of all epochs that the worker's sums have brought into the parameters; at
 * rest.  Over all workers, they are the rows of the batches that are done: a step
 * that is refused, or a result that is revoked, counts for nobody. */
uint64_t ht_sync_rows(ht_sync_t *sync, uint32_t worker);

/* For tests and benchmarks: the worker's tasks take `factor` times as long. */
void ht_sync_slow(ht_sync_t *sync, uint32_t worker, double factor);

/* ---- one worker's calls ------------------------------------------------ */

/* The next task of the current step; HT_EEND: none now, or not its time. */
ht_err_t ht_sync_claim(ht_sync_t *sync, uint32_t worker, uint32_t *task);

/* Writes the task's gradients to the worker's own slot.  HT_EINVAL: the worker has
 * not claimed it. */
ht_err_t ht_sync_compute(ht_sync_t *sync, uint32_t worker, uint32_t task);

/* Commits and, if this was the first, adds.  HT_EBUSY: it does not count.
 * HT_EINVAL: no task was computed. */
ht_err_t ht_sync_commit(ht_sync_t *sync, uint32_t worker);

/* Merges a block of the current step, or opens the next one; HT_EEND: none
 * now, or not its time. */
ht_err_t ht_sync_merge_next(ht_sync_t *sync, uint32_t worker);

/* For who found neither: ends the work if it is over, else waits a little.
 * HT_OK, HT_EINTR: look again.  HT_ETIMEOUT; HT_ESTOPPED: leave. */
ht_err_t ht_sync_await(ht_sync_t *sync, uint32_t worker, uint64_t deadline_ns);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sync: minibatch steps by the round, or the steps of replicas.
 *
 * Layer L8.  A step takes one batch.  Its tasks are strips of neighbouring rows
 * in a seeded order that depends on the epoch alone.  A task's result is in the
 * worker's own slot: one gradient per row, and of dense rows the sum of gradients
 * times rows.  The worker that wins the commit adds it to its own sums.  Merging
 * applies the optimizer to the mean.
 *
 * Exact: a task is one strip, and sums are free of order (ht_sums), so that the
 * bits depend neither on the number of workers nor on which worker did a task.
 * Plain: a task is one of n_workers equal shares of the batch.  It has its own
 * float sums, and these are added in the order of the tasks: equal bits for an
 * equal number of workers.
 *
 * Replicas (local SGD): a task is one of `replicas` equal shares of the batch, and
 * a replica that makes `every` minibatch steps on it, of local_rows rows each and
 * from the parameters of the step, as plain as one worker would make them.  What
 * it has changed is added to sums that are free of order (ht_changes).
 *
 * A step is refused when its gradients, or the changes of its replicas, exceed the
 * bound for which the grid was made.  Then nothing is merged, and the batch is done
 * again with a bound that holds the largest of them.
 *
 * The calls below "one worker's calls" belong to the worker that they name; a
 * Python loop may make them in the place of ht_worker_round.  ht_sync_report may
 * be called by anyone at any time.  The other calls are the supervisor's.
 */
#ifndef HT_SYNC_H
#define HT_SYNC_H

#include "model/ht_model.h"
#include "share/ht_changes.h"
#include "share/ht_round.h"
#include "share/ht_segment.h"
#include "share/ht_sums.h"

#define HT_SYNC_TASK_ROWS 512          /* at most */
#define HT_SYNC_STEPS (UINT32_MAX / 2) /* of all epochs, at most; each may be refused once */

typedef struct {
    ht_rows_t rows; /* no element is hot */
    const ht_model_t *model;
    ht_optimizer_t optimizer;
    ht_step_t step; /* penalties, decays and beta; the rest is set while running */
    ht_isa_t isa;
    uint32_t n_workers;
    int32_t is_exact;
    int32_t intercept; /* 0 or 1 */
    int32_t is_shared; /* with other processes */
    int32_t has_guest; /* merges take the sums of all nodes (ht_sync_guest.h); needs is_exact */
    uint64_t seed;
    uint32_t task_rows;          /* of a strip, 1 .. HT_SYNC_TASK_ROWS */
    uint32_t batch_tasks;        /* strips in a batch, 1 .. HT_ROUND_TASKS; with replicas any
                                  * number from 1 */
    uint32_t replicas;           /* of a step, 1 .. HT_ROUND_TASKS, where is_exact and scales are
                                  * 1 and NULL; 0: a step merges gradients */
    uint32_t every;              /* local steps of a replica on a batch, >= 1; fewer where it has
                                  * fewer rows; read where there are replicas */
    uint64_t most_together;      /* batches of a step, >= 1; likewise */
    uint32_t local_rows;         /* of a local step, >= 1; likewise */
    ht_outer_t outer;            /* likewise; not for a dual optimizer */
    uint64_t averages_per_epoch; /* as in ht_stream_config_t */
    uint32_t lrs_per_epoch;      /* as in ht_stream_config_t */
    uint32_t n_epochs;
    const float *lrs;
    const float *inverse_share; /* 1 / (share of batches that touch a row); NULL: all 1 */
    const float *l1_factor;     /* c1 of each row, where the step reads no share; NULL: all 1 */
    const double *scales;       /* powers of two, one per HT_SUMS_SCALE coordinates; NULL: 1 */
    double largest_value;       /* the largest |x| * scale */
    float bound;                /* of |gradient| in the first step */
    int32_t is_bounded;         /* no gradient can exceed the bound */
} ht_sync_config_t;

/* The statistics of a place, of all its workers and epochs. */
typedef struct {
    uint64_t generation; /* of the place's worker; 0: the first */
    uint64_t steps;      /* entered */
    uint64_t compute_ns;
    uint64_t merge_ns;
    uint64_t wait_ns;
    uint64_t repeated; /* tasks and blocks taken over from another worker */
    uint64_t lost;     /* commits that another worker won */
    uint64_t revoked;  /* workers that this one revoked */
} ht_sync_report_t;

typedef struct ht_sync ht_sync_t;

/* Returns the bytes of the segment of a run with this configuration; 0 for a broken
 * configuration. */
size_t ht_sync_nbytes(const ht_sync_config_t *config);

/* Creates the segment of a run, and a handle on it.  The rows must outlive the handle; the model
 * and the other arrays are copied.  HT_EINVAL for a broken configuration, or a target that the
 * model refuses; -ENOMEM. */
ht_err_t ht_sync_open(const ht_sync_config_t *config, ht_sync_t **out);

/* Makes another handle on a segment of nbytes, as mapped.  Conditions and errors are those of
 * ht_stream_attach. */
ht_err_t ht_sync_attach(ht_segment_t *segment, size_t nbytes, const ht_model_t *model,
                        const ht_rows_t *rows, ht_sync_t **out);

/* Frees the handle, and unmaps the segment if the handle created it; NULL is allowed. */
void ht_sync_close(ht_sync_t *sync);

/* Return the segment of the run, and its descriptor; as ht_stream_segment and
 * ht_stream_segment_fd. */
ht_segment_t *ht_sync_segment(ht_sync_t *sync);
int32_t ht_sync_segment_fd(const ht_sync_t *sync);

/* Returns the round of the run. */
ht_round_t *ht_sync_round(ht_sync_t *sync);

/* Returns the steps of one epoch without refused ones: its batches. */
uint64_t ht_sync_steps_per_epoch(const ht_sync_t *sync);

/* Returns the rows of the first `batches` batches of the run. */
uint64_t ht_sync_rows_until(const ht_sync_t *sync, uint64_t batches);

/* Sets the n_epochs * lrs_per_epoch rates of the stretch that begins with `epoch`, from 1. */
void ht_sync_set_rates(ht_sync_t *sync, uint32_t epoch, const float *lrs);

/* Sets the parameters, before the first step: (n_features + 1) * outputs values in the order of
 * coordinates. */
void ht_sync_load(ht_sync_t *sync, const float *parameters);

/* Writes the parameters, in the order of ht_sync_load; at rest.  Usually they are the last iterate;
 * once an average of the iterates was taken, they are the average. */
void ht_sync_store(ht_sync_t *sync, float *parameters);

/* What a run remembers between two steps, beside its arrays of coordinates. */
typedef struct {
    uint64_t batches;                  /* since the start */
    uint64_t refused;                  /* steps */
    uint32_t together;                 /* batches of a step */
    double loss;                       /* as in ht_sync_progress_t */
    double bound;                      /* of |gradient| in the next step */
    double changes[HT_CHANGES_ARRAYS]; /* bounds of |change| of each array in the next step */
} ht_sync_saved_t;

/* Returns the number of arrays that ht_sync_save writes: w, the optimizer's state, the outer
 * velocity, the average. */
int ht_sync_n_arrays(const ht_sync_t *sync);

/* Writes all arrays, one after the other, each in the order of ht_sync_load; at rest. */
ht_sync_saved_t ht_sync_save(ht_sync_t *sync, float *arrays);

/* Makes a run go on where another one was saved, before its first step: the same settings and
 * rows, but any number of workers.  HT_EINVAL for a number out of range. */
ht_err_t ht_sync_restore(ht_sync_t *sync, const ht_sync_saved_t *saved, const float *arrays);

/* Lets the workers go on until `batches` batches have been done since the start. */
void ht_sync_allow(ht_sync_t *sync, uint64_t batches);

/* Makes each step from now on take so many batches of an epoch together: replicas then make as many
 * times more steps of their own.  At rest.  HT_EINVAL: more than most_together, or 0. */
ht_err_t ht_sync_take_together(ht_sync_t *sync, uint32_t together);

/* Asks the workers to rest once the batch of the open step is done. */
void ht_sync_stop(ht_sync_t *sync);

/* Asks the workers to return from their loops. */
void ht_sync_leave(ht_sync_t *sync);

/* Notes that a worker is dead, once the kernel has confirmed it.  The others do what it had in
 * hand, and a new worker may take its place at any time: it takes part in the next step. */
void ht_sync_declare_dead(ht_sync_t *sync, uint32_t worker);

/* Returns whether a worker of this place would take part in the current step. */
int ht_sync_takes_part(ht_sync_t *sync, uint32_t worker);

/* Lets a worker take part in the current step, in which its place has died: all other places are
 * empty, or their workers do not take part. */
void ht_sync_revive(ht_sync_t *sync, uint32_t worker);

/* Ends the merge of the current step, if it is in its merge, when no worker is left: the parameters
 * are then those of the batches that are done. */
void ht_sync_settle(ht_sync_t *sync);

/* Waits until all allowed batches are done or a gradient was not finite, not past deadline_ns
 * (absolute, ht_now_ns's clock).  HT_OK, HT_EINTR (call again) or HT_ETIMEOUT. */
ht_err_t ht_sync_await_rest(ht_sync_t *sync, uint64_t deadline_ns);

/* The progress of a run. */
typedef struct {
    uint64_t batches; /* since the start */
    uint64_t refused; /* steps */
    double loss;      /* sum of the weighted losses of all rows so far, each before its step */
    int32_t outcome;  /* HT_ENONFINITE: a gradient or loss was not finite; HT_ECHANGED */
    uint32_t step;
} ht_sync_progress_t;

/* Returns the progress of the run; at rest. */
ht_sync_progress_t ht_sync_progress(ht_sync_t *sync);

/* Returns the statistics of a place, as far as can be seen now. */
ht_sync_report_t ht_sync_report(const ht_sync_t *sync, uint32_t worker);

/* Returns the rows of all epochs that the worker's sums have brought into the parameters; at rest.
 * The rows of all workers add up to the rows of the batches that are done, without those before
 * ht_sync_restore: a refused step and a revoked result count for no worker. */
uint64_t ht_sync_rows(ht_sync_t *sync, uint32_t worker);

/* Makes the worker's tasks take `factor` >= 1 times as long; for tests and benchmarks. */
void ht_sync_slow(ht_sync_t *sync, uint32_t worker, double factor);

/* ---- one worker's calls ------------------------------------------------ */

/* Claims the next task of the current step.  HT_EEND: no task is open now, or the step is not in
 * its work. */
ht_err_t ht_sync_claim(ht_sync_t *sync, uint32_t worker, uint32_t *task);

/* Writes the task's result to the worker's own slot.  HT_EINVAL: the worker has not claimed the
 * task. */
ht_err_t ht_sync_compute(ht_sync_t *sync, uint32_t worker, uint32_t task);

/* Commits the computed task, and adds its result if the commit was the first.  HT_EBUSY: the result
 * does not count.  HT_EINVAL: no task was computed. */
ht_err_t ht_sync_commit(ht_sync_t *sync, uint32_t worker);

/* Merges a block of the current step.  HT_EEND: no block is open now, or the step is not in its
 * merge; if every block is done, the call has opened the next step. */
ht_err_t ht_sync_merge_next(ht_sync_t *sync, uint32_t worker);

/* Waits a little, for a worker that has found neither a task nor a block; if the work of the step
 * is over, ends it instead.  HT_OK, HT_EINTR: look again.  HT_ETIMEOUT: the deadline passed.
 * HT_ESTOPPED: leave. */
ht_err_t ht_sync_await(ht_sync_t *sync, uint32_t worker, uint64_t deadline_ns);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * local_runs: small runs of replicas, each kind with other rows, loss and optimizer.
 */
#ifndef LOCAL_RUNS_H
#define LOCAL_RUNS_H

#include "run/ht_sync_parts.h"
#include "support/crew.h"
#include "support/problem.h"

#define MS UINT64_C(1000000)

enum { N_FEATURES = 2000, WIDTH = 21, N = N_FEATURES + 1 };
enum { TASK_ROWS = 4, BATCH_TASKS = 24, REPLICAS = 4, LOCAL_ROWS = 5, EVERY = 5 };
enum { MOST_WORKERS = 8 };

/* Runs that differ in all that replicas read. */
typedef enum {
    SPARSE_SGD,
    SPARSE_ADAGRAD, /* squared loss: its gradients have no bound */
    SPARSE_FTRL,
    SPARSE_ADAM,
    CLASSES_SGD,
    DENSE_RMSPROP,
    DENSE_ADAGRAD,
    N_KINDS
} kind_t;

typedef struct {
    ht_sync_t *sync;
    uint32_t worker;
} part_t;

typedef struct {
    float parameters[N];
    ht_sync_progress_t progress;
} result_t;

extern problem_t local_sparse;
extern float local_start[N]; /* parameters */

/* Makes the rows of all runs; and frees them. */
void local_open(void);
void local_close(void);

/* Returns a run of REPLICAS replicas that merge every EVERY steps of LOCAL_ROWS rows; in an epoch
 * of 1,005 rows they merge 11 times. */
ht_sync_config_t local_config(kind_t kind, uint32_t n_workers);

/* The same with an outer optimizer, and an average. */
ht_sync_config_t local_with_outer(kind_t kind, uint32_t n_workers);

/* Opens a run at local_start. */
ht_sync_t *local_sync(const ht_sync_config_t *config);

/* A thread that takes part; its argument is a part_t. */
void *local_take_part(void *part);

/* Starts all workers of a run. */
void local_start_workers(ht_sync_t *sync, part_t *parts, crew_t *crew);

void local_await_rest(ht_sync_t *sync);

uint32_t local_step(ht_sync_t *sync);

/* Writes the result, lets the workers leave and waits for them. */
void local_finish(ht_sync_t *sync, crew_t *crew, result_t *result);

/* Trains until n_batches batches are done since the start, with all workers. */
void local_train_on(ht_sync_t *sync, uint64_t n_batches, result_t *result);

/* Trains a new run, and checks that each row is credited to a worker. */
void local_train(const ht_sync_config_t *config, uint64_t n_batches, result_t *result);

void local_check_same(const result_t *found, const result_t *expected);

#endif

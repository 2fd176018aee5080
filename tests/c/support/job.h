/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job: a stream with a random problem, its workers and its supervisor.
 */
#ifndef JOB_H
#define JOB_H

#include "model/ht_linear.h"
#include "run/ht_worker.h"
#include "support/crew.h"
#include "support/problem.h"

/* The problem and a configuration to change before job_start. */
typedef struct {
    problem_t problem;
    ht_linear_t linear;
    ht_stream_config_t config;
    float *lrs;
    float *curvature;     /* of all coordinates */
    float *inverse_share; /* likewise; in the configuration only where a penalty needs it */
} job_t;

/* A stream and one thread per worker. */
typedef struct {
    ht_stream_t *stream;
    struct job_worker *workers;
    crew_t crew;
    uint32_t n_workers;
    uint32_t epoch; /* the last one begun */
} job_run_t;

/* A logistic problem and SGD by one worker, nothing hot, with intercept;
 * learning rate lr in all of n_epochs. */
void job_open(job_t *job, uint64_t seed, int64_t n_rows, int64_t n_features, int64_t longest,
              uint32_t n_epochs, float lr);
void job_close(job_t *job);

/* The problem that most tests use: rows of up to 30 elements. */
enum { JOB_ROWS = 2000, JOB_FEATURES = 2500, JOB_EPOCHS = 5 };
enum { JOB_COORDINATES = JOB_FEATURES + 1, JOB_HOTS = 5 };
void job_open_usual(job_t *job, ht_optimizer_t optimizer);

/* The optimizers that go with sparse rows. */
enum { JOB_OPTIMIZERS = 3 };
extern const ht_optimizer_t job_optimizers[JOB_OPTIMIZERS];

/* How much of it is hot: nothing, the intercept, less than a block, three
 * blocks, everything. */
extern const int64_t job_n_hots[JOB_HOTS];

/* Puts the first n_hot coordinates into replicas. */
void job_heat(job_t *job, int64_t n_hot);

/* Makes the targets classes, and the model softmax. */
void job_set_classes(job_t *job, int64_t classes);

/* Adds penalties, and the shares that sparse rows need for them. */
void job_penalise(job_t *job, float l1, float l2);

/* Coordinates of its parameters: an intercept and each feature for each output. */
int64_t job_n_coordinates(const job_t *job);

/* Opens the stream, loads zeros and starts the threads. */
void job_start(job_run_t *run, const job_t *job);

/* Starts the threads of a stream that has its parameters, after the epoch that it is in. */
void job_go_on(job_run_t *run, const job_t *job, ht_stream_t *stream);

/* The next epoch: begin, await all; job_begin and job_await in one. */
void job_epoch(job_run_t *run);
void job_begin(job_run_t *run);
void job_await(job_run_t *run);

const ht_worker_t *job_worker(const job_run_t *run, uint32_t worker);

/* The loss and the rows of the last epoch, over all workers. */
double job_loss(const job_run_t *run);
uint64_t job_trained(const job_run_t *run);

/* Lets the threads leave, and closes the stream. */
void job_end(job_run_t *run);

/* Runs n_epochs from start to end; the parameters go out. */
void job_train(const job_t *job, uint32_t n_epochs, float *parameters);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/job.h"

#include <stdlib.h>

#include "base/ht_futex.h"
#include "support/check.h"

const ht_optimizer_t job_optimizers[JOB_OPTIMIZERS] = {HT_SGD, HT_ADAGRAD, HT_FTRL};
const int64_t job_n_hots[JOB_HOTS] = {0, 1, 300, 2100, JOB_COORDINATES};

struct job_worker {
    ht_stream_t *stream;
    uint32_t number;
};

static float *allocate(int64_t n)
{
    float *memory = calloc((size_t)n, sizeof *memory);
    REQUIRE(memory != NULL);
    return memory;
}

/* Curvature and inverse share of each coordinate, as ht_rows.h counts them. */
static void fill_columns(job_t *job)
{
    const ht_rows_t *rows = &job->problem.rows;
    ht_facts_t facts = {0};
    ht_column_t *columns = calloc((size_t)rows->n_features, sizeof *columns);
    REQUIRE(columns != NULL);
    REQUIRE(ht_rows_count(rows, 0, rows->n_rows, 1, &facts, columns) == HT_OK);
    float n = (float)rows->n_rows;
    job->curvature[0] = (float)(facts.norm_sum / (double)n);
    for (int64_t j = 0; j < rows->n_features; j++) {
        job->curvature[j + 1] = columns[j].curvature / n;
        job->inverse_share[j + 1] = columns[j].weight > 0.0f ? n / columns[j].weight : 0.0f;
    }
    free(columns);
}

void job_open(job_t *job, uint64_t seed, int64_t n_rows, int64_t n_features, int64_t longest,
              uint32_t n_epochs, float lr)
{
    problem_open(&job->problem, seed, n_rows, n_features, longest, 1, 1);
    job->lrs = allocate(n_epochs);
    for (uint32_t e = 0; e < n_epochs; e++)
        job->lrs[e] = lr;
    job->curvature = allocate(n_features + 1);
    job->inverse_share = allocate(n_features + 1);
    fill_columns(job);
    REQUIRE(ht_linear_init(&job->linear, (ht_loss_t){HT_LOGISTIC, 0.0f}, 0) == HT_OK);
    job->config = (ht_stream_config_t){
        .rows = job->problem.rows,
        .model = &job->linear.model,
        .optimizer = HT_SGD,
        .step = {.decay1 = 0.9f, .decay2 = 0.99f, .beta = 1.0f},
        .isa = ht_vector_best_isa(),
        .n_workers = 1,
        .rows_in_flight = 1,
        .every = 64,
        .intercept = 1,
        .seed = seed,
        .strips = 8,
        .lrs_per_epoch = 1,
        .n_epochs = n_epochs,
        .lrs = job->lrs,
    };
}

void job_open_usual(job_t *job, ht_optimizer_t optimizer)
{
    job_open(job, 61, JOB_ROWS, JOB_FEATURES, 30, JOB_EPOCHS, 0.2f);
    job->config.optimizer = optimizer;
}

void job_close(job_t *job)
{
    problem_close(&job->problem);
    free(job->lrs);
    free(job->curvature);
    free(job->inverse_share);
}

void job_heat(job_t *job, int64_t n_hot)
{
    ht_stream_config_t *c = &job->config;
    c->n_hot = n_hot;
    c->curvature = n_hot > 0 ? job->curvature : NULL;
    c->rows.hot = NULL;
    if (ht_rows_is_dense(&c->rows)) {
        c->rows.n_hot = n_hot > 0 ? n_hot - 1 : 0;
        return;
    }
    c->rows.n_hot = n_hot;
    if (n_hot > 0 && n_hot <= c->rows.n_features) { /* coordinate 0 is no column */
        problem_heat(&job->problem, n_hot - 1);
        c->rows.hot = job->problem.hot;
    }
}

void job_set_classes(job_t *job, int64_t classes)
{
    problem_set_classes(&job->problem, classes);
    REQUIRE(ht_linear_init(&job->linear, job->linear.loss, classes) == HT_OK);
}

void job_penalise(job_t *job, float l1, float l2)
{
    job->config.step.l1 = l1;
    job->config.step.l2 = l2;
    if (!ht_rows_is_dense(&job->config.rows) && ht_optimizer_has_shares(job->config.optimizer))
        job->config.inverse_share = job->inverse_share;
}

/* What every worker thread does, in the product too. */
static void *work(void *argument)
{
    const struct job_worker *worker = argument;
    ht_worker_epochs(worker->stream, worker->number);
    return NULL;
}

int64_t job_n_coordinates(const job_t *job)
{
    return (job->config.rows.n_features + 1) * job->linear.model.n_outputs;
}

void job_start(job_run_t *run, const job_t *job)
{
    ht_stream_t *stream;
    REQUIRE(ht_stream_open(&job->config, &stream) == HT_OK);
    float *zeros = allocate(job_n_coordinates(job));
    ht_stream_load(stream, zeros);
    free(zeros);
    job_go_on(run, job, stream);
}

void job_go_on(job_run_t *run, const job_t *job, ht_stream_t *stream)
{
    *run = (job_run_t){
        .stream = stream,
        .n_workers = job->config.n_workers,
        .epoch = ht_stream_feed(stream)->epoch,
    };
    run->workers = calloc(run->n_workers, sizeof *run->workers);
    REQUIRE(run->workers != NULL);
    for (uint32_t w = 0; w < run->n_workers; w++)
        run->workers[w] = (struct job_worker){run->stream, w};
    crew_start(&run->crew, (int)run->n_workers, work, run->workers, sizeof *run->workers);
}

void job_begin(job_run_t *run)
{
    REQUIRE(ht_stream_begin(run->stream, ++run->epoch) == HT_OK);
}

void job_await(job_run_t *run)
{
    uint64_t deadline = ht_now_ns() + UINT64_C(60000000000);
    ht_err_t err;
    do
        err = ht_roster_await_rest(ht_stream_roster(run->stream), deadline);
    while (err == HT_EINTR);
    REQUIRE(err == HT_OK);
}

void job_epoch(job_run_t *run)
{
    job_begin(run);
    job_await(run);
}

const ht_worker_t *job_worker(const job_run_t *run, uint32_t worker)
{
    return &ht_stream_roster(run->stream)->workers[worker];
}

double job_loss(const job_run_t *run)
{
    double loss = 0.0;
    for (uint32_t w = 0; w < run->n_workers; w++)
        loss += job_worker(run, w)->loss;
    return loss;
}

uint64_t job_trained(const job_run_t *run)
{
    uint64_t trained = 0;
    for (uint32_t w = 0; w < run->n_workers; w++)
        trained += job_worker(run, w)->trained;
    return trained;
}

void job_end(job_run_t *run)
{
    ht_roster_stop(ht_stream_roster(run->stream), HT_LEAVE);
    crew_join(&run->crew);
    ht_stream_close(run->stream);
    free(run->workers);
}

void job_train(const job_t *job, uint32_t n_epochs, float *parameters)
{
    job_run_t run;
    job_start(&run, job);
    for (uint32_t e = 0; e < n_epochs; e++)
        job_epoch(&run);
    ht_stream_store(run.stream, parameters);
    job_end(&run);
}

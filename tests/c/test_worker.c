/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams, and the stream loop with several workers. */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/job.h"

static float parameters[JOB_COORDINATES], others[JOB_COORDINATES];

static void broken_configurations_are_refused(void)
{
    job_t job;
    ht_stream_t *stream = NULL;
    job_open_usual(&job, HT_SGD);
    const ht_stream_config_t sound = job.config;
    ht_stream_config_t broken[15];
    enum { N_BROKEN = sizeof broken / sizeof *broken };
    for (int i = 0; i < N_BROKEN; i++)
        broken[i] = sound;
    broken[0].n_workers = 0;
    broken[1].n_workers = HT_MAX_WORKERS + 1;
    broken[2].rows_in_flight = 0;
    broken[3].rows_in_flight = HT_GROUP_ROWS + 1;
    broken[4].n_hot = -1;
    broken[5].n_hot = JOB_COORDINATES + 1;
    broken[6].n_hot = 10; /* without curvature */
    broken[7].lrs = NULL;
    broken[8].lrs_per_epoch = 0;
    broken[9].step.l1 = 1.0f; /* without shares */
    broken[10].rows.n_rows = 0;
    broken[11].rows.n_features = INT32_MAX / 4;
    broken[12].strips = 0;
    broken[13].strips = HT_FEED_STRIPS + 1;
    job_heat(&job, 10);
    broken[14] = job.config;
    broken[14].exact = 1; /* with replicas */
    for (int i = 0; i < N_BROKEN; i++)
        CHECK(ht_stream_open(&broken[i], &stream) == HT_EINVAL);
    CHECK(stream == NULL);
    CHECK(ht_stream_open(&sound, &stream) == HT_OK);
    ht_stream_close(stream);
    ht_stream_close(NULL);
    job_close(&job);
}

static void parameters_go_in_and_out(void)
{
    uint64_t random = 5;
    for (int j = 0; j < JOB_COORDINATES; j++)
        parameters[j] = (float)delay_uniform(&random);
    for (int o = 0; o < JOB_OPTIMIZERS; o++)
        for (int h = 0; h < JOB_HOTS; h++)
            for (int penalty = 0; penalty < 2; penalty++) {
                job_t job;
                ht_stream_t *stream;
                job_open_usual(&job, job_optimizers[o]);
                job.config.n_workers = 2;
                job_heat(&job, job_n_hots[h]);
                if (penalty)
                    job_penalise(&job, 0.0f, 1e-3f);
                REQUIRE(ht_stream_open(&job.config, &stream) == HT_OK);
                ht_stream_load(stream, parameters);
                CHECK((ht_stream_measure_exchange(stream) > 0) == (job_n_hots[h] > 0));
                ht_stream_store(stream, others);
                /* FTRL keeps z instead of the parameter: the way there and back rounds. */
                double tolerance = job_optimizers[o] == HT_FTRL ? 1e-6 : 0.0;
                for (int j = 0; j < JOB_COORDINATES; j++)
                    CHECK_CLOSE(others[j], parameters[j], tolerance);
                ht_stream_close(stream);
                job_close(&job);
            }
}

static void check_learning(job_t *job, uint32_t n_workers)
{
    double first = 0.0;
    job_run_t run;
    job->config.n_workers = n_workers;
    job_start(&run, job);
    for (uint64_t e = 1; e <= JOB_EPOCHS; e++) {
        job_epoch(&run);
        uint64_t rows_done = 0;
        CHECK(job_trained(&run) == JOB_ROWS);
        for (uint32_t w = 0; w < n_workers; w++) {
            ht_worker_t *worker = &ht_stream_roster(run.stream)->workers[w];
            rows_done += ht_load_relaxed(&worker->rows_done);
            CHECK(worker->outcome == HT_OK && isfinite(worker->loss));
            /* One pass ends an epoch; each `every` rows make another. */
            if (job->config.n_hot > 0 && job->config.every > 0)
                CHECK(worker->exchanges >= e + worker->trained / job->config.every);
            if (job->config.n_hot > 0)
                CHECK(worker->every >= 1);
        }
        CHECK(rows_done == e * JOB_ROWS);
        first = e == 1 ? job_loss(&run) : first;
    }
    CHECK(first < 1.2 * JOB_ROWS * log(2.0));
    CHECK(job_loss(&run) < 0.75 * first);
    ht_stream_store(run.stream, parameters);
    for (int j = 0; j < JOB_COORDINATES; j++)
        CHECK(isfinite(parameters[j]));
    job_end(&run);
}

static void workers_train_every_row_once_and_the_loss_falls(void)
{
    const uint32_t everies[] = {7, 0};
    for (int o = 0; o < JOB_OPTIMIZERS; o++)
        for (int h = 0; h < JOB_HOTS; h++)
            for (int e = 0; e < 2; e++) {
                job_t job;
                job_open_usual(&job, job_optimizers[o]);
                job_heat(&job, job_n_hots[h]);
                job.config.rows_in_flight = 4;
                job.config.every = everies[e];
                job.config.exact = job_n_hots[h] == 0 && e == 1;
                check_learning(&job, 4);
                job_close(&job);
            }
}

static uint64_t rows_done_by_now(const job_run_t *run)
{
    /* Nobody is worker UINT32_MAX, so all others are all. */
    return ht_roster_rows_of_others(ht_stream_roster(run->stream), UINT32_MAX);
}

static void a_stop_ends_an_epoch_early_and_the_next_one_is_whole(void)
{
    enum { MANY = 100000 };
    int stopped = 0;
    job_t job;
    job_run_t run;
    job_open(&job, 62, MANY, 50, 6, 40, 0.01f);
    job_heat(&job, 20);
    job.config.n_workers = 2;
    job_start(&run, &job);
    /* A repeat is needed only where this thread slept through the epoch. */
    for (int attempt = 0; attempt < 38 && !stopped; attempt++) {
        uint64_t before = rows_done_by_now(&run);
        job_begin(&run);
        uint64_t give_up = ht_now_ns() + UINT64_C(10000000000);
        while (rows_done_by_now(&run) == before && ht_now_ns() < give_up)
            sched_yield();
        ht_roster_stop(ht_stream_roster(run.stream), HT_STOP_EPOCH);
        job_await(&run);
        stopped = job_trained(&run) < MANY;
        CHECK(job_trained(&run) > 0);
        CHECK(rows_done_by_now(&run) - before == job_trained(&run));
        for (uint32_t w = 0; w < 2; w++)
            CHECK(job_worker(&run, w)->outcome == HT_OK);
    }
    CHECK(stopped);
    job_epoch(&run);
    CHECK(job_trained(&run) == MANY);
    job_end(&run);
    job_close(&job);
}

static void epochs_count_from_one(void)
{
    job_t job;
    job_run_t run;
    job_open_usual(&job, HT_SGD);
    job_start(&run, &job);
    CHECK(ht_stream_resume(run.stream) == HT_EINVAL); /* none was opened */
    CHECK(ht_stream_begin(run.stream, 0) == HT_EINVAL);
    job_epoch(&run);
    CHECK(job_trained(&run) == JOB_ROWS);
    CHECK(ht_stream_resume(run.stream) == HT_OK); /* nothing is left of it */
    job_await(&run);
    CHECK(job_trained(&run) == 0);
    job_end(&run);
    job_close(&job);
}

static void a_non_finite_margin_ends_the_run(void)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int h = 0; h < JOB_HOTS; h++)
        for (int b = 0; b < 3; b++) {
            job_t job;
            job_run_t run;
            job_open_usual(&job, HT_SGD);
            job_heat(&job, job_n_hots[h]);
            job.config.n_workers = 2;
            job_start(&run, &job);
            memset(others, 0, sizeof others);
            others[0] = bad[b]; /* the intercept: every margin */
            ht_stream_load(run.stream, others);
            job_epoch(&run);
            CHECK(ht_roster_stopping(ht_stream_roster(run.stream)));
            CHECK(job_trained(&run) < JOB_ROWS);
            int found = 0;
            for (uint32_t w = 0; w < 2; w++) {
                const ht_worker_t *worker = job_worker(&run, w);
                found += worker->outcome == HT_ENONFINITE;
                CHECK(worker->outcome == HT_ENONFINITE || worker->trained == 0);
                CHECK(worker->outcome == HT_OK || worker->bad_lr == (double)0.2f);
            }
            CHECK(found > 0);
            job_end(&run);
            job_close(&job);
        }
}

int main(void)
{
    broken_configurations_are_refused();
    parameters_go_in_and_out();
    workers_train_every_row_once_and_the_loss_falls();
    a_stop_ends_an_epoch_early_and_the_next_one_is_whole();
    epochs_count_from_one();
    a_non_finite_margin_ends_the_run();
    FINISH();
}

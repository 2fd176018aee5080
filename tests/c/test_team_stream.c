/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams of teams: what is refused, the bits where they are promised, rows and losses, and what
 * they leave when members are killed.
 */
#include <math.h>
#include <string.h>

#include "run/ht_stream_parts.h"
#include "support/check.h"
#include "support/job.h"

enum { N_WORKERS = 4 };

static const uint32_t pairs[] = {0, 0, 1, 1}, uneven[] = {0, 1, 1, 1}, one[] = {0, 0, 0, 0};

static void set_teams(job_t *job, const uint32_t *team_of)
{
    job->config.team_of = team_of;
    job->config.n_teams = team_of == NULL ? 0 : team_of[N_WORKERS - 1] + 1;
}

static void unsound_teams_are_refused(void)
{
    static const uint32_t from_one[] = {1, 1, 2, 2}, gap[] = {0, 0, 2, 2}, back[] = {0, 1, 0, 1};
    const uint32_t *unsound[] = {from_one, gap, back};
    job_t job;
    job_open_usual(&job, HT_SGD);
    job_heat(&job, JOB_COORDINATES);
    job.config.n_workers = N_WORKERS;
    set_teams(&job, pairs);
    CHECK(ht_stream_nbytes(&job.config) > 0);
    for (int k = 0; k < 3; k++) {
        set_teams(&job, unsound[k]);
        CHECK(ht_stream_nbytes(&job.config) == 0);
    }
    set_teams(&job, pairs);
    job.config.n_teams = 3;
    CHECK(ht_stream_nbytes(&job.config) == 0);
    set_teams(&job, pairs);
    job.config.n_teams = 0;
    CHECK(ht_stream_nbytes(&job.config) == 0);
    set_teams(&job, pairs);
    job_heat(&job, 0); /* no replica to share */
    CHECK(ht_stream_nbytes(&job.config) == 0);
    job_heat(&job, JOB_COORDINATES);
    job.config.team_of = NULL;
    CHECK(ht_stream_nbytes(&job.config) == 0);
    job_close(&job);
}

/* A team of two of which one works has the bits of one worker: nobody else changes its entries. */
static void one_member_alone_has_the_bits_of_one_worker(ht_optimizer_t optimizer, int adds)
{
    static float alone[JOB_COORDINATES], beside[JOB_COORDINATES];
    static const uint32_t team[] = {0, 0};
    job_t job;
    job_run_t run;
    job_open_usual(&job, optimizer);
    job_heat(&job, JOB_COORDINATES);
    job_penalise(&job, 0.0f, 1e-3f);
    job_train(&job, 2, alone);
    job.config.n_workers = 2;
    job.config.team_of = team;
    job.config.n_teams = 1;
    job.config.adds = adds;
    job.config.staleness = HT_CLOCK_OPEN;
    ht_stream_t *stream;
    REQUIRE(ht_stream_open(&job.config, &stream) == HT_OK);
    memset(beside, 0, sizeof beside);
    ht_stream_load(stream, beside);
    REQUIRE(ht_stream_abandon(stream, 1) == HT_OK);
    job.config.n_workers = 1; /* of its threads */
    job_go_on(&run, &job, stream);
    for (int epoch = 0; epoch < 2; epoch++)
        job_epoch(&run);
    ht_stream_store(stream, beside);
    job_end(&run);
    CHECK(memcmp(alone, beside, sizeof alone) == 0);
    job_close(&job);
}

static double loss_after_training(job_t *job)
{
    job_run_t run;
    job_start(&run, job);
    for (int epoch = 0; epoch < JOB_EPOCHS; epoch++) {
        job_epoch(&run);
        CHECK(job_trained(&run) == JOB_ROWS);
    }
    for (int64_t b = 0; b < run.stream->hot.n_blocks; b++)
        CHECK(run.stream->hot.blocks[b].rows == (uint64_t)JOB_ROWS * JOB_EPOCHS);
    double loss = job_loss(&run);
    job_end(&run);
    return loss;
}

/* A member that has not begun, or never will, exchanges the steps of the others at their rate. */
static void a_team_exchanges_at_the_largest_rate_of_its_members(void)
{
    job_t job;
    job_open_usual(&job, HT_SGD);
    job_heat(&job, JOB_COORDINATES);
    job.config.n_workers = N_WORKERS;
    set_teams(&job, pairs);
    ht_stream_t *stream;
    REQUIRE(ht_stream_open(&job.config, &stream) == HT_OK);
    ht_worker_t *workers = ht_stream_roster(stream)->workers;
    workers[0].rate = 0.25f;
    workers[1].rate = 0.125f;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        CHECK(ht_replica_rate(&stream->places[w].replica, &workers[w]) == (w < 2 ? 0.25f : 0.0f));
    ht_stream_close(stream);
    job_close(&job);
}

static void teams_count_every_row_and_learn_as_lone_workers_do(ht_optimizer_t optimizer, int adds,
                                                               int64_t n_hot)
{
    const uint32_t *teams[] = {NULL, pairs, uneven, one};
    job_t job;
    job_open_usual(&job, optimizer);
    job_heat(&job, n_hot);
    job_penalise(&job, 0.0f, 1e-5f);
    job.config.n_workers = N_WORKERS;
    job.config.every = 16;
    job.config.adds = adds;
    job.config.staleness = 2;
    double losses[4];
    for (int k = 0; k < 4; k++) {
        set_teams(&job, teams[k]);
        losses[k] = loss_after_training(&job);
        CHECK(isfinite(losses[k]));
        CHECK(losses[k] < 1.1 * losses[0]);
    }
    job_close(&job);
}

int main(void)
{
    unsound_teams_are_refused();
    a_team_exchanges_at_the_largest_rate_of_its_members();
    for (int k = 0; k < JOB_OPTIMIZERS; k++)
        for (int adds = 0; adds < 2; adds++) {
            one_member_alone_has_the_bits_of_one_worker(job_optimizers[k], adds);
            teams_count_every_row_and_learn_as_lone_workers_do(job_optimizers[k], adds,
                                                               JOB_COORDINATES);
        }
    teams_count_every_row_and_learn_as_lone_workers_do(HT_ADAGRAD, 0, 300);
    FINISH();
}

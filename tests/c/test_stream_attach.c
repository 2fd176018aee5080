/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams: a second handle finds everything in the segment of the first, also where the segment
 * has another address, as in another process; a worker there goes on with the same bits.
 */
#include <stdlib.h>
#include <string.h>

#include "run/ht_stream_parts.h"
#include "run/ht_sync.h"
#include "support/check.h"
#include "support/job.h"

static float parameters[JOB_COORDINATES], others[JOB_COORDINATES];

/* A stream that has every part but one: rows of a mapped file. */
static void open_whole(job_t *job, uint32_t n_workers)
{
    job_open_usual(job, HT_ADAGRAD);
    job->config.n_workers = n_workers;
    job->config.averages_per_epoch = 4;
    job_penalise(job, 0.0f, 1e-3f);
    job_heat(job, 1500);
}

/* A copy of a segment at rest; free it. */
static ht_segment_t *copy_of(ht_stream_t *stream)
{
    ht_segment_t *segment = ht_stream_segment(stream);
    ht_segment_t *copy = aligned_alloc(HT_LINE, segment->nbytes);
    REQUIRE(copy != NULL);
    memcpy(copy, segment, segment->nbytes);
    return copy;
}

static ht_stream_t *attach(const job_t *job, ht_segment_t *segment)
{
    ht_stream_t *stream = NULL;
    REQUIRE(ht_stream_attach(segment, segment->nbytes, job->config.model, &job->config.rows,
                             &stream) == HT_OK);
    return stream;
}

static void every_part_is_where_the_first_handle_has_it(void)
{
    uint32_t team_of[] = {0, 1, 1};
    job_t job;
    ht_stream_t *first;
    open_whole(&job, 3);
    job.config.team_of = team_of;
    job.config.n_teams = 2;
    REQUIRE(ht_stream_open(&job.config, &first) == HT_OK);
    team_of[0] = 7; /* the caller's no longer */
    ht_segment_t *segment = ht_stream_segment(first), *copy = copy_of(first);
    ht_stream_t *second = attach(&job, segment), *third = attach(&job, copy);
    for (int p = 0; p < N_PARTS; p++)
        for (size_t i = 0; i < first->layout.parts[p].count; i++) {
            char *at = ht_layout_at(&first->layout, segment, p, i);
            char *there = ht_layout_at(&third->layout, copy, p, i);
            CHECK((at == NULL) ==
                  (p == FETCHED || p == L1_FACTOR || p == HOT_L1_FACTOR || p == CLOCK || p == LOG));
            CHECK(ht_layout_at(&second->layout, segment, p, i) == at);
            CHECK(at == NULL ? there == NULL : there - (char *)copy == at - (char *)segment);
        }
    for (uint32_t w = 0; w < 3; w++) {
        const place_t *a = &first->places[w], *b = &third->places[w];
        CHECK((char *)b->view.hot - (char *)copy == (char *)a->view.hot - (char *)segment);
        CHECK((char *)b->scratch.z - (char *)copy == (char *)a->scratch.z - (char *)segment);
        CHECK(second->places[w].replica.base == a->replica.base && b->replica.owner == w);
        CHECK((char *)b->replica.slot - (char *)copy == (char *)a->replica.slot - (char *)segment);
        CHECK(b->replica.members == third->roster->workers + (w > 0));
        CHECK(b->replica.n_members == (w == 0 ? 1 : 2));
    }
    const ht_stream_config_t *a = &first->config, *b = &third->config;
    CHECK(a->seed == b->seed && a->every == b->every && a->step.l2 == b->step.l2);
    CHECK(third->model->key == first->model->key && a->model == NULL && b->model == NULL);
    CHECK(a->optimizer == b->optimizer && a->isa == b->isa);
    CHECK(a->averages_per_epoch == b->averages_per_epoch && a->n_hot == b->n_hot);
    CHECK(a->step.beta == b->step.beta && a->intercept == b->intercept && a->strips == b->strips);
    ht_stream_close(second);
    ht_stream_close(third);
    ht_stream_close(first);
    free(copy);
    job_close(&job);
}

static void a_second_handle_sees_parameters_reports_and_rates(void)
{
    const float rates[JOB_EPOCHS] = {0.5f, 0.25f};
    job_t job;
    job_run_t run;
    open_whole(&job, 2);
    job_start(&run, &job);
    ht_stream_t *second = attach(&job, ht_stream_segment(run.stream));
    for (int e = 0; e < 2; e++) {
        job_epoch(&run);
        ht_stream_store(run.stream, parameters);
        ht_stream_store(second, others);
        CHECK(memcmp(parameters, others, sizeof others) == 0);
        uint64_t trained = 0;
        for (uint32_t w = 0; w < 2; w++) {
            const ht_worker_t *entry = &ht_stream_roster(second)->workers[w];
            trained += entry->trained;
            CHECK(entry->trained == 0 || (entry->rate > 0.0f && entry->rate <= 0.2f * 0.25f));
        }
        CHECK(trained == JOB_ROWS);
        CHECK(ht_stream_feed(second)->epoch == run.epoch);
    }
    ht_stream_set_rates(run.stream, 3, rates);
    CHECK(ht_rates_at(second->rates, 2, 0) == 0.5f && ht_rates_at(second->rates, 3, 0) == 0.25f);
    job_end(&run); /* it unmaps */
    ht_stream_close(second);
    job_close(&job);
}

static void a_worker_of_another_handle_goes_on_with_the_same_bits(void)
{
    job_t job;
    job_run_t run, other;
    open_whole(&job, 1);
    job_start(&run, &job);
    job_epoch(&run);
    job_epoch(&run);
    ht_segment_t *copy = copy_of(run.stream);
    job_go_on(&other, &job, attach(&job, copy));
    for (int e = 0; e < 2; e++) {
        job_epoch(&run);
        job_epoch(&other);
        ht_stream_store(run.stream, parameters);
        ht_stream_store(other.stream, others);
        CHECK(memcmp(parameters, others, sizeof others) == 0);
        CHECK(job_loss(&run) == job_loss(&other));
        CHECK(job_trained(&other) == JOB_ROWS);
    }
    CHECK(run.epoch == 4 && other.epoch == 4);
    CHECK(job_worker(&other, 0)->exchanges == job_worker(&run, 0)->exchanges);
    job_end(&other);
    job_end(&run);
    free(copy);
    job_close(&job);
}

static void what_the_user_gave_is_copied(void)
{
    job_t job;
    ht_stream_t *stream;
    open_whole(&job, 1);
    REQUIRE(ht_stream_open(&job.config, &stream) == HT_OK);
    CHECK(stream->config.lrs == NULL && stream->config.curvature == NULL);
    CHECK(stream->config.inverse_share != job.inverse_share);
    CHECK(stream->config.inverse_share[7] == job.inverse_share[7]);
    ht_stream_close(stream);
    job_close(&job);
}

static ht_err_t outcome(ht_segment_t *segment, size_t nbytes, const ht_model_t *model,
                        const ht_rows_t *rows)
{
    ht_stream_t *stream = NULL;
    ht_err_t err = ht_stream_attach(segment, nbytes, model, rows, &stream);
    ht_stream_close(stream);
    return err;
}

static void what_does_not_fit_is_refused(void)
{
    job_t job;
    ht_stream_t *stream;
    open_whole(&job, 2);
    REQUIRE(ht_stream_open(&job.config, &stream) == HT_OK);
    ht_segment_t *segment = ht_stream_segment(stream);
    const ht_segment_t sound = *segment;
    const ht_rows_t *rows = &job.config.rows;
    const ht_model_t *model = job.config.model;
    for (int i = 0; i < 5; i++) {
        segment->magic ^= i == 0;
        segment->layout ^= i == 1;
        segment->build ^= i == 2;
        segment->nbytes += i == 3 ? (uint64_t)2 << 20 : 0;
        segment->record[0] = i == 4 ? 2 : segment->record[0]; /* a run of another kind */
        CHECK(outcome(segment, sound.nbytes, model, rows) == HT_EINVAL);
        *segment = sound;
    }
    CHECK(outcome(segment, sound.nbytes - 1, model, rows) == HT_EINVAL);
    segment->nbytes += (uint64_t)2 << 20; /* larger than its parts */
    CHECK(outcome(segment, segment->nbytes, model, rows) == HT_EINVAL);
    *segment = sound;
    for (int i = 0; i < 6; i++) {
        ht_rows_t broken = *rows;
        broken.n_rows -= i == 0;
        broken.n_features += i == 1;
        broken.n_hot += i == 2;
        broken.longest += i == 3;
        broken.targets = i == 4 ? NULL : broken.targets;
        broken.hot = i == 5 ? NULL : broken.hot;
        CHECK(outcome(segment, sound.nbytes, model, &broken) == HT_EINVAL);
    }
    CHECK(outcome(segment, sound.nbytes, model, rows) == HT_OK);
    ht_linear_t other;
    REQUIRE(ht_linear_init(&other, (ht_loss_t){HT_HUBER, 1.0f}, 0) == HT_OK);
    CHECK(outcome(segment, sound.nbytes, &other.model, rows) == HT_EINVAL);
    ht_sync_t *sync = NULL;
    CHECK(ht_sync_attach(segment, sound.nbytes, model, rows, &sync) == HT_EINVAL);
    ht_stream_close(stream);
    job_close(&job);
}

int main(void)
{
    every_part_is_where_the_first_handle_has_it();
    a_second_handle_sees_parameters_reports_and_rates();
    a_worker_of_another_handle_goes_on_with_the_same_bits();
    what_the_user_gave_is_copied();
    what_does_not_fit_is_refused();
    FINISH();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stream: another run goes on from what a run has saved, in the middle of an epoch as at its end;
 * one worker with the same bits.
 */
#include <stdlib.h>
#include <string.h>

#include "run/ht_worker.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/job.h"

static float *stream_arrays;
static unsigned char done[JOB_ROWS];

/* Stops an epoch after its first rows; by chance all of it is done before. */
static void stop_in_the_middle(job_run_t *run)
{
    ht_worker_t *worker = &ht_stream_roster(run->stream)->workers[0];
    uint64_t before = ht_worker_rows(worker);
    job_begin(run);
    while (ht_worker_rows(worker) == before)
        delay_sleep_ns(1000);
    ht_roster_stop(ht_stream_roster(run->stream), HT_STOP_EPOCH);
    job_await(run);
}

static void the_stream_goes_on_with_the_same_bits(ht_optimizer_t optimizer, int64_t n_hot,
                                                  int in_the_middle)
{
    job_t job;
    job_open_usual(&job, optimizer);
    job_penalise(&job, 1e-4f, 1e-3f);
    job.config.averages_per_epoch = ht_optimizer_is_dual(optimizer) ? 0 : 3;
    if (n_hot > 0)
        job_heat(&job, n_hot);
    static float expected[JOB_COORDINATES], found[JOB_COORDINATES];
    job_train(&job, JOB_EPOCHS, expected);

    job_run_t first, second;
    job_start(&first, &job);
    job_epoch(&first);
    job_epoch(&first);
    if (in_the_middle)
        stop_in_the_middle(&first);
    int n_arrays = ht_stream_n_arrays(first.stream);
    stream_arrays = malloc(sizeof(float) * JOB_COORDINATES * (size_t)n_arrays);
    REQUIRE(stream_arrays != NULL);
    ht_stream_saved_t saved = ht_stream_save(first.stream, stream_arrays, done);
    uint64_t n_done = 0, n_chunks = ht_stream_feed(first.stream)->n_chunks;
    for (uint64_t c = 0; c < n_chunks; c++)
        n_done += done[c];
    CHECK(in_the_middle ? n_done > 0 : n_done == n_chunks);
    uint32_t epoch = first.epoch;

    ht_stream_t *stream;
    REQUIRE(ht_stream_open(&job.config, &stream) == HT_OK);
    ht_stream_restore(stream, &saved, stream_arrays, epoch, done);
    ht_stream_store(first.stream, found);
    static float restored[JOB_COORDINATES];
    ht_stream_store(stream, restored);
    CHECK(memcmp(restored, found, sizeof found) == 0);
    job_go_on(&second, &job, stream);
    if (in_the_middle) {
        REQUIRE(ht_stream_resume(stream) == HT_OK);
        job_await(&second);
        CHECK(ht_stream_trained(stream) == JOB_ROWS);
    }
    while (second.epoch < JOB_EPOCHS)
        job_epoch(&second);
    ht_stream_store(stream, found);
    CHECK(memcmp(expected, found, sizeof found) == 0);
    job_end(&second);
    job_end(&first);
    free(stream_arrays);
    job_close(&job);
}

int main(void)
{
    for (int k = 0; k < JOB_OPTIMIZERS; k++)
        for (int h = 0; h < JOB_HOTS; h++)
            for (int in_the_middle = 0; in_the_middle < 2; in_the_middle++)
                the_stream_goes_on_with_the_same_bits(job_optimizers[k], job_n_hots[h],
                                                      in_the_middle);
    FINISH();
}

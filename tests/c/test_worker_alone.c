/* SPDX-License-Identifier: BSD-3-Clause */
/* The stream loop with one worker: sequential training, to the bit. */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/job.h"

static float parameters[JOB_COORDINATES], others[JOB_COORDINATES];

static double z_of(const ht_rows_t *rows, int64_t r, const double *entries)
{
    double z = entries[0];
    for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++)
        z += entries[2 * (rows->indices[i] + 1)] * (double)rows->values[i];
    return z;
}

/* The step of ht_optimizer.h in double; an entry is w and G. */
static void step_entry(const ht_stream_config_t *c, double *entry, double lr, double d,
                       double weight, double share)
{
    double step = lr;
    entry[1] += d * d;
    if (c->optimizer == HT_ADAGRAD)
        step /= sqrt(entry[1]) + (double)HT_ROOT_EPS;
    entry[0] -= step * d;
    entry[0] /= 1.0 + step * weight * (double)c->step.l2 * share;
    double shrunk = fmax(0.0, fabs(entry[0]) - step * weight * (double)c->step.l1 * share);
    entry[0] = copysign(shrunk, entry[0]);
}

/* Sequential training in double with rows_in_flight margins at a time;
 * returns the loss of the last epoch. */
static double train_reference(const job_t *job, double *entries)
{
    const ht_stream_config_t *c = &job->config;
    _Alignas(HT_LINE) ht_feed_t feed = {0};
    double lr = c->lrs[0], slow = lr * (double)ht_optimizer_intercept_rate(c->optimizer, 0);
    double loss = 0.0;
    REQUIRE(ht_feed_init(&feed, (uint64_t)c->rows.n_rows, c->seed, c->strips) == HT_OK);
    for (uint32_t epoch = 1; epoch <= JOB_EPOCHS; epoch++) {
        uint64_t position;
        loss = 0.0;
        ht_feed_begin(&feed, epoch);
        while (ht_feed_claim(&feed, &position) == HT_OK) {
            int64_t ids[HT_CHUNK_ROWS];
            double z[HT_CHUNK_ROWS];
            int n = ht_feed_rows(&feed, position, ids);
            for (int k = 0; k < n; k++) {
                if (k % (int)c->rows_in_flight == 0)
                    for (int m = k; m < n && m < k + (int)c->rows_in_flight; m++)
                        z[m] = z_of(&c->rows, ids[m], entries);
                double y = c->rows.targets[ids[k]], weight = c->rows.weights[ids[k]];
                double gradient = -y / (1.0 + exp(y * z[k])) * weight;
                loss += weight * log1p(exp(-y * z[k]));
                for (int64_t i = c->rows.pointers[ids[k]]; i < c->rows.pointers[ids[k] + 1]; i++) {
                    int64_t j = c->rows.indices[i] + 1;
                    double d = gradient * (double)c->rows.values[i];
                    step_entry(c, entries + 2 * j, lr, d, weight, job->inverse_share[j]);
                }
                step_entry(c, entries, slow, gradient, weight, 0.0);
            }
        }
    }
    return loss;
}

static void check_against_reference(job_t *job, uint32_t rows_in_flight)
{
    static double entries[2 * JOB_COORDINATES];
    job_run_t run;
    job->config.rows_in_flight = rows_in_flight;
    memset(entries, 0, sizeof entries);
    double expected = train_reference(job, entries);
    job_start(&run, job);
    for (int e = 0; e < JOB_EPOCHS; e++)
        job_epoch(&run);
    CHECK_CLOSE(job_loss(&run), expected, 1e-4 * expected);
    ht_stream_store(run.stream, parameters);
    for (int j = 0; j < JOB_COORDINATES; j++)
        CHECK_CLOSE(parameters[j], entries[2 * j], 2e-4);
    job_end(&run);
}

static void one_worker_does_what_a_sequential_loop_does(void)
{
    for (int optimizer = HT_SGD; optimizer <= HT_ADAGRAD; optimizer++)
        for (int penalty = 0; penalty < 2; penalty++) {
            job_t job;
            job_open_usual(&job, (ht_optimizer_t)optimizer);
            if (penalty)
                job_penalise(&job, 1e-5f, 1e-4f);
            check_against_reference(&job, 1);
            check_against_reference(&job, 4);
            job_close(&job);
        }
}

/* With one row in flight, nothing else can change the bits of one worker. */
static void check_hot_is_cold(job_t *job)
{
    job_heat(job, 0);
    job_train(job, 2, parameters);
    for (int exact = 0; exact < 2; exact++) {
        job->config.exact = exact;
        job_train(job, 2, others);
        CHECK(memcmp(parameters, others, sizeof parameters) == 0);
    }
    job->config.exact = 0;
    for (int h = 1; h < JOB_HOTS; h++) {
        job_heat(job, job_n_hots[h]);
        job->config.every = h % 2 ? 7 : 0;
        job_train(job, 2, others);
        CHECK(memcmp(parameters, others, sizeof parameters) == 0);
    }
}

static void one_worker_has_the_same_bits_whatever_is_hot(void)
{
    for (int o = 0; o < JOB_OPTIMIZERS; o++) {
        job_t job;
        job_open_usual(&job, job_optimizers[o]);
        check_hot_is_cold(&job);
        job_penalise(&job, 0.0f, 1e-4f);
        check_hot_is_cold(&job);
        job.config.rows.weights = NULL; /* the penalty of SGD is folded */
        check_hot_is_cold(&job);
        job_close(&job);
    }
}

static void one_worker_has_the_same_bits_on_all_instruction_sets(void)
{
    for (int o = 0; o < JOB_OPTIMIZERS; o++)
        for (int h = 0; h < JOB_HOTS; h++) {
            job_t job;
            job_open_usual(&job, job_optimizers[o]);
            job_penalise(&job, 1e-5f, 1e-4f);
            job_heat(&job, job_n_hots[h]);
            job.config.rows_in_flight = 4;
            job.config.every = 100;
            for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
                job.config.isa = isa;
                job_train(&job, 2, isa == HT_BASELINE ? parameters : others);
                if (isa != HT_BASELINE)
                    CHECK(memcmp(parameters, others, sizeof parameters) == 0);
            }
            job_close(&job);
        }
}

static void learning_rates_follow_the_shares_of_an_epoch(void)
{
    const float lrs[] = {0.2f, 0.0f, 0.0f, 0.0f, 0.0f, 0.2f};
    job_t job;
    job_run_t run;
    job_open_usual(&job, HT_SGD);
    job.config.lrs = lrs;
    job.config.lrs_per_epoch = 2;
    job.config.n_epochs = 3;
    job_start(&run, &job);
    job_epoch(&run); /* its first half only */
    ht_stream_store(run.stream, parameters);
    CHECK(parameters[0] != 0.0f);
    job_epoch(&run);
    ht_stream_store(run.stream, others);
    CHECK(memcmp(parameters, others, sizeof parameters) == 0);
    job_epoch(&run); /* its second half */
    ht_stream_store(run.stream, others);
    CHECK(memcmp(parameters, others, sizeof parameters) != 0);
    job_end(&run);
    job_close(&job);
}

static void staleness_of_one_worker_is_zero(void)
{
    for (int h = 0; h < JOB_HOTS; h++) {
        job_t job;
        job_run_t run;
        job_open_usual(&job, HT_SGD);
        job_heat(&job, job_n_hots[h]);
        job_start(&run, &job);
        job_epoch(&run);
        job_epoch(&run);
        const ht_worker_t *worker = job_worker(&run, 0);
        uint64_t n_blocks =
            (uint64_t)(job_n_hots[h] + HT_BLOCK_COORDINATES - 1) / HT_BLOCK_COORDINATES;
        /* Of the second epoch; exchanges are those of both. */
        uint64_t passes = (uint64_t)(JOB_ROWS / job.config.every + 1);
        uint64_t samples = JOB_ROWS / HT_SAMPLE_PERIOD;
        CHECK(worker->exchanges == (n_blocks > 0 ? 2 * passes : 0));
        CHECK(worker->merged.counts[0] == passes * n_blocks && worker->merged.total == 0);
        CHECK(worker->sampled.counts[0] == (job_n_hots[h] < JOB_COORDINATES ? samples : 0));
        CHECK(worker->sampled.total == 0 && worker->skipped == 0);
        job_end(&run);
        job_close(&job);
    }
}

/* The factor that hot entries hold must be folded for a rate of 0, too. */
static void an_epoch_at_rate_zero_changes_nothing(void)
{
    job_t job;
    job_run_t run;
    job_open_usual(&job, HT_SGD);
    job_penalise(&job, 0.0f, 1e-4f);
    job.config.rows.weights = NULL;
    job_heat(&job, 300);
    for (uint32_t k = 0; k < job.config.lrs_per_epoch; k++) {
        job.lrs[k] = 0.0f;
        job.lrs[2 * job.config.lrs_per_epoch + k] = 0.0f;
    }
    job_start(&run, &job);
    job_epoch(&run);
    ht_stream_store(run.stream, parameters);
    for (int64_t j = 0; j < JOB_COORDINATES; j++)
        CHECK(parameters[j] == 0.0f);
    job_epoch(&run);
    ht_stream_store(run.stream, parameters);
    job_epoch(&run);
    ht_stream_store(run.stream, others);
    CHECK(memcmp(parameters, others, sizeof parameters) == 0);
    CHECK(parameters[1] != 0.0f || parameters[2] != 0.0f || parameters[3] != 0.0f);
    job_end(&run);
    job_close(&job);
}

int main(void)
{
    an_epoch_at_rate_zero_changes_nothing();
    one_worker_does_what_a_sequential_loop_does();
    one_worker_has_the_same_bits_whatever_is_hot();
    one_worker_has_the_same_bits_on_all_instruction_sets();
    learning_rates_follow_the_shares_of_an_epoch();
    staleness_of_one_worker_is_zero();
    FINISH();
}

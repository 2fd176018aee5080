/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream loop beyond sparse rows and one output: dense rows, softmax, every
 * optimizer, averages; one worker does what a sequential loop in double does.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/job.h"
#include "support/naive.h"

enum { ROWS = 1100, WIDTH = 37, CLASSES = 5, EPOCHS = 3, MOST = 32 * (WIDTH + 1) };

static float parameters[MOST], others[MOST], l1_factor[WIDTH + 1];

/* Dense or sparse rows of one output or several. */
static void open_job(job_t *job, ht_optimizer_t optimizer, int is_dense, int64_t classes)
{
    /* Momentum and Adam go further in a step. */
    float lr = ht_optimizer_is_dense(optimizer) ? 0.005f : 0.05f;
    job_open(job, 71, ROWS, WIDTH, 20, EPOCHS, lr);
    if (is_dense) {
        problem_close(&job->problem);
        problem_open_dense(&job->problem, 71, ROWS, WIDTH, 1);
        for (int j = 0; j <= WIDTH; j++)
            job->curvature[j] = 1.0f;
    }
    if (classes > 0)
        job_set_classes(job, classes);
    job->config.rows = job->problem.rows;
    job->config.optimizer = optimizer;
    job->config.rows_in_flight = 3;
}

/* FTRL's sums of penalties at a chunk, and Adam's powers at a group of rows. */
static void set_step(ht_step_t *step, const ht_stream_config_t *c, double rows, uint64_t rows_done)
{
    *step = c->step;
    step->lr = c->lrs[0];
    step->l1_sum = (float)(rows * (double)c->step.l1);
    step->l2_sum = (float)(rows * (double)c->step.l2);
    step->power1 = (float)pow((double)step->decay1, (double)rows_done);
    step->power2 = (float)pow((double)step->decay2, (double)rows_done);
}

/* A chunk: rows_in_flight gradients, then as many steps. */
static double train_chunk(const naive_model_t *model, const ht_stream_config_t *c,
                          const int64_t *ids, int n_rows, double rows, uint64_t *rows_done)
{
    static double gradient[HT_GROUP_ROWS][32];
    double loss = 0.0;
    for (int i = 0; i < n_rows; i += (int)c->rows_in_flight) {
        ht_step_t step;
        int n = n_rows - i < (int)c->rows_in_flight ? n_rows - i : (int)c->rows_in_flight;
        set_step(&step, c, rows, *rows_done);
        for (int k = 0; k < n; k++)
            loss += naive_gradient(model, ids[i + k], &step, gradient[k]);
        for (int k = 0; k < n; k++) {
            naive_row(model, ids[i + k], gradient[k], &step);
            step.power1 *= step.decay1;
            step.power2 *= step.decay2;
        }
        *rows_done += (uint64_t)n;
    }
    return loss;
}

/* Fills in the parameters, or their average; returns the loss of the last epoch. */
static double train_naively(const job_t *job, double *result)
{
    static naive_entry_t entries[MOST];
    const ht_stream_config_t *c = &job->config;
    _Alignas(HT_LINE) ht_feed_t feed = {0};
    naive_model_t model = {.rows = &c->rows,
                           .loss = job->linear.loss,
                           .classes = job->linear.classes,
                           .outputs = job->linear.model.n_outputs,
                           .optimizer = c->optimizer,
                           .has_intercept = c->intercept,
                           .c = c->inverse_share,
                           .l1_factor = c->l1_factor,
                           .entries = entries};
    int64_t n = (WIDTH + 1) * model.outputs;
    uint64_t rows_done = 0, last = 0;
    double loss = 0.0, weights = 0.0;
    ht_step_t step;
    memset(entries, 0, sizeof entries);
    memset(result, 0, sizeof *result * (size_t)n);
    REQUIRE(ht_feed_init(&feed, ROWS, c->seed, c->strips) == HT_OK);
    for (uint32_t epoch = 1; epoch <= EPOCHS; epoch++) {
        uint64_t position;
        loss = 0.0;
        ht_feed_begin(&feed, epoch);
        while (ht_feed_claim(&feed, &position) == HT_OK) {
            int64_t ids[HT_CHUNK_ROWS];
            int n_rows = ht_feed_rows(&feed, position, ids);
            double rows = ((double)(epoch - 1) + (double)position / (double)feed.n_chunks) * ROWS;
            loss += train_chunk(&model, c, ids, n_rows, rows, &rows_done);
            uint64_t each = c->averages_per_epoch;
            uint64_t number = (epoch - 1) * each + (position + 1) * each / feed.n_chunks;
            if (number == last)
                continue;
            double weight = naive_average_weight(number);
            last = number;
            weights += weight;
            for (int64_t j = 0; j < n; j++)
                result[j] += (entries[j].w - result[j]) * weight / weights;
        }
    }
    set_step(&step, c, (double)EPOCHS * ROWS, 0);
    ht_step_t slow = naive_free(&step, c->optimizer, ht_rows_is_dense(&c->rows));
    for (int64_t j = 0; j < n && weights == 0.0; j++) {
        int64_t row = j / model.outputs;
        ht_step_t mine =
            naive_by_factor(&step, c->l1_factor == NULL ? 1.0 : (double)c->l1_factor[row]);
        result[j] = naive_w(&entries[j], row == 0 ? &slow : &mine, c->optimizer);
    }
    return loss;
}

static void check_against_naive(job_t *job)
{
    static double expected[MOST];
    job_run_t run;
    double loss = train_naively(job, expected);
    int64_t n = job_n_coordinates(job), outputs = n / (WIDTH + 1);
    job_start(&run, job);
    for (int e = 0; e < EPOCHS; e++)
        job_epoch(&run);
    CHECK_CLOSE(job_loss(&run), loss, 1e-4 * loss);
    ht_stream_store(run.stream, parameters);
    int n_changed = 0;
    for (int64_t j = 0; j < n; j++) {
        CHECK_CLOSE(parameters[j], expected[j], 5e-4 * (1.0 + fabs(expected[j])));
        CHECK(j % outputs < (job->linear.classes == 0 ? 1 : CLASSES) || parameters[j] == 0.0f);
        n_changed += parameters[j] != 0.0f;
    }
    CHECK(n_changed > WIDTH / 2);
    job_end(&run);
}

static int goes_with(ht_optimizer_t optimizer, int is_dense)
{
    return is_dense || !ht_optimizer_is_dense(optimizer);
}

static void one_worker_does_what_a_sequential_loop_does(void)
{
    const int64_t n_hots[] = {0, 17, WIDTH + 1};
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int is_dense = 0; is_dense < 2; is_dense++)
            for (int option = 0; option < 12 && goes_with(o, is_dense); option++) {
                job_t job;
                open_job(&job, o, is_dense, option & 1 ? CLASSES : 0);
                job_heat(&job, n_hots[option / 4]);
                if (option & 2)
                    job_penalise(&job, 1e-4f, 1e-3f);
                check_against_naive(&job);
                job_close(&job);
            }
}

/* Penalties of scaled columns: each takes its own factor. */
static void penalties_take_the_factors_of_their_columns(void)
{
    const int64_t n_hots[] = {0, 17, WIDTH + 1};
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int several = 0; several < 2; several++)
            for (int h = 0; h < 3; h++) {
                job_t job;
                open_job(&job, o, 1, several ? CLASSES : 0);
                job_heat(&job, n_hots[h]);
                job_penalise(&job, 1e-3f, 1e-2f);
                job.config.l1_factor = l1_factor;
                check_against_naive(&job);
                job_close(&job);
            }
}

static void averages_are_weighted_means_of_iterates(void)
{
    const int64_t n_hots[] = {0, 17, WIDTH + 1};
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int h = 0; h < 3; h++)
            for (uint32_t each = 1; !ht_optimizer_is_dual(o) && each < 100; each += 7 * each) {
                job_t job;
                open_job(&job, o, 1, h == 1 ? CLASSES : 0);
                job_heat(&job, n_hots[h]);
                job.config.averages_per_epoch = each;
                check_against_naive(&job);
                job_close(&job);
            }
}

/* The second worker finds nothing left to train.  Its part of the cold coordinates, the second
 * half, is the mean of what the first worker left after each epoch. */
static void a_worker_without_a_chunk_averages_its_part(void)
{
    static float after_first[MOST], after_second[MOST];
    ht_stream_t *stream;
    job_t job;
    open_job(&job, HT_SGD, 0, 0);
    job_train(&job, 1, after_first);
    job_train(&job, 2, after_second);
    job.config.n_workers = 2;
    job.config.averages_per_epoch = 4;
    REQUIRE(ht_stream_open(&job.config, &stream) == HT_OK);
    memset(parameters, 0, sizeof parameters);
    ht_stream_load(stream, parameters);
    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
        REQUIRE(ht_stream_begin(stream, epoch) == HT_OK);
        for (uint32_t w = 0; w < 2; w++) {
            ht_worker_stream(stream, w);
            ht_roster_rest(ht_stream_roster(stream), w);
        }
    }
    ht_stream_store(stream, parameters);
    double first = naive_average_weight(4), second = naive_average_weight(8);
    for (int j = (WIDTH + 1) / 2; j <= WIDTH; j++)
        CHECK_CLOSE(parameters[j],
                    (first * (double)after_first[j] + second * (double)after_second[j]) /
                        (first + second),
                    1e-6);
    ht_stream_close(stream);
    job_close(&job);
}

/* With rows in flight as they are, nothing else can change the bits of one worker. */
static void one_worker_has_the_same_bits_whatever_is_hot(void)
{
    const int64_t n_hots[] = {0, 17, 33, WIDTH + 1};
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int several = 0; several < 2; several++)
            for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
                for (int h = 0; h < 4; h++) {
                    job_t job;
                    open_job(&job, o, 1, several ? CLASSES : 0);
                    job.config.every = UINT32_MAX; /* of 1 row, groups would be cut */
                    job.config.isa = isa;
                    job_heat(&job, n_hots[h]);
                    job_penalise(&job, 0.0f, 1e-3f);
                    int is_first = isa == HT_BASELINE && h == 0;
                    job_train(&job, EPOCHS, is_first ? parameters : others);
                    size_t n = (size_t)job_n_coordinates(&job);
                    for (size_t j = 0; !is_first && j < n; j++)
                        CHECK(others[j] == parameters[j]);
                    job_close(&job);
                }
}

static void several_workers_train_every_row_and_do_not_diverge(void)
{
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int option = 0; option < 8; option++) {
            job_t job;
            job_run_t run;
            if (!goes_with(o, option & 1))
                continue;
            open_job(&job, o, option & 1, option & 2 ? CLASSES : 0);
            job_heat(&job, option & 4 ? WIDTH + 1 : 0);
            job.config.n_workers = 3;
            job.config.averages_per_epoch = ht_optimizer_is_dual(o) ? 0 : 4;
            job_start(&run, &job);
            double first = 0.0, least = (double)INFINITY;
            for (int e = 0; e < EPOCHS; e++) {
                job_epoch(&run);
                CHECK(job_trained(&run) == ROWS);
                first = e == 0 ? job_loss(&run) : first;
                least = fmin(least, job_loss(&run));
            }
            CHECK(least < 1.1 * first); /* what is merged when is chance; it does not diverge */
            ht_stream_store(run.stream, parameters);
            for (int64_t j = 0; j < job_n_coordinates(&job); j++)
                CHECK(isfinite(parameters[j]));
            job_end(&run);
            job_close(&job);
        }
}

static void what_does_not_go_together_is_refused(void)
{
    enum { N_BROKEN = 16 };
    job_t dense, sparse;
    ht_stream_t *stream = NULL;
    ht_stream_config_t broken[N_BROKEN];
    ht_linear_t softmax; /* the targets are no classes */
    REQUIRE(ht_linear_init(&softmax, (ht_loss_t){HT_LOGISTIC, 0.0f}, CLASSES) == HT_OK);
    open_job(&dense, HT_SGD, 1, 0);
    open_job(&sparse, HT_SGD, 0, 0);
    for (int i = 0; i < N_BROKEN; i++)
        broken[i] = i < 10 ? dense.config : sparse.config;
    broken[0].inverse_share = dense.inverse_share;
    broken[1].optimizer = HT_MOMENTUM;
    broken[1].exact = 1;
    broken[2].optimizer = HT_ADAM;
    broken[2].exact = 1;
    broken[3].rows.values = NULL;
    broken[4].rows.n_hot = 16; /* and no parameter is */
    broken[5].model = NULL;
    broken[6].model = &softmax.model;
    broken[7].optimizer = HT_FTRL;
    broken[7].averages_per_epoch = 4;
    broken[8].optimizer = HT_OPTIMIZER_COUNT;
    job_heat(&dense, 9); /* no multiple of 16 features */
    broken[9] = dense.config;
    broken[10].optimizer = HT_MOMENTUM;
    broken[11].optimizer = HT_ADAM;
    broken[12].optimizer = HT_FTRL;
    broken[12].inverse_share = sparse.inverse_share;
    broken[13].optimizer = HT_ADAGRAD;
    broken[13].step.l2 = 1.0f; /* without shares */
    job_heat(&sparse, 10);
    broken[14] = sparse.config;
    broken[14].rows.hot = NULL;       /* then all elements are, and not all parameters */
    broken[15].l1_factor = l1_factor; /* of sparse rows, whose kernels do not read it */
    for (int i = 0; i < N_BROKEN; i++) {
        ht_err_t err = ht_stream_open(&broken[i], &stream);
        CHECK(err == HT_EINVAL);
    }
    CHECK(stream == NULL);
    job_close(&dense);
    job_close(&sparse);
}

int main(void)
{
    for (int j = 0; j <= WIDTH; j++)
        l1_factor[j] = j == 0 ? 7.0f : 0.2f + 0.4f * (float)(j % 6);
    penalties_take_the_factors_of_their_columns();
    what_does_not_go_together_is_refused();
    one_worker_does_what_a_sequential_loop_does();
    averages_are_weighted_means_of_iterates();
    a_worker_without_a_chunk_averages_its_part();
    one_worker_has_the_same_bits_whatever_is_hot();
    several_workers_train_every_row_and_do_not_diverge();
    FINISH();
}

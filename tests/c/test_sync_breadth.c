/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sync beyond sparse rows and one output: dense rows, softmax, every optimizer
 * and averages have bits that do not depend on the workers, and do what a loop
 * over batches in double does.
 */
#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "model/ht_linear.h"
#include "rows/ht_batches.h"
#include "run/ht_worker.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/naive.h"
#include "support/problem.h"

enum { ROWS = 300, WIDTH = 45, LONGEST = 20, CLASSES = 5, MOST = 32 * (WIDTH + 1) };
enum { N_BATCHES = 14, TASK_ROWS = 8, BATCH_TASKS = 8, MOST_WORKERS = 3 };

static ht_linear_t one, softmax;
static float start[MOST], inverse_share[WIDTH + 1], l1_factor[WIDTH + 1], first[MOST], found[MOST];
static const float lrs[] = {0.2f, 0.1f, 0.05f};

typedef struct {
    ht_sync_t *sync;
    uint32_t worker;
} part_t;

static ht_sync_config_t config_of(const problem_t *problem, ht_optimizer_t optimizer,
                                  const ht_linear_t *linear, int has_penalty)
{
    ht_sync_config_t config = {
        .rows = problem->rows,
        .model = &linear->model,
        .optimizer = optimizer,
        .step = {.decay1 = 0.9f, .decay2 = 0.99f, .beta = 1.0f},
        .isa = ht_vector_best_isa(),
        .n_workers = 1,
        .is_exact = 1,
        .intercept = 1,
        .seed = 5,
        .task_rows = TASK_ROWS,
        .batch_tasks = BATCH_TASKS,
        .lrs_per_epoch = 1,
        .n_epochs = 3,
        .lrs = lrs,
        .largest_value = 1.0,
        .bound = 1.5f,
        .is_bounded = 1,
    };
    if (ht_optimizer_is_dual(optimizer)) { /* z stands for w at one rate */
        static const float constant[] = {0.2f, 0.2f, 0.2f};
        config.lrs = constant;
    }
    if (!has_penalty)
        return config;
    config.step.l1 = 1e-3f;
    config.step.l2 = 1e-2f;
    if (ht_optimizer_has_shares(optimizer) && !ht_rows_is_dense(&problem->rows))
        config.inverse_share = inverse_share;
    return config;
}

static void *take_part(void *argument)
{
    part_t *part = argument;
    ht_worker_round(part->sync, part->worker);
    return NULL;
}

static double train(const ht_sync_config_t *config, float *parameters)
{
    ht_sync_t *sync;
    part_t parts[MOST_WORKERS];
    crew_t crew;
    ht_err_t err;
    REQUIRE(ht_sync_open(config, &sync) == HT_OK);
    ht_sync_load(sync, start);
    for (uint32_t w = 0; w < config->n_workers; w++)
        parts[w] = (part_t){sync, w};
    crew_start(&crew, (int)config->n_workers, take_part, parts, sizeof *parts);
    ht_sync_allow(sync, N_BATCHES);
    do
        err = ht_sync_await_rest(sync, ht_now_ns() + UINT64_C(20000000000));
    while (err == HT_EINTR);
    CHECK(err == HT_OK);
    ht_sync_progress_t progress = ht_sync_progress(sync);
    CHECK(progress.batches == N_BATCHES && progress.outcome == HT_OK && progress.refused == 0);
    ht_sync_store(sync, parameters);
    ht_sync_leave(sync);
    crew_join(&crew);
    ht_sync_close(sync);
    return progress.loss;
}

/* ---- in double ----------------------------------------------------------------- */

/* Sums of gradients times rows, of one batch; returns its loss. */
static double add_batch(const naive_model_t *model, const ht_batches_t *batches, uint64_t batch,
                        const ht_step_t *step, double *sums)
{
    double gradient[32], loss = 0.0;
    for (uint32_t task = 0; task < ht_batches_tasks(batches, batch, 1); task++) {
        int64_t ids[TASK_ROWS];
        int n = ht_batches_task(batches, batch, 1, task, ids);
        for (int k = 0; k < n; k++) {
            ht_row_t row = ht_row_at(model->rows, ids[k]);
            loss += naive_gradient(model, ids[k], step, gradient);
            for (int64_t o = 0; o < model->outputs; o++) {
                sums[o] += gradient[o];
                for (int64_t i = 0; i < row.n; i++)
                    sums[(ht_row_column(row, i) + 1) * model->outputs + o] +=
                        gradient[o] * (double)ht_row_value(row, i);
            }
        }
    }
    return loss;
}

static void step_coordinates(const naive_model_t *model, const double *sums, double n_rows,
                             const ht_step_t *step)
{
    ht_step_t slow = naive_free(step, model->optimizer, ht_rows_is_dense(model->rows));
    int stays = ht_optimizer_has_shares(model->optimizer);
    for (int64_t j = 0; j < (WIDTH + 1) * model->outputs; j++) {
        int64_t row = j / model->outputs;
        if (stays && sums[j] == 0.0)
            continue;
        ht_step_t mine =
            naive_by_factor(step, model->l1_factor == NULL ? 1.0 : (double)model->l1_factor[row]);
        naive_step(&model->entries[j], sums[j] / n_rows,
                   model->c == NULL ? 1.0 : (double)model->c[row], 1.0, row == 0 ? &slow : &mine,
                   model->optimizer);
    }
}

static double train_naively(const ht_sync_config_t *c, const ht_linear_t *linear, double *result)
{
    static naive_entry_t entries[MOST];
    double sums[MOST], loss = 0.0, weights = 0.0;
    naive_model_t model = {.rows = &c->rows,
                           .loss = linear->loss,
                           .classes = linear->classes,
                           .outputs = linear->model.n_outputs,
                           .optimizer = c->optimizer,
                           .has_intercept = 1,
                           .c = c->inverse_share,
                           .l1_factor = c->l1_factor,
                           .entries = entries};
    ht_batches_t batches = {.n_rows = ROWS,
                            .seed = c->seed,
                            .strip_rows = c->task_rows,
                            .batch_strips = c->batch_tasks};
    ht_batches_init(&batches);
    ht_step_t step = c->step;
    int64_t n = (WIDTH + 1) * model.outputs;
    double z_of_w = (double)step.beta / (double)c->lrs[0]; /* of a dual optimizer, of -1 */
    memset(result, 0, sizeof *result * (size_t)n);
    for (int64_t j = 0; j < n; j++) {
        entries[j] = (naive_entry_t){.w = start[j]};
        if (ht_optimizer_is_dual(c->optimizer))
            entries[j].a = -(double)start[j] * z_of_w;
    }
    for (uint64_t batch = 0; batch < N_BATCHES; batch++) {
        uint64_t each = batches.steps_per_epoch;
        memset(sums, 0, sizeof sums);
        step.lr = c->lrs[batch / each];
        step.l1_sum = (float)batch * c->step.l1;
        step.l2_sum = (float)batch * c->step.l2;
        step.power1 = (float)pow((double)step.decay1, (double)batch);
        step.power2 = (float)pow((double)step.decay2, (double)batch);
        /* Gradients are of the w that the last merge computed. */
        ht_step_t before = step;
        before.l1_sum = batch == 0 ? 0.0f : (float)(batch - 1) * c->step.l1;
        before.l2_sum = batch == 0 ? 0.0f : (float)(batch - 1) * c->step.l2;
        loss += add_batch(&model, &batches, batch, &before, sums);
        step_coordinates(&model, sums, (double)ht_batches_rows(&batches, batch, 1), &step);
        /* One average per step at most. */
        uint64_t of = c->averages_per_epoch < each ? c->averages_per_epoch : each;
        uint64_t number = (batch + 1) * of / each;
        if (number == batch * of / each)
            continue;
        double weight = naive_average_weight(number);
        weights += weight;
        for (int64_t j = 0; j < n; j++)
            result[j] += (entries[j].w - result[j]) * weight / weights;
    }
    step.l1_sum = N_BATCHES * c->step.l1;
    step.l2_sum = N_BATCHES * c->step.l2;
    for (int64_t j = 0; j < n && weights == 0.0; j++) {
        ht_step_t slow = naive_free(&step, c->optimizer, 1);
        double c1 = c->l1_factor == NULL ? 1.0 : (double)c->l1_factor[j / model.outputs];
        ht_step_t mine = naive_by_factor(&step, c1);
        result[j] = naive_w(&entries[j], j < model.outputs ? &slow : &mine, c->optimizer);
    }
    return loss;
}

/* ---- tests --------------------------------------------------------------------- */

static void check_run(ht_sync_config_t config, const ht_linear_t *linear)
{
    static double expected[MOST];
    int64_t outputs = linear->model.n_outputs;
    int64_t n = (WIDTH + 1) * outputs;
    uint64_t random = 3;
    for (int64_t j = 0; j < n; j++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int is_padding = linear->classes != 0 && j % outputs >= linear->classes;
        start[j] = is_padding ? 0.0f : (float)(random >> 40) * 0x1p-24f - 0.5f;
    }
    double loss = train(&config, first), expected_loss = train_naively(&config, linear, expected);
    CHECK_CLOSE(loss, expected_loss, 1e-4 * expected_loss);
    for (int64_t j = 0; j < n; j++) {
        CHECK_CLOSE(first[j], expected[j], 2e-4 * (1.0 + fabs(expected[j])));
        CHECK(linear->classes == 0 || j % outputs < linear->classes || first[j] == 0.0f);
    }
    for (uint32_t n_workers = 1; n_workers <= MOST_WORKERS; n_workers++)
        for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
            config.n_workers = n_workers;
            config.isa = isa;
            CHECK(train(&config, found) == loss);
            CHECK(memcmp(found, first, sizeof *found * (size_t)n) == 0);
        }
    config.is_exact = 0; /* floats in the order of tasks: nearly the same */
    (void)train(&config, found);
    for (int64_t j = 0; j < n; j++)
        CHECK_CLOSE(found[j], first[j], 1e-4);
}

/* Dual parameters are as old as the batch that last touched their group: in the
 * double loop, rows touch all. */
static void bits_are_of_the_formulas_whoever_works(const problem_t *problem,
                                                   const ht_linear_t *linear)
{
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int has_penalty = 0; has_penalty < 2; has_penalty++)
            if (!ht_optimizer_is_dual(o) || !has_penalty || ht_rows_is_dense(&problem->rows))
                check_run(config_of(problem, o, linear, has_penalty), linear);
}

/* Penalties of scaled columns: each takes its own factor. */
static void penalties_take_the_factors_of_their_columns(const problem_t *problem,
                                                        const ht_linear_t *linear)
{
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++) {
        ht_sync_config_t config = config_of(problem, o, linear, 1);
        int is_dense = ht_rows_is_dense(&problem->rows);
        if (!is_dense && (ht_optimizer_has_shares(o) || ht_optimizer_is_dual(o)))
            continue;
        config.l1_factor = l1_factor;
        check_run(config, linear);
    }
}

static void averages_are_weighted_means_of_what_batches_left(const problem_t *problem,
                                                             const ht_linear_t *linear)
{
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (uint32_t each = 2; !ht_optimizer_is_dual(o) && each <= 10; each += 4) {
            ht_sync_config_t config = config_of(problem, o, linear, 1);
            config.averages_per_epoch = each; /* an epoch has 5 steps */
            check_run(config, linear);
        }
}

static void what_does_not_go_together_is_refused(const problem_t *dense, const problem_t *sparse)
{
    enum { N_BROKEN = 10 };
    ht_sync_config_t broken[N_BROKEN];
    ht_sync_t *sync = NULL;
    for (int i = 0; i < N_BROKEN; i++)
        broken[i] = config_of(i < 4 ? dense : sparse, HT_SGD, &one, 0);
    broken[0].inverse_share = inverse_share;
    broken[1].rows.values = NULL;
    broken[2].model = NULL;
    broken[3].optimizer = HT_OPTIMIZER_COUNT;
    broken[4].optimizer = HT_FTRL;
    broken[4].inverse_share = inverse_share;
    broken[5].optimizer = HT_MOMENTUM; /* takes its penalty in every step */
    broken[5].inverse_share = inverse_share;
    broken[6].step.l1 = 1.0f; /* without shares */
    broken[7].optimizer = HT_FTRL;
    broken[7].averages_per_epoch = 1;
    broken[8].model = &softmax.model; /* the targets are no classes */
    broken[9].l1_factor = l1_factor;  /* the step reads shares */
    for (int i = 0; i < N_BROKEN; i++) {
        ht_err_t err = ht_sync_open(&broken[i], &sync);
        CHECK(err == HT_EINVAL);
    }
    CHECK(sync == NULL);
}

int main(void)
{
    problem_t dense, sparse;
    const ht_loss_t loss = {HT_LOGISTIC, 0.0f};
    REQUIRE(ht_linear_init(&one, loss, 0) == HT_OK);
    REQUIRE(ht_linear_init(&softmax, loss, CLASSES) == HT_OK);
    for (int j = 0; j <= WIDTH; j++) {
        inverse_share[j] = j == 0 ? 0.0f : 1.0f + (float)(j % 4);
        l1_factor[j] = j == 0 ? 7.0f : 0.2f + 0.4f * (float)(j % 6);
    }
    problem_open_dense(&dense, 81, ROWS, WIDTH, 1);
    problem_open(&sparse, 82, ROWS, WIDTH, LONGEST, 1, 1);
    what_does_not_go_together_is_refused(&dense, &sparse);
    bits_are_of_the_formulas_whoever_works(&dense, &one);
    bits_are_of_the_formulas_whoever_works(&sparse, &one);
    penalties_take_the_factors_of_their_columns(&dense, &one);
    penalties_take_the_factors_of_their_columns(&sparse, &one);
    averages_are_weighted_means_of_what_batches_left(&dense, &one);
    problem_set_classes(&dense, CLASSES);
    problem_set_classes(&sparse, CLASSES);
    bits_are_of_the_formulas_whoever_works(&dense, &softmax);
    bits_are_of_the_formulas_whoever_works(&sparse, &softmax);
    penalties_take_the_factors_of_their_columns(&dense, &softmax);
    averages_are_weighted_means_of_what_batches_left(&sparse, &softmax);
    problem_close(&dense);
    problem_close(&sparse);
    FINISH();
}

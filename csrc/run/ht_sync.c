/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "run/ht_sync_parts.h"

/* ---- opening ----------------------------------------------------------- */

typedef struct {
    size_t round, controls, tallies, credits, rates, words, values, shares, sums, marks;
    size_t redo, touched, ids, gradient, z, fetched; /* one per worker */
    int64_t padded;
    int n_arrays;
    ht_batches_t batches;
    uint32_t n_lanes, most_tasks, n_blocks, slot_rows, most_counting;
} sizes_t;

static sizes_t measure(const ht_sync_config_t *c)
{
    sizes_t s = {0};
    int64_t outputs = c->classes == 0 ? 1 : ht_softmax_outputs(c->classes);
    int64_t n = (c->rows.n_features + 1) * outputs;
    s.n_blocks = (uint32_t)((n + BLOCK - 1) / BLOCK);
    s.padded = (int64_t)s.n_blocks * BLOCK;
    s.batches = (ht_batches_t){
        .n_rows = (uint64_t)c->rows.n_rows,
        .seed = c->seed,
        .strip_rows = c->task_rows,
        .batch_strips = c->batch_tasks,
        .n_shares = c->is_exact ? 0 : c->n_workers,
    };
    ht_batches_init(&s.batches);
    /* A batch has no more shares than strips. */
    uint32_t shares = c->n_workers < c->batch_tasks ? c->n_workers : c->batch_tasks;
    s.n_lanes = c->is_exact ? 1 : shares;
    s.most_tasks = c->is_exact ? c->batch_tasks : shares;
    s.most_counting = shares; /* a worker without a task has no sums that count */
    uint32_t strips = c->is_exact ? 1 : (c->batch_tasks + shares - 1) / shares;
    s.slot_rows = strips * c->task_rows;
    s.round = ht_round_nbytes(c->n_workers, s.most_tasks, s.n_blocks + 1, 0);
    s.controls = 2 * sizeof(control_t);
    s.tallies = c->n_workers * sizeof(tally_t);
    s.credits = c->n_workers * sizeof(credit_t);
    s.rates = ht_rates_nbytes(c->n_epochs, c->lrs_per_epoch);
    s.words = HT_LINE * (4 + (size_t)c->n_workers);
    s.values = sizeof(float) * (size_t)s.padded;
    s.shares = c->inverse_share == NULL ? 0 : s.values;
    s.sums = (c->is_exact ? sizeof(int64_t) : sizeof(float)) * (size_t)s.padded;
    s.marks = (size_t)s.padded / HT_SUMS_GROUP;
    s.n_arrays = ht_sums_arrays(c->optimizer, c->averages_per_epoch > 0);
    s.redo = sizeof(float) * BLOCK * (size_t)s.n_arrays;
    s.touched = BLOCK / HT_SUMS_GROUP;
    s.ids = sizeof(int64_t) * s.slot_rows;
    s.gradient = sizeof(float) * (s.slot_rows + HT_GROUP_ROWS) * (size_t)outputs;
    s.z = sizeof(float) * HT_GROUP_ROWS * (size_t)outputs;
    s.fetched = ht_fetched_nbytes(&c->rows, HT_GROUP_ROWS);
    return s;
}

/* Penalties reach the coordinates by shares, where not every batch holds them all. */
static int has_what_penalties_need(const ht_sync_config_t *c)
{
    int has_penalty = c->step.l1 != 0.0f || c->step.l2 != 0.0f;
    int needs = !ht_rows_is_dense(&c->rows) && ht_optimizer_has_shares(c->optimizer);
    return c->inverse_share == NULL ? !(has_penalty && needs) : needs;
}

static int is_valid(const ht_sync_config_t *c)
{
    return c->n_workers >= 1 && c->n_workers <= HT_ROUND_WORKERS && c->rows.n_rows >= 1 &&
           c->rows.targets != NULL && c->rows.hot == NULL &&
           !(ht_rows_is_dense(&c->rows) && c->rows.values == NULL) && c->rows.n_features >= 1 &&
           c->rows.n_features < INT32_MAX / 4 && ht_loss_is_valid(c->loss) &&
           (c->classes == 0 || ht_softmax_is_valid(c->classes)) && c->optimizer >= 0 &&
           c->optimizer < HT_OPTIMIZER_COUNT && c->task_rows >= 1 &&
           c->task_rows <= HT_SYNC_TASK_ROWS && c->batch_tasks >= 1 &&
           c->batch_tasks <= HT_ROUND_TASKS && c->lrs != NULL && c->lrs_per_epoch >= 1 &&
           c->n_epochs >= 1 && measure(c).batches.steps_per_epoch <= HT_SYNC_STEPS / c->n_epochs &&
           !(ht_optimizer_is_dual(c->optimizer) && c->averages_per_epoch > 0) &&
           c->largest_value >= 0 && c->bound > 0 && isfinite(c->bound) &&
           has_what_penalties_need(c) && ht_sums_kernels(c->isa) != NULL;
}

size_t ht_sync_nbytes(const ht_sync_config_t *c)
{
    if (!is_valid(c))
        return 0;
    sizes_t s = measure(c);
    const size_t once[] = {s.round, s.controls, s.tallies, s.credits, s.rates, s.words, s.shares};
    const size_t each[] = {s.redo, s.touched, s.ids, s.gradient, s.z, s.fetched};
    size_t nbytes = 0;
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        nbytes += ht_segment_carved_nbytes(once[i]);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        nbytes += ht_segment_carved_nbytes(each[i]) * c->n_workers;
    nbytes += ht_segment_carved_nbytes(s.values) * (size_t)s.n_arrays;
    size_t lane = ht_segment_carved_nbytes(s.sums) + ht_segment_carved_nbytes(s.marks);
    return nbytes + lane * c->n_workers * s.n_lanes;
}

static ht_err_t fill(ht_sync_t *sync)
{
    const ht_sync_config_t *c = &sync->config;
    sizes_t s = measure(c);
    ht_err_t err = ht_linear_init_outputs(&sync->linear, &c->rows, c->loss, c->classes, c->isa);
    if (err == HT_OK)
        err = ht_segment_create(ht_sync_nbytes(c), &sync->segment);
    if (err != HT_OK)
        return err;
    ht_segment_t *segment = sync->segment;
    sync->round = ht_segment_carve(segment, s.round);
    sync->controls = ht_segment_carve(segment, s.controls);
    sync->tallies = ht_segment_carve(segment, s.tallies);
    sync->credits = ht_segment_carve(segment, s.credits);
    sync->rates = ht_segment_carve(segment, s.rates);
    ht_rates_init(sync->rates, c->n_epochs, c->lrs_per_epoch, c->lrs);
    char *words = ht_segment_carve(segment, s.words);
    sync->allowed = (ht_word64_t *)(void *)words;
    sync->leaving = (ht_word32_t *)(void *)(words + HT_LINE);
    sync->rested = (ht_word32_t *)(void *)(words + 2 * HT_LINE);
    sync->changed = (ht_word32_t *)(void *)(words + 3 * HT_LINE);
    sync->slowed = (ht_word32_t *)(void *)(words + 4 * HT_LINE);
    sync->n_coordinates = (c->rows.n_features + 1) * sync->linear.outputs;
    sync->n_arrays = s.n_arrays;
    for (int k = 0; k < s.n_arrays; k++)
        sync->arrays[k] = ht_segment_carve(segment, s.values);
    if (c->inverse_share != NULL) {
        sync->shares = ht_segment_carve(segment, s.shares);
        for (int64_t j = 0; j < sync->n_coordinates; j++)
            sync->shares[j] = c->inverse_share[j / sync->linear.outputs];
    }
    for (uint32_t k = 0; k < c->n_workers * s.n_lanes; k++)
        sync->sums[k] = (ht_sums_t){
            .sums = ht_segment_carve(segment, s.sums),
            .marks = ht_segment_carve(segment, s.marks),
        };
    sync->batches = s.batches;
    sync->n_lanes = s.n_lanes;
    sync->n_blocks = s.n_blocks;
    sync->add = ht_linear_add(c->isa, c->is_exact);
    sync->kernels = ht_sums_kernels(c->isa);
    err = ht_round_init(sync->round, c->n_workers, s.most_tasks, s.n_blocks + 1, 0,
                        ht_batches_tasks(&sync->batches, 0));
    for (uint32_t w = 0; w < c->n_workers; w++) {
        worker_t *worker = &sync->workers[w];
        ht_round_self_init(&worker->self, sync->round, w);
        worker->redo = ht_segment_carve(segment, s.redo);
        worker->touched = ht_segment_carve(segment, s.touched);
        worker->slot.ids = ht_segment_carve(segment, s.ids);
        worker->slot.gradient = ht_segment_carve(segment, s.gradient);
        worker->z = ht_segment_carve(segment, s.z);
        worker->counting = sync->counting + (size_t)w * s.most_counting;
        worker->linear = sync->linear;
        if (s.fetched > 0) {
            void *memory = ht_segment_carve(segment, s.fetched);
            ht_fetched_open(&worker->fetched, &c->rows, HT_GROUP_ROWS, memory);
            worker->linear.rows = worker->fetched.rows;
        }
    }
    /* relaxed: nobody else has it yet.  Step 1 reads controls[1]. */
    ht_store_relaxed(&sync->controls[1].bound, bits_of((double)c->bound));
    return err;
}

ht_err_t ht_sync_open(const ht_sync_config_t *config, ht_sync_t **out)
{
    if (!is_valid(config) ||
        (config->classes != 0 &&
         ht_softmax_check(config->classes, config->rows.n_rows, config->rows.targets) != HT_OK))
        return HT_EINVAL;
    ht_sync_t *sync = calloc(1, sizeof *sync);
    if (sync == NULL)
        return -ENOMEM;
    sync->config = *config;
    sync->config.rows.n_hot =
        config->rows.n_features; /* for the dot product all elements are in one vector */
    sizes_t s = measure(config);
    uint64_t steps = s.batches.steps_per_epoch, each = config->averages_per_epoch;
    if (each > steps) { /* an average per step, then, and averages are counted in steps */
        sync->config.averages_per_epoch = (uint32_t)steps;
        sync->config.average_from = (uint32_t)(config->average_from * steps / each);
    }
    sync->workers = calloc(config->n_workers, sizeof *sync->workers);
    sync->sums = calloc((size_t)config->n_workers * s.n_lanes, sizeof *sync->sums);
    sync->counting = calloc((size_t)config->n_workers * s.most_counting, sizeof *sync->counting);
    ht_err_t err = -ENOMEM;
    if (sync->workers != NULL && sync->sums != NULL && sync->counting != NULL)
        err = fill(sync);
    if (err != HT_OK) {
        ht_sync_close(sync);
        return err;
    }
    *out = sync;
    return HT_OK;
}

void ht_sync_close(ht_sync_t *sync)
{
    if (sync == NULL)
        return;
    ht_segment_detach(sync->segment);
    free(sync->workers);
    free(sync->sums);
    free(sync->counting);
    free(sync);
}

ht_round_t *ht_sync_round(ht_sync_t *sync)
{
    return sync->round;
}

uint64_t ht_sync_steps_per_epoch(const ht_sync_t *sync)
{
    return sync->batches.steps_per_epoch;
}

uint64_t ht_sync_rows_until(const ht_sync_t *sync, uint64_t batches)
{
    return ht_batches_rows_until(&sync->batches, batches);
}

void ht_sync_load(ht_sync_t *sync, const float *parameters)
{
    memcpy(sync->arrays[0], parameters, sizeof *parameters * (size_t)sync->n_coordinates);
    if (!ht_optimizer_is_dual(sync->config.optimizer))
        return;
    ht_step_t step = step_at(sync, 0);
    for (int64_t j = 0; j < sync->n_coordinates; j++)
        sync->arrays[1][j] = ht_optimizer_to_dual(parameters[j], &step);
}

void ht_sync_store(ht_sync_t *sync, float *parameters)
{
    uint64_t batches = ht_sync_progress(sync).batches;
    int has_average = averages_until(sync, batches) > sync->config.average_from;
    const float *from = sync->arrays[has_average ? sync->n_arrays - 1 : 0];
    memcpy(parameters, from, sizeof *parameters * (size_t)sync->n_coordinates);
    if (!ht_optimizer_is_dual(sync->config.optimizer))
        return;
    /* A coordinate's w is as old as the last batch that touched it. */
    ht_step_t step = step_at(sync, batches);
    for (int64_t j = sync->linear.outputs; j < sync->n_coordinates; j++)
        parameters[j] = ht_optimizer_from_dual(sync->arrays[1][j], sync->arrays[2][j], &step);
}

const ht_sync_report_t *ht_sync_report(const ht_sync_t *sync, uint32_t worker)
{
    return &sync->workers[worker].report;
}

uint64_t ht_sync_rows(ht_sync_t *sync, uint32_t worker)
{
    /* relaxed: see credit_t. */
    return ht_load_relaxed(&sync->credits[worker].rows);
}

const ht_round_self_t *ht_sync_self(const ht_sync_t *sync, uint32_t worker)
{
    return &sync->workers[worker].self;
}

void ht_sync_set_rates(ht_sync_t *sync, uint32_t epoch, const float *lrs)
{
    ht_rates_write(sync->rates, epoch - 1, lrs);
}

/* ---- the supervisor ----------------------------------------------------- */

void ht_sync_allow(ht_sync_t *sync, uint64_t batches)
{
    ht_phase_t phase;
    uint32_t n_tasks;
    /* relaxed: handed over by the bell. */
    ht_store_relaxed(sync->allowed, batches);
    (void)ht_round_now(sync->round, &phase, &n_tasks);
    ht_round_wake(sync->round, ht_round_wanted(n_tasks));
}

void ht_sync_stop(ht_sync_t *sync)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(sync->round, &phase, NULL);
    uint64_t end = state_at(sync, step).batches + 1;
    if (end < ht_load_relaxed(sync->allowed)) /* relaxed: own word */
        ht_sync_allow(sync, end);
}

void ht_sync_leave(ht_sync_t *sync)
{
    /* relaxed: handed over by the bell. */
    ht_store_relaxed(sync->leaving, 1u);
    ht_round_wake(sync->round, HT_ROUND_WORKERS);
}

ht_err_t ht_sync_await_rest(ht_sync_t *sync, uint64_t deadline_ns)
{
    for (;;) {
        /* acquire, pairs with the addition in advance.  Before the look at the phase:
         * a change after it raises the word once more. */
        uint32_t rested = ht_load_acquire(HT_PAIR_STEP, sync->rested);
        ht_phase_t phase;
        uint32_t step = ht_round_now(sync->round, &phase, NULL);
        state_t state = state_at(sync, step);
        int is_done = phase == HT_WORK && !is_allowed(sync, &state);
        /* Again: while this thread slept, the state may have become a later step's. */
        if (is_done && ht_round_now(sync->round, &phase, NULL) == step && phase == HT_WORK)
            return HT_OK;
        ht_err_t err = ht_futex_wait(sync->rested, rested, deadline_ns);
        if (err != HT_OK)
            return err;
    }
}

ht_sync_progress_t ht_sync_progress(ht_sync_t *sync)
{
    ht_phase_t phase;
    uint32_t step = ht_round_now(sync->round, &phase, NULL);
    state_t state = state_at(sync, step);
    return (ht_sync_progress_t){
        .batches = state.batches,
        .refused = state.refused,
        .loss = state.loss,
        /* relaxed: see `changed`. */
        .outcome = state.outcome != HT_OK && ht_load_relaxed(sync->changed) != 0 ? HT_ECHANGED
                                                                                 : state.outcome,
        .step = step,
    };
}

void ht_sync_slow(ht_sync_t *sync, uint32_t worker, double factor)
{
    uint32_t on_top = (uint32_t)((factor - 1.0) * 1000.0);
    /* relaxed: for tests, which do not mind when it is seen. */
    ht_store_relaxed((ht_word32_t *)(void *)((char *)sync->slowed + worker * HT_LINE), on_top);
}

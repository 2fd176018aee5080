/* SPDX-License-Identifier: BSD-3-Clause */
#include "ht_sync.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ht_futex.h"
#include "ht_random.h"
#include "ht_segment.h"

enum { BLOCK = 2048 }; /* coordinates; a multiple of HT_GRID_SCALE */

/* What a step starts from.  Step s reads control[s % 2], and its merge writes
 * the other one, as one more block.  Relaxed throughout: handed over by the
 * phase, and who reads one too late loses his next compare-and-swap. */
typedef struct {
    HT_ALIGNED ht_word64_t batches;
    ht_word64_t refused;
    ht_word64_t loss;  /* bits of a double: of all rows so far */
    ht_word64_t bound; /* bits of a double; of |gradient| */
    ht_word64_t outcome;
} control_t;

typedef struct {
    uint64_t batches, refused;
    double loss, bound;
    ht_err_t outcome;
} state_t;

/* Losses are summed on a grid, too, so many bits below the bound squared; the
 * loss of a task is cut off where a sum of the most tasks could overflow. */
enum { LOSS_BITS = 26, LOSS_MOST_BITS = 47 };

/* A worker's part of what a step adds up; relaxed as control_t. */
typedef struct {
    HT_ALIGNED ht_word64_t loss;
    ht_word64_t largest; /* bits of a double: |gradient|, infinite when not finite */
} tally_t;

/* The result of the task in hand. */
typedef struct {
    int64_t *ids;
    float *gradient;
    int n_rows;
    int64_t loss;
    double largest;
} slot_t;

typedef struct {
    ht_round_self_t self;
    state_t state; /* of self.step */
    slot_t slot;
    uint32_t task;
    uint32_t idle_step; /* where there was nothing more to do for this worker */
    ht_phase_t idle_phase;
    uint32_t judged; /* the step that `verdict` is of */
    state_t verdict; /* what the step leads to */
    int is_merging;  /* the step is neither refused nor broken */
    float *redo;
    uint8_t *touched;
    ht_sync_report_t report;
} worker_t;

struct ht_sync {
    ht_sync_config_t config;
    ht_segment_t *segment;
    ht_round_t *round;
    control_t *controls; /* 2 */
    tally_t *tallies;    /* n_workers */
    ht_word64_t *allowed;
    ht_word32_t *leaving;
    ht_word32_t *slowed;         /* per worker: thousandths on top */
    ht_sums_t *sums;             /* [worker * n_lanes + lane] */
    float *w, *squares, *shares; /* shares: NULL without a penalty; all padded */
    worker_t *workers;
    ht_dot_fn_t dot;
    const ht_grid_kernels_t *kernels;
    int64_t n_coordinates;
    uint64_t n_strips; /* full ones; a shorter one is the last of each epoch */
    uint64_t steps_per_epoch;
    double loss_unit;  /* losses are summed on a grid, too */
    uint32_t n_lanes;  /* sums per worker */
    uint32_t n_blocks; /* of coordinates; the control is one more */
};

/* ---- opening ----------------------------------------------------------- */

typedef struct {
    size_t round, controls, tallies, words, values, shares, sums, marks, redo, touched, ids,
        gradient;
    int64_t padded;
    uint64_t n_strips, steps_per_epoch, rest;
    uint32_t n_lanes, most_tasks, n_blocks, slot_rows;
} sizes_t;

static sizes_t measure(const ht_sync_config_t *c)
{
    sizes_t s = {0};
    int64_t n = c->rows.n_features + 1;
    s.n_blocks = (uint32_t)((n + BLOCK - 1) / BLOCK);
    s.padded = (int64_t)s.n_blocks * BLOCK;
    s.n_strips = (uint64_t)c->rows.n_rows / c->task_rows;
    uint64_t rest = (uint64_t)c->rows.n_rows % c->task_rows;
    s.steps_per_epoch = (s.n_strips + (rest != 0) + c->batch_tasks - 1) / c->batch_tasks;
    s.n_lanes = c->is_exact ? 1 : c->n_workers;
    s.most_tasks = c->is_exact ? c->batch_tasks : c->n_workers;
    uint32_t strips = c->is_exact ? 1 : (c->batch_tasks + c->n_workers - 1) / c->n_workers;
    s.slot_rows = strips * c->task_rows;
    s.round = ht_round_nbytes(c->n_workers, s.most_tasks, s.n_blocks + 1, 0);
    s.controls = 2 * sizeof(control_t);
    s.tallies = c->n_workers * sizeof(tally_t);
    s.words = HT_LINE * (2 + (size_t)c->n_workers);
    s.values = sizeof(float) * (size_t)s.padded;
    s.shares = c->inverse_share == NULL ? 0 : s.values;
    s.sums = (c->is_exact ? sizeof(int64_t) : sizeof(float)) * (size_t)s.padded;
    s.marks = (size_t)s.padded / HT_GRID_GROUP;
    s.redo = sizeof(float) * BLOCK * (size_t)ht_optimizer_arrays(c->optimizer);
    s.touched = BLOCK / HT_GRID_GROUP;
    s.ids = sizeof(int64_t) * s.slot_rows;
    s.gradient = sizeof(float) * (s.slot_rows + HT_GROUP_ROWS);
    return s;
}

size_t ht_sync_nbytes(const ht_sync_config_t *c)
{
    sizes_t s = measure(c);
    const size_t once[] = {s.round, s.controls, s.tallies, s.words, s.values, s.values, s.shares};
    const size_t each[] = {s.redo, s.touched, s.ids, s.gradient};
    size_t nbytes = 0;
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        nbytes += ht_segment_carved_nbytes(once[i]);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        nbytes += ht_segment_carved_nbytes(each[i]) * c->n_workers;
    size_t lane = ht_segment_carved_nbytes(s.sums) + ht_segment_carved_nbytes(s.marks);
    return nbytes + lane * c->n_workers * s.n_lanes;
}

static int is_valid(const ht_sync_config_t *c)
{
    return c->n_workers >= 1 && c->n_workers <= HT_ROUND_WORKERS && c->rows.n_rows >= 1 &&
           c->rows.targets != NULL && c->rows.hot == NULL && c->rows.n_features >= 1 &&
           c->rows.n_features < INT32_MAX / 4 && c->loss >= 0 && c->loss < HT_LOSS_COUNT &&
           c->optimizer >= 0 && c->optimizer < HT_OPTIMIZER_COUNT && c->task_rows >= 1 &&
           c->task_rows <= HT_SYNC_TASK_ROWS && c->batch_tasks >= 1 &&
           c->batch_tasks <= HT_ROUND_TASKS && c->lrs != NULL && c->lrs_per_epoch >= 1 &&
           c->n_epochs >= 1 && measure(c).steps_per_epoch <= HT_SYNC_STEPS / c->n_epochs &&
           c->largest_value >= 0 && c->bound > 0 && isfinite(c->bound) &&
           (c->inverse_share != NULL || (c->l1 == 0.0f && c->l2 == 0.0f)) &&
           ht_grid_kernels(c->isa) != NULL && ht_hogwild_kernels(c->isa) != NULL;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t tasks_at(const ht_sync_t *sync, uint64_t batches);

static ht_err_t fill(ht_sync_t *sync)
{
    const ht_sync_config_t *c = &sync->config;
    sizes_t s = measure(c);
    ht_err_t err = ht_segment_create(ht_sync_nbytes(c), &sync->segment);
    if (err != HT_OK)
        return err;
    ht_segment_t *segment = sync->segment;
    sync->round = ht_segment_carve(segment, s.round);
    sync->controls = ht_segment_carve(segment, s.controls);
    sync->tallies = ht_segment_carve(segment, s.tallies);
    char *words = ht_segment_carve(segment, s.words);
    sync->allowed = (ht_word64_t *)(void *)words;
    sync->leaving = (ht_word32_t *)(void *)(words + HT_LINE);
    sync->slowed = (ht_word32_t *)(void *)(words + 2 * HT_LINE);
    sync->w = ht_segment_carve(segment, s.values);
    sync->squares = ht_segment_carve(segment, s.values);
    if (c->inverse_share != NULL) {
        sync->shares = ht_segment_carve(segment, s.shares);
        size_t n = (size_t)c->rows.n_features + 1;
        memcpy(sync->shares, c->inverse_share, sizeof *c->inverse_share * n);
    }
    for (uint32_t k = 0; k < c->n_workers * s.n_lanes; k++)
        sync->sums[k] = (ht_sums_t){
            .sums = ht_segment_carve(segment, s.sums),
            .marks = ht_segment_carve(segment, s.marks),
        };
    sync->n_coordinates = c->rows.n_features + 1;
    sync->n_strips = s.n_strips;
    sync->steps_per_epoch = s.steps_per_epoch;
    sync->n_lanes = s.n_lanes;
    sync->n_blocks = s.n_blocks;
    sync->dot = ht_hogwild_kernels(c->isa)->dot_racy;
    sync->kernels = ht_grid_kernels(c->isa);
    for (uint32_t w = 0; w < c->n_workers; w++) {
        worker_t *worker = &sync->workers[w];
        ht_round_self_init(&worker->self, sync->round, w);
        worker->redo = ht_segment_carve(segment, s.redo);
        worker->touched = ht_segment_carve(segment, s.touched);
        worker->slot.ids = ht_segment_carve(segment, s.ids);
        worker->slot.gradient = ht_segment_carve(segment, s.gradient);
    }
    /* relaxed: nobody else has it yet.  Step 1 reads controls[1]. */
    ht_store_relaxed(&sync->controls[1].bound, bits_of((double)c->bound));
    return ht_round_init(sync->round, c->n_workers, s.most_tasks, s.n_blocks + 1, 0,
                         tasks_at(sync, 0));
}

ht_err_t ht_sync_open(const ht_sync_config_t *config, ht_sync_t **out)
{
    if (!is_valid(config))
        return HT_EINVAL;
    ht_sync_t *sync = calloc(1, sizeof *sync);
    if (sync == NULL)
        return -ENOMEM;
    sync->config = *config;
    sync->config.rows.n_hot = 1; /* for the dot product all elements are in one vector */
    sizes_t s = measure(config);
    sync->workers = calloc(config->n_workers, sizeof *sync->workers);
    sync->sums = calloc((size_t)config->n_workers * s.n_lanes, sizeof *sync->sums);
    ht_err_t err = sync->workers == NULL || sync->sums == NULL ? -ENOMEM : fill(sync);
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
    free(sync);
}

ht_round_t *ht_sync_round(ht_sync_t *sync)
{
    return sync->round;
}

uint64_t ht_sync_steps_per_epoch(const ht_sync_t *sync)
{
    return sync->steps_per_epoch;
}

void ht_sync_load(ht_sync_t *sync, const float *parameters)
{
    memcpy(sync->w, parameters, sizeof *parameters * (size_t)sync->n_coordinates);
}

void ht_sync_store(const ht_sync_t *sync, float *parameters)
{
    memcpy(parameters, sync->w, sizeof *parameters * (size_t)sync->n_coordinates);
}

const ht_sync_report_t *ht_sync_report(const ht_sync_t *sync, uint32_t worker)
{
    return &sync->workers[worker].report;
}

const ht_round_self_t *ht_sync_self(const ht_sync_t *sync, uint32_t worker)
{
    return &sync->workers[worker].self;
}

/* ---- which rows, at which rate ------------------------------------------ */

/* Strips of the batch, of all that an epoch has. */
static void strips_of_batch(const ht_sync_t *sync, uint64_t batches, uint64_t *first,
                            uint64_t *last)
{
    uint64_t all = sync->n_strips +
                   ((uint64_t)sync->config.rows.n_rows > sync->n_strips * sync->config.task_rows);
    *first = batches % sync->steps_per_epoch * sync->config.batch_tasks;
    *last = *first + sync->config.batch_tasks;
    if (*last > all)
        *last = all;
}

static uint32_t tasks_at(const ht_sync_t *sync, uint64_t batches)
{
    uint64_t first, last;
    strips_of_batch(sync, batches, &first, &last);
    uint64_t n = last - first;
    return (uint32_t)(sync->config.is_exact || n < sync->config.n_workers ? n
                                                                          : sync->config.n_workers);
}

static uint64_t rows_of_batch(const ht_sync_t *sync, uint64_t batches)
{
    uint64_t first, last;
    strips_of_batch(sync, batches, &first, &last);
    uint64_t rows = last * sync->config.task_rows;
    uint64_t all = (uint64_t)sync->config.rows.n_rows;
    return (rows < all ? rows : all) - first * sync->config.task_rows;
}

uint64_t ht_sync_rows_until(const ht_sync_t *sync, uint64_t batches)
{
    uint64_t rows = (uint64_t)sync->config.rows.n_rows * (batches / sync->steps_per_epoch);
    uint64_t rest = batches % sync->steps_per_epoch; /* never the last, shorter batch */
    return rows + rest * sync->config.batch_tasks * sync->config.task_rows;
}

/* The row numbers of a task; returns how many. */
static int rows_of_task(const ht_sync_t *sync, uint64_t batches, uint32_t task, int64_t *ids)
{
    const ht_sync_config_t *c = &sync->config;
    uint64_t key = ht_random_u64(c->seed, batches / sync->steps_per_epoch + 1);
    uint64_t first, last;
    strips_of_batch(sync, batches, &first, &last);
    uint64_t n_strips = last - first, n_tasks = tasks_at(sync, batches);
    uint64_t from = first + n_strips * task / n_tasks;
    uint64_t to = first + n_strips * (task + 1) / n_tasks;
    int n = 0;
    for (uint64_t k = from; k < to; k++) {
        uint64_t strip = k < sync->n_strips ? ht_random_permute(key, sync->n_strips, k) : k;
        int64_t row = (int64_t)(strip * c->task_rows);
        for (uint32_t i = 0; i < c->task_rows && row < c->rows.n_rows; i++)
            ids[n++] = row++;
    }
    return n;
}

static float lr_at(const ht_sync_t *sync, uint64_t batches)
{
    const ht_sync_config_t *c = &sync->config;
    uint64_t epoch = batches / sync->steps_per_epoch;
    uint64_t share = batches % sync->steps_per_epoch * c->lrs_per_epoch / sync->steps_per_epoch;
    return c->lrs[(epoch < c->n_epochs ? epoch : c->n_epochs - 1) * c->lrs_per_epoch + share];
}

/* ---- the supervisor ----------------------------------------------------- */

static state_t state_at(ht_sync_t *sync, uint32_t step)
{
    control_t *control = &sync->controls[step % 2];
    return (state_t){
        .batches = ht_load_relaxed(&control->batches),
        .refused = ht_load_relaxed(&control->refused),
        .loss = double_of(ht_load_relaxed(&control->loss)),
        .bound = double_of(ht_load_relaxed(&control->bound)),
        .outcome = (ht_err_t)ht_load_relaxed(&control->outcome),
    };
}

static int is_allowed(ht_sync_t *sync, const state_t *state)
{
    /* relaxed: who sees it late works on, or is woken. */
    return state->outcome == HT_OK && state->batches < ht_load_relaxed(sync->allowed);
}

void ht_sync_allow(ht_sync_t *sync, uint64_t batches)
{
    /* relaxed: handed over by the bell. */
    ht_store_relaxed(sync->allowed, batches);
    ht_round_wake(sync->round);
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
    ht_round_wake(sync->round);
}

ht_err_t ht_sync_await_rest(ht_sync_t *sync, uint64_t deadline_ns)
{
    ht_round_self_t self; /* for its patience alone */
    ht_round_self_init(&self, sync->round, 0);
    self.task_ns = HT_FUTEX_NAP_NS;
    self.idle_ns = 1; /* sleep at once: the workers need the cores */
    for (;;) {
        uint32_t bell = ht_round_bell(sync->round);
        ht_phase_t phase;
        uint32_t step = ht_round_now(sync->round, &phase, NULL);
        state_t state = state_at(sync, step);
        int is_done = phase == HT_WORK && !is_allowed(sync, &state);
        /* Again: while this thread slept, the state may have become a later step's. */
        if (is_done && ht_round_now(sync->round, &phase, NULL) == step && phase == HT_WORK)
            return HT_OK;
        ht_err_t err = ht_round_await(&self, bell, deadline_ns);
        if (err != HT_OK)
            return err;
        self.idle_ns = 1;
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
        .outcome = state.outcome,
        .step = step,
    };
}

void ht_sync_slow(ht_sync_t *sync, uint32_t worker, double factor)
{
    uint32_t on_top = (uint32_t)((factor - 1.0) * 1000.0);
    /* relaxed: for tests, which do not mind when it is seen. */
    ht_store_relaxed((ht_word32_t *)(void *)((char *)sync->slowed + worker * HT_LINE), on_top);
}

static uint32_t slowed(ht_sync_t *sync, uint32_t worker)
{
    /* relaxed: see ht_sync_slow. */
    return ht_load_relaxed((ht_word32_t *)(void *)((char *)sync->slowed + worker * HT_LINE));
}

/* ---- work ---------------------------------------------------------------- */

static ht_sums_t *sums_of(ht_sync_t *sync, uint32_t worker, uint32_t lane)
{
    return &sync->sums[(size_t)worker * sync->n_lanes + lane];
}

/* Takes part in the current step.  HT_EEND: none is allowed. */
static ht_err_t enter(ht_sync_t *sync, worker_t *me)
{
    ht_round_enter(&me->self);
    me->state = state_at(sync, me->self.step);
    if (me->self.is_fresh) {
        uint32_t worker = me->self.worker;
        for (uint32_t lane = 0; lane < sync->n_lanes; lane++)
            ht_grid_clear(sums_of(sync, worker, lane), sync->n_coordinates, sync->config.is_exact);
        /* relaxed: see tally_t. */
        ht_store_relaxed(&sync->tallies[worker].loss, 0u);
        ht_store_relaxed(&sync->tallies[worker].largest, bits_of(0.0));
        me->report.steps++;
    }
    return me->self.phase == HT_WORK && !is_allowed(sync, &me->state) ? HT_EEND : HT_OK;
}

static ht_err_t note_idle(worker_t *me)
{
    me->idle_step = me->self.step;
    me->idle_phase = me->self.phase;
    return HT_EEND;
}

ht_err_t ht_sync_claim(ht_sync_t *sync, uint32_t worker, uint32_t *task)
{
    worker_t *me = &sync->workers[worker];
    if (enter(sync, me) != HT_OK || me->self.phase != HT_WORK)
        return HT_EEND;
    if (ht_round_claim(&me->self, task) != HT_OK)
        return note_idle(me);
    me->task = *task;
    return HT_OK;
}

/* The largest |gradient|; infinite when one is infinite or NaN. */
static double largest_of(const float *gradient, int n)
{
    float largest = 0.0f;
    int finite = 1;
    for (int k = 0; k < n; k++) {
        float size = fabsf(gradient[k]);
        finite &= size <= 3.4e38f;
        largest = size > largest ? size : largest;
    }
    return finite ? (double)largest : (double)INFINITY;
}

/* Gradients of up to HT_GROUP_ROWS rows; returns the sum of their losses. */
static double compute_group(const ht_sync_t *sync, const int64_t *ids, int n, float *gradient)
{
    const ht_sync_config_t *c = &sync->config;
    ht_view_t view = {sync->w + 1, NULL, c->intercept ? sync->w : NULL};
    float z[HT_GROUP_ROWS] = {0}, y[HT_GROUP_ROWS] = {0}, weight[HT_GROUP_ROWS];
    sync->dot(&c->rows, ids, n, &view, 1, z);
    for (int k = 0; k < n; k++)
        y[k] = c->rows.targets[ids[k]];
    ht_loss_gradient(c->loss, n, z, y, gradient);
    if (c->rows.weights == NULL)
        return ht_loss_sum(c->loss, n, z, y, NULL);
    for (int k = 0; k < n; k++) {
        weight[k] = c->rows.weights[ids[k]];
        gradient[k] *= weight[k];
    }
    return ht_loss_sum(c->loss, n, z, y, weight);
}

/* A power of two. */
static double loss_unit(const state_t *state)
{
    int exponent;
    (void)frexp(state->bound, &exponent);
    return ldexp(1.0, 2 * exponent - LOSS_BITS);
}

static void spin_until(uint64_t ns)
{
    while (ht_now_ns() < ns)
        ;
}

void ht_sync_compute(ht_sync_t *sync, uint32_t worker, uint32_t task)
{
    worker_t *me = &sync->workers[worker];
    slot_t *slot = &me->slot;
    uint64_t begin = ht_now_ns();
    slot->n_rows = rows_of_task(sync, me->state.batches, task, slot->ids);
    double loss = 0.0;
    for (int i = 0; i < slot->n_rows; i += HT_GROUP_ROWS) {
        int n = slot->n_rows - i < HT_GROUP_ROWS ? slot->n_rows - i : HT_GROUP_ROWS;
        loss += compute_group(sync, slot->ids + i, n, slot->gradient + i);
        if (i == 0)
            ht_point_pass(ht_round_points(sync->round), HT_IN_COMPUTING, worker);
    }
    slot->largest = isfinite(loss) ? largest_of(slot->gradient, slot->n_rows) : (double)INFINITY;
    double units = loss / loss_unit(&me->state), most = ldexp(1.0, LOSS_MOST_BITS);
    slot->loss = (int64_t)rint(isfinite(loss) && units < most ? units : most);
    uint64_t end = ht_now_ns();
    if (slowed(sync, worker) != 0) {
        spin_until(end + (end - begin) * slowed(sync, worker) / 1000);
        end = ht_now_ns();
    }
    me->report.compute_ns += end - begin;
}

/* The unit of the grid before scales, a power of two. */
static double unit_of(const ht_sync_t *sync, const state_t *state)
{
    double largest = state->bound * sync->config.largest_value;
    if (!(largest > 0.0))
        largest = 1.0;
    return ldexp(1.0, ht_grid_exponent(largest, rows_of_batch(sync, state->batches)));
}

static void add_slot(ht_sync_t *sync, uint32_t worker)
{
    const ht_sync_config_t *c = &sync->config;
    worker_t *me = &sync->workers[worker];
    const slot_t *slot = &me->slot;
    ht_sums_t *sums = sums_of(sync, worker, c->is_exact ? 0 : me->task);
    ht_grid_add_fn_t add = sync->kernels->add_racy[c->is_exact != 0];
    double inverse_unit = c->is_exact ? 1.0 / unit_of(sync, &me->state) : 1.0;
    for (int i = 0; i < slot->n_rows; i += HT_GROUP_ROWS) {
        int n = slot->n_rows - i < HT_GROUP_ROWS ? slot->n_rows - i : HT_GROUP_ROWS;
        add(sums, &c->rows, slot->ids + i, n, slot->gradient + i, c->intercept, inverse_unit,
            c->scales);
        if (i == 0)
            ht_point_pass(ht_round_points(sync->round), HT_IN_ADDING, worker);
    }
    tally_t *tally = &sync->tallies[worker];
    /* relaxed: own words. */
    ht_store_relaxed(&tally->loss, ht_load_relaxed(&tally->loss) + (uint64_t)slot->loss);
    if (slot->largest > double_of(ht_load_relaxed(&tally->largest)))
        ht_store_relaxed(&tally->largest, bits_of(slot->largest));
}

ht_err_t ht_sync_commit(ht_sync_t *sync, uint32_t worker)
{
    worker_t *me = &sync->workers[worker];
    ht_err_t err = ht_round_commit(&me->self);
    if (err != HT_OK)
        return err;
    uint64_t begin = ht_now_ns();
    add_slot(sync, worker);
    /* Noted before it counts: the step may be over at once. */
    me->report.rows += (uint64_t)me->slot.n_rows;
    me->report.compute_ns += ht_now_ns() - begin;
    err = ht_round_added(&me->self);
    if (err != HT_OK)
        me->report.rows -= (uint64_t)me->slot.n_rows;
    return err;
}

/* ---- merge --------------------------------------------------------------- */

/* The smallest power of two that is not below x. */
static double power_above(double x)
{
    int exponent;
    double mantissa = frexp(x, &exponent);
    return ldexp(1.0, mantissa == 0.5 ? exponent - 1 : exponent);
}

enum { HEADROOM = 4 }; /* of the bound over the largest gradient of the step before */

/* What the step leads to: a function of the tallies that count, so the same
 * for every worker that asks. */
static void judge(ht_sync_t *sync, worker_t *me)
{
    if (me->judged == me->self.step)
        return;
    int64_t loss = 0;
    double largest = 0.0;
    for (uint32_t w = 0; w < sync->config.n_workers; w++) {
        if (!ht_round_accumulates(&me->self, w))
            continue;
        /* relaxed: see tally_t. */
        loss += (int64_t)ht_load_relaxed(&sync->tallies[w].loss);
        double mine = double_of(ht_load_relaxed(&sync->tallies[w].largest));
        largest = mine > largest ? mine : largest;
    }
    state_t next = me->state;
    int is_over = sync->config.is_exact && largest > next.bound;
    me->is_merging = isfinite(largest) && !is_over;
    if (!isfinite(largest)) {
        next.outcome = HT_ENONFINITE;
    } else if (is_over) {
        next.refused++;
        next.bound = power_above(largest);
    } else {
        next.batches++;
        next.loss += (double)loss * loss_unit(&me->state);
        if (!sync->config.is_bounded && largest > 0.0)
            next.bound = power_above(largest) * HEADROOM;
    }
    me->verdict = next;
    me->judged = me->self.step;
}

static uint32_t collect_sums(ht_sync_t *sync, const worker_t *me, ht_sums_t *sums)
{
    uint32_t n = 0;
    if (sync->config.is_exact) {
        for (uint32_t w = 0; w < sync->config.n_workers; w++)
            if (ht_round_accumulates(&me->self, w))
                sums[n++] = *sums_of(sync, w, 0);
        return n;
    }
    for (uint32_t task = 0; task < me->self.n_tasks; task++) {
        uint32_t owner = ht_round_owner(&me->self, task);
        if (owner != UINT32_MAX) /* else the step is over, and the commit will fail */
            sums[n++] = *sums_of(sync, owner, task);
    }
    return n;
}

static void compute_block(ht_sync_t *sync, worker_t *me, uint32_t block)
{
    const ht_sync_config_t *c = &sync->config;
    judge(sync, me);
    if (block == sync->n_blocks)
        return; /* the control: the verdict is its redo slot */
    memset(me->touched, 0, BLOCK / HT_GRID_GROUP);
    if (!me->is_merging)
        return;
    ht_sums_t sums[HT_ROUND_WORKERS];
    int64_t first = (int64_t)block * BLOCK;
    float lr = lr_at(sync, me->state.batches);
    ht_grid_merge_t merge = {
        .first = first,
        .last = first + BLOCK < sync->n_coordinates ? first + BLOCK : sync->n_coordinates,
        .sums = sums,
        .n_sums = collect_sums(sync, me, sums),
        .unit = unit_of(sync, &me->state),
        .scales = c->scales,
        .inverse_rows = 1.0f / (float)rows_of_batch(sync, me->state.batches),
        .w = sync->w,
        .squares = sync->squares,
        .merged = me->redo,
        .array_stride = BLOCK,
        .touched = me->touched,
        .c = sync->shares,
        .step = {.lr = lr, .l1 = c->l1, .l2 = c->l2},
        .optimizer = c->optimizer,
        .intercept_lr = lr * ht_optimizer_intercept_rate(c->optimizer),
    };
    sync->kernels->merge_racy[c->is_exact != 0](&merge);
}

/* Copies what `from` has computed; the one who may is the owner of the commit. */
static void copy_block(ht_sync_t *sync, const worker_t *me, const worker_t *from, uint32_t block)
{
    ht_point_pass(ht_round_points(sync->round), HT_IN_COPYING, me->self.worker);
    if (block == sync->n_blocks) {
        control_t *control = &sync->controls[(me->self.step + 1) % 2];
        /* relaxed: see control_t. */
        ht_store_relaxed(&control->batches, from->verdict.batches);
        ht_store_relaxed(&control->refused, from->verdict.refused);
        ht_store_relaxed(&control->loss, bits_of(from->verdict.loss));
        ht_store_relaxed(&control->bound, bits_of(from->verdict.bound));
        ht_store_relaxed(&control->outcome, (uint64_t)from->verdict.outcome);
        return;
    }
    int64_t first = (int64_t)block * BLOCK;
    size_t nbytes = sizeof(float) * HT_GRID_GROUP;
    for (int g = 0; g < BLOCK / HT_GRID_GROUP; g++) {
        if (!from->touched[g])
            continue;
        int64_t at = first + g * HT_GRID_GROUP;
        memcpy(sync->w + at, from->redo + g * HT_GRID_GROUP, nbytes);
        if (sync->config.optimizer == HT_ADAGRAD)
            memcpy(sync->squares + at, from->redo + BLOCK + g * HT_GRID_GROUP, nbytes);
    }
}

/* Opens the next step if every block is done. */
static void advance(ht_sync_t *sync, worker_t *me)
{
    if (!ht_round_is_merged(&me->self))
        return;
    state_t next = state_at(sync, me->self.step + 1);
    ht_round_advance(&me->self, tasks_at(sync, next.batches));
}

ht_err_t ht_sync_merge_next(ht_sync_t *sync, uint32_t worker)
{
    worker_t *me = &sync->workers[worker];
    uint32_t block, redo;
    if (enter(sync, me) != HT_OK || me->self.phase != HT_MERGE)
        return HT_EEND;
    uint64_t begin = ht_now_ns();
    ht_err_t err = ht_round_merge_next(&me->self, &block, &redo);
    if (err != HT_OK) {
        advance(sync, me);
        return note_idle(me);
    }
    if (redo == UINT32_MAX) {
        compute_block(sync, me, block);
        err = ht_round_merge_commit(&me->self);
    }
    if (err == HT_OK) {
        copy_block(sync, me, redo == UINT32_MAX ? me : &sync->workers[redo], block);
        ht_round_merge_done(&me->self);
    }
    me->report.merge_ns += ht_now_ns() - begin;
    return HT_OK;
}

ht_err_t ht_sync_await(ht_sync_t *sync, uint32_t worker, uint64_t deadline_ns)
{
    worker_t *me = &sync->workers[worker];
    /* Before the look at the phase: a change after it rings another bell. */
    uint32_t bell = ht_round_bell(sync->round);
    /* relaxed: see ht_sync_leave. */
    if (ht_load_relaxed(sync->leaving) != 0)
        return HT_ESTOPPED;
    if (enter(sync, me) == HT_OK) {
        if (me->self.step != me->idle_step || me->self.phase != me->idle_phase)
            return HT_OK;
        if (me->self.phase == HT_WORK && ht_round_finish_work(&me->self) == HT_OK)
            return HT_OK;
    }
    uint64_t begin = ht_now_ns();
    ht_err_t err = ht_round_await(&me->self, bell, deadline_ns);
    me->report.wait_ns += ht_now_ns() - begin;
    return err;
}

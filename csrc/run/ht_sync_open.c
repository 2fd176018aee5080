/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/ht_sync_guest_parts.h"
#include "share/ht_record.h"

/* ---- settings ------------------------------------------------------------- */

static ht_batches_t batches_of(const ht_sync_config_t *c)
{
    ht_batches_t batches = {
        .n_rows = (uint64_t)c->rows.n_rows,
        .seed = c->seed,
        .strip_rows = c->task_rows,
        .batch_strips = c->batch_tasks,
        .n_shares = c->replicas > 0 ? c->replicas
                    : c->is_exact   ? 0
                                    : c->n_workers,
    };
    ht_batches_init(&batches);
    return batches;
}

/* Returns whether shares are given where penalties need them, and only where the optimizer reads
 * them, and factors only elsewhere.  Penalties reach the coordinates by shares, unless each row
 * holds all coordinates. */
static int has_what_penalties_need(const ht_sync_config_t *c)
{
    int has_penalty = c->step.l1 != 0.0f || c->step.l2 != 0.0f;
    int needs = !ht_rows_is_dense(&c->rows) && ht_optimizer_has_shares(c->optimizer);
    if (c->l1_factor != NULL && needs)
        return 0;
    return c->inverse_share == NULL ? !(has_penalty && needs) : needs;
}

/* Returns whether the settings of replicas fit each other. */
static int has_valid_replicas(const ht_sync_config_t *c)
{
    if (c->replicas == 0)
        return c->batch_tasks <= HT_ROUND_TASKS;
    int has_outer = c->outer.kind != HT_OUTER_NONE;
    return c->replicas <= HT_ROUND_TASKS && c->is_exact && c->scales == NULL && c->every >= 1 &&
           c->local_rows >= 1 && c->local_rows <= INT32_MAX && c->outer.kind >= 0 &&
           c->outer.kind < HT_OUTER_COUNT && !(has_outer && ht_optimizer_is_dual(c->optimizer)) &&
           c->most_together >= 1 &&
           (uint64_t)c->batch_tasks * c->task_rows <= INT32_MAX / c->most_together &&
           (uint64_t)c->every * batches_of(c).steps_per_epoch <= UINT64_MAX / UINT32_MAX;
}

static int is_valid(const ht_sync_config_t *c)
{
    return c->n_workers >= 1 && c->n_workers <= HT_ROUND_WORKERS && c->rows.n_rows >= 1 &&
           c->rows.targets != NULL && c->rows.hot == NULL &&
           !(ht_rows_is_dense(&c->rows) && c->rows.values == NULL) && c->rows.n_features >= 1 &&
           c->rows.n_features < INT32_MAX / 4 && c->model != NULL && c->optimizer >= 0 &&
           c->optimizer < HT_OPTIMIZER_COUNT && c->task_rows >= 1 &&
           c->task_rows <= HT_SYNC_TASK_ROWS && c->batch_tasks >= 1 && has_valid_replicas(c) &&
           (!c->has_guest || c->is_exact) && c->lrs != NULL && c->lrs_per_epoch >= 1 &&
           c->n_epochs >= 1 && batches_of(c).steps_per_epoch <= HT_SYNC_STEPS / c->n_epochs &&
           !(ht_optimizer_is_dual(c->optimizer) && c->averages_per_epoch > 0) &&
           c->largest_value >= 0 && c->bound > 0 && isfinite(c->bound) &&
           has_what_penalties_need(c) && ht_sums_kernels(c->isa) != NULL;
}

/* The settings of a run that its segment holds; see ht_record.h. */
#define SETTINGS(X) \
    X(double, largest_value, largest_value) \
    X(uint64_t, most_together, most_together) \
    HT_RECORD_COMMON(X) \
    X(float, bound, bound) \
    X(int32_t, is_bounded, is_bounded) \
    X(int32_t, is_exact, is_exact) \
    X(int32_t, is_shared, is_shared) \
    X(int32_t, has_guest, has_guest) \
    X(uint32_t, task_rows, task_rows) \
    X(uint32_t, batch_tasks, batch_tasks) \
    X(uint32_t, replicas, replicas) \
    X(uint32_t, every, every) \
    X(uint32_t, local_rows, local_rows) \
    X(uint32_t, outer_kind, outer.kind) \
    X(float, outer_rate, outer.rate) \
    X(float, outer_decay, outer.decay)

typedef struct {
    ht_record_head_t head;
    SETTINGS(HT_RECORD_FIELD)
} record_t;

_Static_assert(sizeof(record_t) == sizeof(ht_record_head_t) SETTINGS(HT_RECORD_NBYTES),
               "no padding");
_Static_assert(sizeof(record_t) <= HT_SEGMENT_RECORD, "the header has room");

/* Returns the bits of the arrays that a segment holds for the configuration. */
static uint32_t arrays_of(const ht_sync_config_t *config)
{
    return (config->inverse_share != NULL ? HT_HAS_SHARES : 0) |
           (config->l1_factor != NULL ? HT_HAS_L1_FACTOR : 0) |
           (config->scales != NULL ? HT_HAS_SCALES : 0);
}

static record_t record_of(const ht_sync_config_t *config)
{
    record_t record = {
        .head = ht_record_head(HT_RUN_SYNC, config->model->key, &config->rows, arrays_of(config))};
    SETTINGS(HT_RECORD_WRITE)
    return record;
}

static ht_sync_config_t config_of(const record_t *record, const ht_model_t *model,
                                  const ht_rows_t *rows)
{
    ht_sync_config_t config = {.rows = *rows, .model = model};
    SETTINGS(HT_RECORD_READ)
    return config;
}

/* ---- parts ------------------------------------------------------------------ */

/* Corrects the configuration of a handle. */
static void correct(ht_sync_config_t *c, uint64_t steps)
{
    c->rows.n_hot = c->rows.n_features; /* the dot product reads all elements through view.hot */
    c->model = NULL;
    c->lrs = c->inverse_share = c->l1_factor = NULL;
    c->scales = NULL;
    if (c->averages_per_epoch > steps) /* takes every iterate */
        c->averages_per_epoch = steps;
}

/* Sets the numbers that follow from the configuration, and the list of the segment's parts. */
static void describe(ht_sync_t *sync, const ht_sync_config_t *c, uint32_t arrays)
{
    int64_t outputs = c->model->n_outputs;
    int64_t n = (c->rows.n_features + 1) * outputs;
    /* A batch has no more shares than strips. */
    const int is_local = c->replicas > 0, has_shares = is_local || !c->is_exact;
    uint32_t most_shares = is_local ? c->replicas : c->n_workers;
    uint32_t shares = most_shares < c->batch_tasks ? most_shares : c->batch_tasks;
    uint32_t replica_arrays = is_local ? (uint32_t)ht_sums_arrays(c->optimizer, 0) : 0;
    uint32_t lanes = is_local ? replica_arrays : c->is_exact ? 1 : shares;
    int has_outer = is_local && c->outer.kind != HT_OUTER_NONE;
    *sync = (ht_sync_t){
        .config = *c,
        .segment_fd = -1,
        .batches = batches_of(c),
        .n_coordinates = n,
        .n_arrays = ht_sums_arrays(c->optimizer, c->averages_per_epoch > 0) + has_outer,
        .n_lanes = lanes,
        .n_blocks = (uint32_t)((n + BLOCK - 1) / BLOCK),
        .most_tasks = has_shares ? shares : c->batch_tasks,
        /* A worker without a task has no sums that count. */
        .most_counting =
            is_local ? (c->n_workers < shares ? c->n_workers : shares) * lanes : shares,
    };
    correct(&sync->config, sync->batches.steps_per_epoch);
    size_t workers = c->n_workers, padded = (size_t)sync->n_blocks * BLOCK;
    size_t sum = c->is_exact ? sizeof(int64_t) : sizeof(float);
    size_t together = is_local && c->most_together > 1 ? c->most_together : 1;
    size_t strips = has_shares ? (c->batch_tasks * together + shares - 1) / shares : 1;
    size_t task_rows = strips * c->task_rows, row = sizeof(float) * (size_t)outputs;
    size_t gradient_rows = is_local ? 0 : task_rows; /* a replica's are added at once */
    size_t guest = (size_t)guest_lane(n) * lanes;
    size_t n_scales = ((size_t)n + HT_SUMS_SCALE - 1) / HT_SUMS_SCALE;
    const ht_part_t parts[N_PARTS] = {
        [ROUND] = {ht_round_nbytes(c->n_workers, sync->most_tasks, sync->n_blocks + 1,
                                   c->has_guest != 0),
                   1, 0},
        [CONTROLS] = {sizeof(control_t), 2, 0},
        [TALLIES] = {sizeof(tally_t), workers, 0},
        [CREDITS] = {sizeof(credit_t) * workers, 1, 0},
        [RATES] = {ht_rates_nbytes(c->n_epochs, c->lrs_per_epoch), 1, 0},
        [WORDS] = {sizeof(words_t), 1, 0},
        [GUEST] = {c->has_guest ? sizeof(struct ht_sync_guest) : 0, 1, 0},
        [GUEST_SUMS] = {c->has_guest ? sum * guest : 0, 1, 0},
        [GUEST_MARKS] = {c->has_guest ? guest / HT_SUMS_GROUP : 0, 1, 0},
        [SLOWED] = {sizeof(slowed_t), workers, 0},
        [SHARES] = {arrays & HT_HAS_SHARES ? sizeof(float) * (size_t)n : 0, 1, 0},
        [L1_FACTOR] = {arrays & HT_HAS_L1_FACTOR ? sizeof(float) * (size_t)n : 0, 1, 0},
        [SCALES] = {arrays & HT_HAS_SCALES ? sizeof(double) * n_scales : 0, 1, 0},
        [ARRAYS] = {sizeof(float) * padded, (size_t)sync->n_arrays, 0},
        [SUMS] = {sum * padded, workers * sync->n_lanes, 0},
        [MARKS] = {padded / HT_SUMS_GROUP, workers * sync->n_lanes, 0},
        [REPORTS] = {sizeof(report_t), workers, 0},
        [VERDICTS] = {sizeof(control_t), workers, 0},
        [REDO] = {sizeof(float) * BLOCK * (size_t)sync->n_arrays, workers, 0},
        [TOUCHED] = {BLOCK / HT_SUMS_GROUP, workers, 0},
        [IDS] = {sizeof(int64_t) * task_rows, workers, 0},
        [GRADIENT] = {row * (gradient_rows + HT_GROUP_ROWS), workers, 0},
        [TASK_SUM] = {ht_rows_is_dense(&c->rows) ? sizeof(float) * padded : 0, workers, 0},
        [OUTPUTS] = {row * HT_GROUP_ROWS, workers, 0},
        [REPLICA] = {sizeof(float) * padded * replica_arrays, workers, 0},
        [LOCAL_SUM] = {is_local ? sizeof(float) * padded : 0, workers, 0},
        [LOCAL_MARKS] = {is_local ? padded / HT_SUMS_GROUP : 0, workers, 0},
        [LOCAL_LISTED] = {is_local ? padded / HT_SUMS_GROUP : 0, workers, 0},
        [LOCAL_GROUPS] = {is_local ? sizeof(uint32_t) * padded / HT_SUMS_GROUP : 0, workers, 0},
        [FETCHED] = {ht_fetched_nbytes(&c->rows, HT_GROUP_ROWS), workers, 0},
    };
    ht_layout_init(&sync->layout, parts, N_PARTS);
}

static void *part(const ht_sync_t *sync, int name, size_t i)
{
    return ht_layout_at(&sync->layout, sync->segment, name, i);
}

/* Finds every part that workers share. */
static void find_parts(ht_sync_t *sync)
{
    sync->round = part(sync, ROUND, 0);
    sync->controls = part(sync, CONTROLS, 0);
    sync->tallies = part(sync, TALLIES, 0);
    sync->verdicts = part(sync, VERDICTS, 0);
    sync->credits = part(sync, CREDITS, 0);
    sync->reports = part(sync, REPORTS, 0);
    sync->rates = part(sync, RATES, 0);
    sync->words = part(sync, WORDS, 0);
    sync->guest = part(sync, GUEST, 0);
    int64_t lane = guest_lane(sync->n_coordinates);
    for (uint32_t k = 0; sync->guest != NULL && k < sync->n_lanes; k++)
        sync->guest_sums[k] =
            (ht_sums_t){(int64_t *)part(sync, GUEST_SUMS, 0) + k * lane,
                        (uint8_t *)part(sync, GUEST_MARKS, 0) + k * lane / HT_SUMS_GROUP};
    sync->slowed = part(sync, SLOWED, 0);
    sync->shares = part(sync, SHARES, 0);
    sync->l1_factor = part(sync, L1_FACTOR, 0);
    sync->config.scales = part(sync, SCALES, 0);
    for (int k = 0; k < sync->n_arrays; k++)
        sync->arrays[k] = part(sync, ARRAYS, (size_t)k);
    for (uint32_t k = 0; k < sync->config.n_workers * sync->n_lanes; k++)
        sync->sums[k] = (ht_sums_t){part(sync, SUMS, k), part(sync, MARKS, k)};
}

/* Finds the parts of a worker's place.  The round must be initialized. */
static void find_place(ht_sync_t *sync, uint32_t w)
{
    worker_t *worker = &sync->workers[w];
    worker->report = &sync->reports[w];
    ht_round_self_init(&worker->self, sync->round, w, &worker->report->counts);
    worker->redo = part(sync, REDO, w);
    worker->touched = part(sync, TOUCHED, w);
    worker->slot.ids = part(sync, IDS, w);
    worker->slot.gradient = part(sync, GRADIENT, w);
    worker->slot.sum = part(sync, TASK_SUM, w);
    worker->z = part(sync, OUTPUTS, w);
    float *replica = part(sync, REPLICA, w);
    for (int k = 0; replica != NULL && k < ht_sums_arrays(sync->config.optimizer, 0); k++)
        worker->replica[k] = replica + (size_t)k * sync->n_blocks * BLOCK;
    worker->local = (ht_sums_t){part(sync, LOCAL_SUM, w), part(sync, LOCAL_MARKS, w)};
    worker->listed = part(sync, LOCAL_LISTED, w);
    worker->groups = part(sync, LOCAL_GROUPS, w);
    worker->counting = sync->counting + (size_t)w * sync->most_counting;
    worker->rows = &sync->config.rows;
    void *fetched = part(sync, FETCHED, w);
    if (fetched != NULL) {
        ht_fetched_open(&worker->fetched, &sync->config.rows, HT_GROUP_ROWS, fetched);
        worker->rows = &worker->fetched.rows;
    }
}

static void find_places(ht_sync_t *sync)
{
    for (uint32_t w = 0; w < sync->config.n_workers; w++)
        find_place(sync, w);
}

/* ---- opening ---------------------------------------------------------------- */

size_t ht_sync_nbytes(const ht_sync_config_t *config)
{
    if (!is_valid(config))
        return 0;
    ht_sync_t sync;
    describe(&sync, config, arrays_of(config));
    return sync.layout.nbytes;
}

/* Makes a handle that has no segment yet. */
static ht_err_t make(const ht_sync_config_t *config, uint32_t arrays, ht_sync_t **out)
{
    ht_sync_t *sync = calloc(1, sizeof *sync);
    if (sync == NULL)
        return -ENOMEM;
    describe(sync, config, arrays);
    const ht_sync_config_t *c = &sync->config;
    sync->kernels = ht_sums_kernels(c->isa);
    sync->changes = ht_changes_kernels(c->isa);
    sync->workers = calloc(c->n_workers, sizeof *sync->workers);
    sync->sums = calloc((size_t)c->n_workers * sync->n_lanes, sizeof *sync->sums);
    sync->counting = calloc((size_t)c->n_workers * sync->most_counting, sizeof *sync->counting);
    ht_err_t err = -ENOMEM;
    if (sync->workers != NULL && sync->sums != NULL && sync->counting != NULL)
        err = config->model->for_sums(config->model, &c->rows, c->is_exact && c->replicas == 0,
                                      c->isa, &sync->model);
    if (err != HT_OK) {
        ht_sync_close(sync);
        return err;
    }
    *out = sync;
    return HT_OK;
}

/* Writes the first contents of a new segment. */
static ht_err_t fill(ht_sync_t *sync, const ht_sync_config_t *config)
{
    if (config->inverse_share != NULL)
        for (int64_t j = 0; j < sync->n_coordinates; j++)
            sync->shares[j] = config->inverse_share[j / sync->model->n_outputs];
    if (config->l1_factor != NULL)
        for (int64_t j = 0; j < sync->n_coordinates; j++)
            sync->l1_factor[j] = config->l1_factor[j / sync->model->n_outputs];
    if (config->scales != NULL)
        memcpy(part(sync, SCALES, 0), config->scales, sync->layout.parts[SCALES].nbytes);
    ht_rates_init(sync->rates, config->n_epochs, config->lrs_per_epoch, config->lrs);
    /* relaxed: nobody else has the segment yet.  Step 1 reads controls[1]. */
    ht_store_relaxed(&sync->controls[1].bound, bits_of((double)config->bound));
    ht_store_relaxed(&sync->controls[1].together, 1u);
    ht_store_relaxed(&sync->controls[1].share, word_of(ht_whole));
    if (sync->guest != NULL)
        ht_store_relaxed(&sync->guest->share, word_of(ht_whole));
    for (int k = 0; k < HT_CHANGES_ARRAYS; k++) /* too small: the first step is refused */
        ht_store_relaxed(&sync->controls[1].changes[k], bits_of(0x1p-60));
    return ht_round_init(sync->round, config->n_workers, sync->most_tasks, sync->n_blocks + 1,
                         config->has_guest != 0, ht_batches_tasks(&sync->batches, 0, 1));
}

ht_err_t ht_sync_open(const ht_sync_config_t *config, ht_sync_t **out)
{
    if (!is_valid(config) || config->model->check(config->model, &config->rows) != HT_OK)
        return HT_EINVAL;
    ht_sync_t *sync;
    ht_err_t err = make(config, arrays_of(config), &sync);
    if (err != HT_OK)
        return err;
    record_t record = record_of(config);
    err = ht_segment_create(sync->layout.nbytes, config->is_shared, &record, sizeof record,
                            &sync->segment_fd, &sync->segment);
    if (err == HT_OK) {
        sync->is_creator = 1;
        find_parts(sync);
        err = fill(sync, config);
    }
    if (err != HT_OK) {
        ht_sync_close(sync);
        return err;
    }
    find_places(sync);
    *out = sync;
    return HT_OK;
}

ht_err_t ht_sync_attach(ht_segment_t *segment, size_t nbytes, const ht_model_t *model,
                        const ht_rows_t *rows, ht_sync_t **out)
{
    record_t record;
    ht_err_t err = ht_segment_check(segment, nbytes, &record, sizeof record);
    if (err != HT_OK)
        return err;
    uint32_t arrays = record.head.arrays & (HT_HAS_SHARES | HT_HAS_L1_FACTOR | HT_HAS_SCALES);
    ht_record_head_t head = ht_record_head(HT_RUN_SYNC, model->key, rows, arrays);
    if (memcmp(&head, &record.head, sizeof head) != 0 || rows->targets == NULL)
        return HT_EINVAL;
    ht_sync_config_t config = config_of(&record, model, rows);
    ht_sync_t *sync;
    err = make(&config, arrays, &sync);
    if (err != HT_OK)
        return err;
    if (ht_segment_mapped_nbytes(sync->layout.nbytes) != nbytes) {
        ht_sync_close(sync);
        return HT_EINVAL;
    }
    sync->segment = segment;
    find_parts(sync);
    find_places(sync);
    *out = sync;
    return HT_OK;
}

void ht_sync_close(ht_sync_t *sync)
{
    if (sync == NULL)
        return;
    if (sync->is_creator)
        ht_segment_detach(sync->segment, sync->segment_fd);
    free(sync->model);
    free(sync->workers);
    free(sync->sums);
    free(sync->counting);
    free(sync);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * The segment holds everything that a run remembers; a handle holds pointers into it, the caller's
 * rows and a copy of the model, none of which means anything in another process.  `describe` lists
 * the parts once: the list gives the size, and the address of each part to the creator and to
 * every handle that attaches.  The segment's record holds the settings, so that attaching needs
 * only the model and the rows, and refuses another model and rows of another shape.
 *
 * A new segment is zeroed, and 0 is the right beginning of every part that `fill` does not write:
 * no average was taken and no row was seen.  ht_stream_load writes the parameters.
 *
 * The hot coordinates are in a replica per worker; the cold ones are stepped in place.  A worker
 * averages its own replica, and of the cold coordinates a part of its own (cold_part), so that
 * every average has one writer.
 *
 * Tests: tests/c/test_stream_attach.c, test_worker.c and test_worker_breadth.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "run/ht_stream.h"
#include "run/ht_stream_parts.h"
#include "share/ht_record.h"

/* ---- settings ------------------------------------------------------------- */

/* The settings of a stream that its segment holds; see ht_record.h. */
#define SETTINGS(X) \
    X(int64_t, n_hot, n_hot) \
    HT_RECORD_COMMON(X) \
    X(uint32_t, rows_in_flight, rows_in_flight) \
    X(uint32_t, every, every) \
    X(uint32_t, strips, strips) \
    X(int32_t, exact, exact) \
    X(int32_t, adds, adds) \
    X(uint32_t, staleness, staleness) \
    X(uint32_t, n_teams, n_teams) \
    X(int32_t, is_recorded, is_recorded) \
    X(int32_t, is_leased, is_leased)

typedef struct {
    ht_record_head_t head;
    SETTINGS(HT_RECORD_FIELD)
} record_t;

_Static_assert(sizeof(record_t) == sizeof(ht_record_head_t) SETTINGS(HT_RECORD_NBYTES),
               "no padding");
_Static_assert(sizeof(record_t) <= HT_SEGMENT_RECORD, "the header has room");

/* Returns the bits of the arrays that a segment holds for the configuration. */
static uint32_t arrays_of(const ht_stream_config_t *config)
{
    return (config->inverse_share != NULL ? HT_HAS_SHARES : 0) |
           (config->l1_factor != NULL ? HT_HAS_L1_FACTOR : 0);
}

static record_t record_of(const ht_stream_config_t *config)
{
    record_t record = {.head = ht_record_head(HT_RUN_STREAM, config->model->key, &config->rows,
                                              arrays_of(config))};
    SETTINGS(HT_RECORD_WRITE)
    return record;
}

static ht_stream_config_t config_of(const record_t *record, const ht_model_t *model,
                                    const ht_rows_t *rows)
{
    ht_stream_config_t config = {.rows = *rows, .model = model};
    SETTINGS(HT_RECORD_READ)
    return config;
}

/* ---- parts ------------------------------------------------------------------ */

/* Sets the numbers that follow from the configuration, and the list of the segment's parts. */
static void describe(ht_stream_t *stream, const ht_stream_config_t *c, uint32_t arrays)
{
    int has_shares = (arrays & HT_HAS_SHARES) != 0, has_average = c->averages_per_epoch > 0;
    int64_t outputs = c->model->n_outputs;
    int stride = ht_optimizer_stride(c->optimizer, has_shares);
    uint64_t fair = (uint64_t)c->rows.n_rows / c->n_workers / HT_LEAST_EXCHANGES;
    *stream = (ht_stream_t){
        .config = *c,
        .segment_fd = -1,
        .n_coordinates = (c->rows.n_features + 1) * outputs,
        .n_hot = c->n_hot * outputs,
        .most_every = fair < 1            ? 1
                      : fair > UINT32_MAX ? UINT32_MAX
                                          : (uint32_t)fair,
    };
    size_t n = (size_t)stream->n_coordinates, n_hot = (size_t)stream->n_hot;
    size_t n_blocks = (n_hot + HT_BLOCK_COORDINATES - 1) / HT_BLOCK_COORDINATES;
    size_t padded = n_blocks * HT_BLOCK_COORDINATES;
    size_t entry = sizeof(float) * (size_t)stride;
    size_t values = sizeof(float) * (size_t)ht_optimizer_arrays(c->optimizer);
    size_t group = sizeof(float) * HT_GROUP_ROWS * (size_t)outputs;
    size_t of_rows = sizeof(float) * (size_t)(c->rows.n_features + 1);
    size_t n_replicas = c->n_teams > 0 ? c->n_teams : c->n_workers;
    ht_feed_t feed = {.epoch = 0};
    (void)ht_feed_init(&feed, (uint64_t)c->rows.n_rows, c->seed, c->strips); /* for its size */
    const ht_part_t parts[N_PARTS] = {
        [ROSTER] = {ht_roster_nbytes(c->n_workers), 1, 0},
        [FEED] = {sizeof(ht_feed_t), 1, 0},
        [CLAIMS] = {ht_claims_nbytes(feed.n_chunks), 1, 0},
        [CLOCK] = {c->adds ? ht_clock_nbytes(c->n_workers) : 0, 1, 0},
        [RATES] = {ht_rates_nbytes(c->n_epochs, c->lrs_per_epoch), 1, 0},
        [SHARES] = {has_shares ? of_rows : 0, 1, 0},
        [L1_FACTOR] = {arrays & HT_HAS_L1_FACTOR ? of_rows : 0, 1, 0},
        [COLD] = {n_hot < n ? entry * n : 0, 1, 0},
        [COLD_AVERAGE] = {has_average ? sizeof(float) * n : 0, 1, 0},
        [BLOCKS] = {sizeof(ht_block_t) * n_blocks, 1, 0},
        [VALUES] = {values * padded, 1, 0},
        [CURVATURE] = {sizeof(float) * padded, 1, 0},
        [HOT_L1_FACTOR] = {ht_optimizer_is_dual(c->optimizer) ? sizeof(float) * padded : 0, 1, 0},
        [ENTRIES] = {entry * padded, n_replicas, 0},
        [BASE] = {values * padded, n_replicas, 0},
        [ROWS_AT] = {sizeof(uint64_t) * n_blocks, n_replicas, 0},
        [ROWS_SEEN] = {sizeof(uint64_t) * n_blocks, n_replicas, 0},
        [TEAM_OF] = {c->n_teams > 0 ? sizeof(uint32_t) * c->n_workers : 0, 1, 0},
        [REDO] = {n_hot > 0 ? values * HT_BLOCK_COORDINATES : 0, c->n_workers, 0},
        [REDO_ROWS] = {n_hot > 0 ? sizeof(uint64_t) : 0, c->n_workers, 0},
        [TEAM_SLOT] = {c->n_teams > 0 ? ht_team_slot_nbytes(stride) : 0, c->n_workers, 0},
        [AVERAGE] = {has_average ? sizeof(average_t) + sizeof(float) * n_hot : 0, c->n_workers, 0},
        [CHUNK] = {sizeof(chunk_t), c->n_workers, 0},
        [OUTPUTS] = {group, c->n_workers, 0},
        [GRADIENT] = {group, c->n_workers, 0},
        [FETCHED] = {ht_fetched_nbytes(&c->rows, (int)c->rows_in_flight), c->n_workers, 0},
        [LOG] = {c->is_recorded ? ht_log_nbytes(ht_log_capacity((int64_t)n_blocks)) : 0,
                 c->n_workers, 0},
    };
    ht_layout_init(&stream->layout, parts, N_PARTS);
    stream->config.model = NULL;
    stream->config.lrs = stream->config.curvature = NULL;
    stream->config.inverse_share = stream->config.l1_factor = NULL;
    stream->config.team_of = NULL;
    stream->hot = (ht_hot_t){
        .n_coordinates = stream->n_hot,
        .n_blocks = (int64_t)n_blocks,
        .merge = ht_optimizer_merge(c->isa, c->optimizer, stride),
        .optimizer = c->optimizer,
        .step = c->step,
        .weighing = (ht_weighing_t)c->adds,
        .least_rest = c->adds ? 1.0f - 1.0f / (float)c->n_workers : 0.0f,
        .stride = stride,
        .arrays = ht_optimizer_arrays(c->optimizer),
        .n_workers = c->n_workers,
    };
}

static void *part(const ht_stream_t *stream, int name, size_t i)
{
    return ht_layout_at(&stream->layout, stream->segment, name, i);
}

/* Finds the members of a worker's team: neighbours in the roster. */
static void find_members(ht_stream_t *stream, uint32_t w)
{
    const uint32_t *team_of = stream->config.team_of;
    uint32_t first = w, end = w + 1;
    while (first > 0 && team_of[first - 1] == team_of[w])
        first--;
    while (end < stream->config.n_workers && team_of[end] == team_of[w])
        end++;
    stream->places[w].replica.members = stream->roster->workers + first;
    stream->places[w].replica.n_members = end - first;
}

static void find_place(ht_stream_t *stream, uint32_t w)
{
    const uint32_t *team_of = stream->config.team_of;
    uint32_t replica = team_of == NULL ? w : team_of[w];
    float *entries = part(stream, ENTRIES, replica);
    float *first = entries != NULL ? entries : stream->cold;
    ptrdiff_t row = stream->model->stride * stream->model->n_outputs;
    stream->places[w] = (place_t){
        .replica = {.entries = entries,
                    .base = part(stream, BASE, replica),
                    .redo = part(stream, REDO, w),
                    .redo_rows = part(stream, REDO_ROWS, w),
                    .rows_at = part(stream, ROWS_AT, replica),
                    .rows_seen = part(stream, ROWS_SEEN, replica),
                    .owner = w,
                    .log = part(stream, LOG, w),
                    .slot = part(stream, TEAM_SLOT, w)},
        .view = {.hot = entries == NULL ? NULL : entries + row,
                 .cold = stream->cold == NULL ? NULL : stream->cold + row,
                 .intercept = stream->config.intercept ? first : NULL,
                 .outputs = stream->model->n_outputs,
                 .l1_factor =
                     stream->config.l1_factor == NULL ? NULL : stream->config.l1_factor + 1},
        .scratch = {.chunk = part(stream, CHUNK, w),
                    .z = part(stream, OUTPUTS, w),
                    .gradient = part(stream, GRADIENT, w),
                    .fetched = part(stream, FETCHED, w)},
        .average = part(stream, AVERAGE, w),
    };
    if (team_of != NULL)
        find_members(stream, w);
}

/* Finds every part of the segment. */
static void find_parts(ht_stream_t *stream)
{
    stream->roster = part(stream, ROSTER, 0);
    stream->feed = part(stream, FEED, 0);
    stream->claims = part(stream, CLAIMS, 0);
    stream->clock = part(stream, CLOCK, 0);
    stream->rates = part(stream, RATES, 0);
    stream->config.inverse_share = part(stream, SHARES, 0);
    stream->config.l1_factor = part(stream, L1_FACTOR, 0);
    stream->config.team_of = part(stream, TEAM_OF, 0);
    stream->cold = part(stream, COLD, 0);
    stream->cold_average = part(stream, COLD_AVERAGE, 0);
    stream->hot.points = &stream->roster->points;
    stream->hot.blocks = part(stream, BLOCKS, 0);
    stream->hot.values = part(stream, VALUES, 0);
    stream->hot.curvature = part(stream, CURVATURE, 0);
    stream->hot.l1_factor = part(stream, HOT_L1_FACTOR, 0);
    for (uint32_t w = 0; w < stream->config.n_workers; w++)
        find_place(stream, w);
}

/* ---- opening ---------------------------------------------------------------- */

size_t ht_stream_nbytes(const ht_stream_config_t *config)
{
    if (!ht_stream_is_valid(config))
        return 0;
    ht_stream_t stream;
    describe(&stream, config, arrays_of(config));
    return stream.layout.nbytes;
}

/* Makes a handle that has no segment yet. */
static ht_err_t make(const ht_stream_config_t *config, uint32_t arrays, ht_stream_t **out)
{
    ht_stream_t *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return -ENOMEM;
    describe(stream, config, arrays);
    stream->places = calloc(config->n_workers, sizeof *stream->places);
    ht_err_t err = stream->places == NULL ? -ENOMEM : HT_OK;
    if (err == HT_OK)
        err = config->model->for_steps(config->model, &config->rows, config->optimizer,
                                       (arrays & HT_HAS_SHARES) != 0, config->exact, config->isa,
                                       &stream->model);
    if (err != HT_OK) {
        ht_stream_close(stream);
        return err;
    }
    *out = stream;
    return HT_OK;
}

/* Writes the first contents of a new segment. */
static ht_err_t fill(ht_stream_t *stream, const ht_stream_config_t *config)
{
    float *curvature = part(stream, CURVATURE, 0);
    for (int64_t j = 0; j < stream->n_hot; j++)
        curvature[j] = config->curvature[j / stream->model->n_outputs];
    float *l1_factor = part(stream, HOT_L1_FACTOR, 0);
    for (int64_t j = 0; l1_factor != NULL && j < stream->n_hot; j++) {
        int64_t row = j / stream->model->n_outputs; /* 0: the intercept, which has no penalty */
        l1_factor[j] = row == 0 ? 0.0f : config->l1_factor == NULL ? 1.0f : config->l1_factor[row];
    }
    if (config->inverse_share != NULL)
        memcpy(part(stream, SHARES, 0), config->inverse_share, stream->layout.parts[SHARES].nbytes);
    if (config->l1_factor != NULL)
        memcpy(part(stream, L1_FACTOR, 0), config->l1_factor,
               stream->layout.parts[L1_FACTOR].nbytes);
    ht_rates_init(stream->rates, config->n_epochs, config->lrs_per_epoch, config->lrs);
    stream->hot.step.lr = ht_rates_at(stream->rates, 0, 0);
    for (uint32_t w = 0; config->is_recorded && w < config->n_workers; w++)
        ht_log_init(part(stream, LOG, w), ht_log_capacity(stream->hot.n_blocks));
    if (stream->clock != NULL)
        ht_clock_init(stream->clock, config->n_workers, config->staleness);
    ht_err_t err = ht_roster_init(stream->roster, config->n_workers);
    if (err != HT_OK)
        return err;
    return ht_feed_init(stream->feed, (uint64_t)config->rows.n_rows, config->seed, config->strips);
}

ht_err_t ht_stream_open(const ht_stream_config_t *config, ht_stream_t **out)
{
    int64_t bad_row;
    if (!ht_stream_is_valid(config) || ht_rows_check_hot(&config->rows, &bad_row) != HT_OK ||
        config->model->check(config->model, &config->rows) != HT_OK)
        return HT_EINVAL;
    ht_stream_t *stream;
    ht_err_t err = make(config, arrays_of(config), &stream);
    if (err != HT_OK)
        return err;
    record_t record = record_of(config);
    err = ht_segment_create(stream->layout.nbytes, config->is_shared, &record, sizeof record,
                            &stream->segment_fd, &stream->segment);
    if (err == HT_OK) {
        stream->is_creator = 1;
        if (config->n_teams > 0)
            memcpy(part(stream, TEAM_OF, 0), config->team_of, stream->layout.parts[TEAM_OF].nbytes);
        find_parts(stream);
        err = fill(stream, config);
    }
    if (err != HT_OK) {
        ht_stream_close(stream);
        return err;
    }
    *out = stream;
    return HT_OK;
}

ht_err_t ht_stream_attach(ht_segment_t *segment, size_t nbytes, const ht_model_t *model,
                          const ht_rows_t *rows, ht_stream_t **out)
{
    record_t record;
    ht_err_t err = ht_segment_check(segment, nbytes, &record, sizeof record);
    if (err != HT_OK)
        return err;
    uint32_t arrays = record.head.arrays & (HT_HAS_SHARES | HT_HAS_L1_FACTOR);
    ht_record_head_t head = ht_record_head(HT_RUN_STREAM, model->key, rows, arrays);
    if (memcmp(&head, &record.head, sizeof head) != 0 || rows->targets == NULL)
        return HT_EINVAL;
    ht_stream_config_t config = config_of(&record, model, rows);
    ht_stream_t *stream;
    err = make(&config, arrays, &stream);
    if (err != HT_OK)
        return err;
    if (ht_segment_mapped_nbytes(stream->layout.nbytes) != nbytes) {
        ht_stream_close(stream);
        return HT_EINVAL;
    }
    stream->segment = segment;
    find_parts(stream);
    stream->hot.step.lr = ht_rates_at(stream->rates, 0, 0);
    *out = stream;
    return HT_OK;
}

void ht_stream_close(ht_stream_t *stream)
{
    if (stream == NULL)
        return;
    if (stream->is_creator)
        ht_segment_detach(stream->segment, stream->segment_fd);
    free(stream->model);
    free(stream->places);
    free(stream);
}

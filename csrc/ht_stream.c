/* SPDX-License-Identifier: BSD-3-Clause */
#include "ht_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ht_futex.h"
#include "ht_segment.h"
#include "ht_stream_parts.h"

/* ---- opening ---------------------------------------------------------- */

typedef struct {
    size_t roster, feed, cold;                     /* one of each */
    size_t blocks, values, curvature;              /* hot: one of each */
    size_t entries, base, redo, redo_rows, counts; /* hot: one per worker */
    int64_t n_blocks;
    int stride, arrays;
} sizes_t;

static int64_t n_coordinates(const ht_stream_config_t *c)
{
    return c->rows.n_features + 1;
}

static sizes_t measure(const ht_stream_config_t *c)
{
    sizes_t s = {
        .roster = ht_roster_nbytes(c->n_workers),
        .feed = sizeof(ht_feed_t),
        .stride = ht_optimizer_stride(c->optimizer, c->inverse_share != NULL),
        .arrays = ht_optimizer_arrays(c->optimizer),
    };
    size_t entry = sizeof(float) * (size_t)s.stride;
    if (c->n_hot < n_coordinates(c))
        s.cold = entry * (size_t)n_coordinates(c);
    if (c->n_hot == 0)
        return s;
    s.n_blocks = (c->n_hot + HT_BLOCK_COORDINATES - 1) / HT_BLOCK_COORDINATES;
    size_t coordinates = (size_t)s.n_blocks * HT_BLOCK_COORDINATES;
    s.blocks = sizeof(ht_block_t) * (size_t)s.n_blocks;
    s.curvature = sizeof(float) * coordinates;
    s.values = s.base = sizeof(float) * coordinates * (size_t)s.arrays;
    s.entries = entry * coordinates;
    s.redo = sizeof(float) * HT_BLOCK_COORDINATES * (size_t)s.arrays;
    s.redo_rows = sizeof(uint64_t);
    s.counts = sizeof(uint64_t) * (size_t)s.n_blocks;
    return s;
}

size_t ht_stream_nbytes(const ht_stream_config_t *config)
{
    sizes_t s = measure(config);
    const size_t once[] = {s.roster, s.feed, s.cold, s.blocks, s.values, s.curvature};
    const size_t each[] = {s.entries, s.base, s.redo, s.redo_rows, s.counts, s.counts};
    size_t nbytes = 0;
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        nbytes += ht_segment_carved_nbytes(once[i]);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        nbytes += ht_segment_carved_nbytes(each[i]) * config->n_workers;
    return nbytes;
}

static int is_valid(const ht_stream_config_t *c)
{
    int has_hot_elements = c->rows.hot != NULL || c->rows.n_hot != 0;
    return c->n_workers >= 1 && c->n_workers <= HT_MAX_WORKERS && c->rows.n_rows >= 1 &&
           c->rows.targets != NULL && c->rows.n_features >= 1 &&
           c->rows.n_features < INT32_MAX / 4 && ht_loss_is_valid(c->loss) && c->optimizer >= 0 &&
           c->optimizer < HT_OPTIMIZER_COUNT && c->rows_in_flight >= 1 &&
           c->rows_in_flight <= HT_GROUP_ROWS && c->n_hot >= 0 && c->n_hot <= n_coordinates(c) &&
           has_hot_elements == (c->n_hot != 0) && (c->n_hot == 0 || c->curvature != NULL) &&
           !(c->exact && c->n_hot != 0) && c->lrs != NULL && c->lrs_per_epoch >= 1 &&
           c->n_epochs >= 1 && ht_hogwild_kernels(c->isa) != NULL &&
           (c->inverse_share != NULL || (c->l1 == 0.0f && c->l2 == 0.0f));
}

static void carve_hot(ht_stream_t *stream, const sizes_t *s)
{
    const ht_stream_config_t *c = &stream->config;
    ht_segment_t *segment = stream->segment;
    float *curvature = ht_segment_carve(segment, s->curvature);
    memcpy(curvature, c->curvature, sizeof(float) * (size_t)c->n_hot);
    stream->hot = (ht_hot_t){
        .points = &stream->roster->points,
        .blocks = ht_segment_carve(segment, s->blocks),
        .values = ht_segment_carve(segment, s->values),
        .curvature = curvature,
        .n_coordinates = c->n_hot,
        .n_blocks = s->n_blocks,
        .merge = ht_optimizer_merge(c->isa, c->optimizer, s->stride),
        .stride = s->stride,
        .arrays = s->arrays,
        .n_workers = c->n_workers,
        .loss_curvature = ht_loss_curvature(c->loss),
    };
    for (uint32_t w = 0; w < c->n_workers; w++)
        stream->replicas[w] = (ht_replica_t){
            .entries = ht_segment_carve(segment, s->entries),
            .base = ht_segment_carve(segment, s->base),
            .redo = ht_segment_carve(segment, s->redo),
            .redo_rows = ht_segment_carve(segment, s->redo_rows),
            .rows_at = ht_segment_carve(segment, s->counts),
            .rows_seen = ht_segment_carve(segment, s->counts),
            .owner = w,
        };
}

static ht_err_t fill(ht_stream_t *stream)
{
    const ht_stream_config_t *c = &stream->config;
    sizes_t s = measure(c);
    ht_err_t err = ht_segment_create(ht_stream_nbytes(c), &stream->segment);
    if (err != HT_OK)
        return err;
    stream->roster = ht_segment_carve(stream->segment, s.roster);
    stream->feed = ht_segment_carve(stream->segment, s.feed);
    if (s.cold > 0)
        stream->cold = ht_segment_carve(stream->segment, s.cold);
    if (c->n_hot > 0)
        carve_hot(stream, &s);
    for (uint32_t w = 0; w < c->n_workers; w++) {
        float *hot = c->n_hot > 0 ? stream->replicas[w].entries : NULL;
        float *first = hot != NULL ? hot : stream->cold;
        stream->views[w] = (ht_view_t){
            .hot = hot == NULL ? NULL : hot + s.stride,
            .cold = stream->cold == NULL ? NULL : stream->cold + s.stride,
            .intercept = c->intercept ? first : NULL,
        };
    }
    uint64_t fair = (uint64_t)c->rows.n_rows / c->n_workers / HT_LEAST_EXCHANGES;
    stream->most_every = fair < 1 ? 1 : fair > UINT32_MAX ? UINT32_MAX : (uint32_t)fair;
    err = ht_roster_init(stream->roster, c->n_workers);
    if (err == HT_OK)
        err = ht_feed_init(stream->feed, (uint64_t)c->rows.n_rows, c->seed, c->strips);
    if (err == HT_OK)
        err = ht_linear_init(&stream->linear, &c->rows, c->loss, c->optimizer,
                             c->inverse_share != NULL, c->exact, c->isa);
    return err;
}

ht_err_t ht_stream_open(const ht_stream_config_t *config, ht_stream_t **out)
{
    if (!is_valid(config))
        return HT_EINVAL;
    ht_stream_t *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return -ENOMEM;
    stream->config = *config;
    stream->replicas = calloc(config->n_workers, sizeof *stream->replicas);
    stream->views = calloc(config->n_workers, sizeof *stream->views);
    ht_err_t err = stream->replicas == NULL || stream->views == NULL ? -ENOMEM : fill(stream);
    if (err != HT_OK) {
        ht_stream_close(stream);
        return err;
    }
    *out = stream;
    return HT_OK;
}

void ht_stream_close(ht_stream_t *stream)
{
    if (stream == NULL)
        return;
    ht_segment_detach(stream->segment);
    free(stream->replicas);
    free(stream->views);
    free(stream);
}

ht_roster_t *ht_stream_roster(ht_stream_t *stream)
{
    return stream->roster;
}

ht_feed_t *ht_stream_feed(ht_stream_t *stream)
{
    return stream->feed;
}

/* ---- parameters in and out -------------------------------------------- */

static float *hot_value(const ht_stream_t *stream, int64_t coordinate)
{
    int64_t block = coordinate / HT_BLOCK_COORDINATES;
    return stream->hot.values + block * stream->hot.arrays * HT_BLOCK_COORDINATES +
           coordinate % HT_BLOCK_COORDINATES;
}

void ht_stream_load(ht_stream_t *stream, const float *parameters)
{
    const ht_stream_config_t *c = &stream->config;
    int stride = stream->linear.stride;
    int penalty_at = ht_optimizer_penalty_at(c->optimizer);
    for (int64_t j = 0; j < c->n_hot; j++)
        *hot_value(stream, j) = parameters[j];
    for (uint32_t w = 0; c->n_hot > 0 && w < c->n_workers; w++) {
        if (c->inverse_share != NULL)
            for (int64_t j = 0; j < c->n_hot; j++)
                stream->replicas[w].entries[stride * j + penalty_at] = c->inverse_share[j];
        ht_replica_init(&stream->hot, &stream->replicas[w]);
    }
    for (int64_t j = c->n_hot; j < n_coordinates(c); j++) {
        stream->cold[stride * j] = parameters[j];
        if (c->inverse_share != NULL)
            stream->cold[stride * j + penalty_at] = c->inverse_share[j];
    }
}

void ht_stream_store(const ht_stream_t *stream, float *parameters)
{
    const ht_stream_config_t *c = &stream->config;
    for (int64_t j = 0; j < c->n_hot; j++)
        parameters[j] = *hot_value(stream, j);
    for (int64_t j = c->n_hot; j < n_coordinates(c); j++)
        parameters[j] = stream->cold[stream->linear.stride * j];
}

uint64_t ht_stream_measure_exchange(ht_stream_t *stream)
{
    if (stream->config.n_hot == 0)
        return 0;
    ht_replica_t *replica = &stream->replicas[0];
    uint64_t best = UINT64_MAX;
    for (int repeat = 0; repeat < 3; repeat++) {
        uint64_t begin = ht_now_ns();
        for (int64_t b = 0; b < stream->hot.n_blocks; b++)
            (void)ht_replica_exchange(&stream->hot, replica, b, replica->rows_at[b], 0.0f, NULL);
        uint64_t ns = ht_now_ns() - begin;
        best = ns < best ? ns : best;
    }
    return best;
}

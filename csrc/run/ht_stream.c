/* SPDX-License-Identifier: BSD-3-Clause */
#include "run/ht_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "run/ht_stream_parts.h"
#include "share/ht_segment.h"

/* ---- opening ---------------------------------------------------------- */

typedef struct {
    size_t roster, feed, rates, cold, cold_average;         /* one of each */
    size_t fetched;                                         /* mapped rows: one per worker */
    size_t blocks, values, curvature;                       /* hot: one of each */
    size_t entries, base, redo, redo_rows, counts, average; /* hot: one per worker */
    size_t chunk, group;                                    /* scratch: one, two per worker */
    int64_t n_blocks, n_coordinates, n_hot;
    int stride, arrays;
} sizes_t;

static int64_t outputs_of(const ht_stream_config_t *c)
{
    return c->classes == 0 ? 1 : ht_softmax_outputs(c->classes);
}

static sizes_t measure(const ht_stream_config_t *c)
{
    sizes_t s = {
        .roster = ht_roster_nbytes(c->n_workers),
        .feed = sizeof(ht_feed_t),
        .rates = ht_rates_nbytes(c->n_epochs, c->lrs_per_epoch),
        .n_coordinates = (c->rows.n_features + 1) * outputs_of(c),
        .n_hot = c->n_hot * outputs_of(c),
        .stride = ht_optimizer_stride(c->optimizer, c->inverse_share != NULL),
        .arrays = ht_optimizer_arrays(c->optimizer),
        .chunk = sizeof(chunk_t),
        .group = sizeof(float) * HT_GROUP_ROWS * (size_t)outputs_of(c),
    };
    size_t entry = sizeof(float) * (size_t)s.stride;
    s.fetched = ht_fetched_nbytes(&c->rows, (int)c->rows_in_flight);
    if (s.n_hot < s.n_coordinates)
        s.cold = entry * (size_t)s.n_coordinates;
    if (c->averages_per_epoch > 0) {
        s.cold_average = sizeof(float) * (size_t)s.n_coordinates;
        s.average = sizeof(float) * (size_t)s.n_hot;
    }
    if (s.n_hot == 0)
        return s;
    s.n_blocks = (s.n_hot + HT_BLOCK_COORDINATES - 1) / HT_BLOCK_COORDINATES;
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

/* Penalties reach the coordinates by shares, where a row does not hold them all. */
static int has_what_penalties_need(const ht_stream_config_t *c)
{
    int has_penalty = c->step.l1 != 0.0f || c->step.l2 != 0.0f;
    int needs = !ht_rows_is_dense(&c->rows) && ht_optimizer_has_shares(c->optimizer);
    return c->inverse_share == NULL ? !(has_penalty && needs) : needs;
}

/* Whether the rows' elements are where their parameters are: a kernel trusts them. */
static int has_sound_rows(const ht_stream_config_t *c)
{
    int64_t n_hot = c->n_hot > 0 ? c->n_hot - 1 : 0; /* features */
    if (ht_rows_is_dense(&c->rows))                  /* lanes must not depend on what is hot */
        return c->rows.values != NULL && c->rows.n_hot == n_hot &&
               (n_hot % HT_LANES == 0 || n_hot == c->rows.n_features);
    if (c->rows.hot != NULL) /* renumbered, so a copy */
        return c->n_hot > 0 && !ht_rows_is_mapped(&c->rows);
    return c->rows.n_hot == 0 ? c->n_hot == 0 : n_hot == c->rows.n_features;
}

static int is_valid(const ht_stream_config_t *c)
{
    return c->n_workers >= 1 && c->n_workers <= HT_MAX_WORKERS && c->rows.n_rows >= 1 &&
           c->rows.targets != NULL && c->rows.n_features >= 1 &&
           c->rows.n_features < INT32_MAX / 4 && ht_loss_is_valid(c->loss) &&
           (c->classes == 0 || ht_softmax_is_valid(c->classes)) && c->optimizer >= 0 &&
           c->optimizer < HT_OPTIMIZER_COUNT && c->rows_in_flight >= 1 &&
           c->rows_in_flight <= HT_GROUP_ROWS && c->n_hot >= 0 &&
           c->n_hot <= c->rows.n_features + 1 && has_sound_rows(c) &&
           (c->n_hot == 0 || c->curvature != NULL) && !(c->exact && c->n_hot != 0) &&
           !(ht_optimizer_is_dual(c->optimizer) && c->averages_per_epoch > 0) && c->lrs != NULL &&
           c->lrs_per_epoch >= 1 && c->n_epochs >= 1 && has_what_penalties_need(c);
}

size_t ht_stream_nbytes(const ht_stream_config_t *config)
{
    if (!is_valid(config))
        return 0;
    sizes_t s = measure(config);
    const size_t once[] = {s.roster,       s.feed,   s.rates,  s.cold,
                           s.cold_average, s.blocks, s.values, s.curvature};
    const size_t each[] = {s.entries, s.base,  s.redo,  s.redo_rows, s.counts, s.counts,
                           s.average, s.chunk, s.group, s.group,     s.fetched};
    size_t nbytes = 0;
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        nbytes += ht_segment_carved_nbytes(once[i]);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        nbytes += ht_segment_carved_nbytes(each[i]) * config->n_workers;
    return nbytes;
}

static void carve_hot(ht_stream_t *stream, const sizes_t *s)
{
    const ht_stream_config_t *c = &stream->config;
    ht_segment_t *segment = stream->segment;
    float *curvature = ht_segment_carve(segment, s->curvature);
    for (int64_t j = 0; j < s->n_hot; j++)
        curvature[j] = c->curvature[j / stream->linear.outputs];
    stream->hot = (ht_hot_t){
        .points = &stream->roster->points,
        .blocks = ht_segment_carve(segment, s->blocks),
        .values = ht_segment_carve(segment, s->values),
        .curvature = curvature,
        .n_coordinates = s->n_hot,
        .n_blocks = s->n_blocks,
        .merge = ht_optimizer_merge(c->isa, c->optimizer, s->stride),
        .stride = s->stride,
        .arrays = s->arrays,
        .n_workers = c->n_workers,
        .loss_curvature = c->classes == 0 ? ht_loss_curvature(c->loss) : HT_SOFTMAX_CURVATURE,
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

static void carve_averages(ht_stream_t *stream, const sizes_t *s)
{
    if (stream->config.averages_per_epoch == 0)
        return;
    stream->cold_average = ht_segment_carve(stream->segment, s->cold_average);
    for (uint32_t w = 0; w < stream->config.n_workers; w++)
        stream->averages[w].hot = ht_segment_carve(stream->segment, s->average);
}

static ht_err_t fill(ht_stream_t *stream)
{
    const ht_stream_config_t *c = &stream->config;
    sizes_t s = measure(c);
    stream->n_coordinates = s.n_coordinates;
    stream->n_hot = s.n_hot;
    ht_err_t err = ht_linear_init(&stream->linear, &c->rows, c->loss, c->classes, c->optimizer,
                                  c->inverse_share != NULL, c->exact, c->isa);
    if (err == HT_OK)
        err = ht_segment_create(ht_stream_nbytes(c), &stream->segment);
    if (err != HT_OK)
        return err;
    stream->roster = ht_segment_carve(stream->segment, s.roster);
    stream->feed = ht_segment_carve(stream->segment, s.feed);
    stream->rates = ht_segment_carve(stream->segment, s.rates);
    ht_rates_init(stream->rates, c->n_epochs, c->lrs_per_epoch, c->lrs);
    if (s.cold > 0)
        stream->cold = ht_segment_carve(stream->segment, s.cold);
    if (c->n_hot > 0)
        carve_hot(stream, &s);
    carve_averages(stream, &s);
    ptrdiff_t row = s.stride * stream->linear.outputs;
    for (uint32_t w = 0; w < c->n_workers; w++) {
        float *hot = c->n_hot > 0 ? stream->replicas[w].entries : NULL;
        float *first = hot != NULL ? hot : stream->cold;
        stream->scratch[w] = (scratch_t){
            .chunk = ht_segment_carve(stream->segment, s.chunk),
            .z = ht_segment_carve(stream->segment, s.group),
            .gradient = ht_segment_carve(stream->segment, s.group),
            .fetched = s.fetched > 0 ? ht_segment_carve(stream->segment, s.fetched) : NULL,
        };
        stream->views[w] = (ht_view_t){
            .hot = hot == NULL ? NULL : hot + row,
            .cold = stream->cold == NULL ? NULL : stream->cold + row,
            .intercept = c->intercept ? first : NULL,
            .outputs = stream->linear.outputs,
        };
    }
    uint64_t fair = (uint64_t)c->rows.n_rows / c->n_workers / HT_LEAST_EXCHANGES;
    stream->most_every = fair < 1 ? 1 : fair > UINT32_MAX ? UINT32_MAX : (uint32_t)fair;
    err = ht_roster_init(stream->roster, c->n_workers);
    return err == HT_OK ? ht_feed_init(stream->feed, (uint64_t)c->rows.n_rows, c->seed, c->strips)
                        : err;
}

ht_err_t ht_stream_open(const ht_stream_config_t *config, ht_stream_t **out)
{
    int64_t bad_row;
    if (!is_valid(config) || ht_rows_check_hot(&config->rows, &bad_row) != HT_OK ||
        (config->classes != 0 &&
         ht_softmax_check(config->classes, config->rows.n_rows, config->rows.targets) != HT_OK))
        return HT_EINVAL;
    ht_stream_t *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return -ENOMEM;
    stream->config = *config;
    stream->replicas = calloc(config->n_workers, sizeof *stream->replicas);
    stream->views = calloc(config->n_workers, sizeof *stream->views);
    stream->averages = calloc(config->n_workers, sizeof *stream->averages);
    stream->scratch = calloc(config->n_workers, sizeof *stream->scratch);
    ht_err_t err = -ENOMEM;
    if (stream->replicas != NULL && stream->views != NULL && stream->averages != NULL &&
        stream->scratch != NULL)
        err = fill(stream);
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
    free(stream->averages);
    free(stream->scratch);
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

void ht_stream_set_rates(ht_stream_t *stream, uint32_t epoch, const float *lrs)
{
    ht_rates_write(stream->rates, epoch - 1, lrs);
}

ht_err_t ht_stream_begin(ht_stream_t *stream, uint32_t epoch)
{
    if (epoch < 1)
        return HT_EINVAL;
    ht_feed_begin(stream->feed, epoch);
    ht_roster_start(stream->roster);
    return HT_OK;
}

ht_err_t ht_stream_resume(ht_stream_t *stream)
{
    if (stream->feed->epoch == 0)
        return HT_EINVAL;
    ht_roster_start(stream->roster);
    return HT_OK;
}

/* ---- parameters in and out -------------------------------------------- */

static float *hot_value(const ht_stream_t *stream, int64_t coordinate, int array)
{
    int64_t block = coordinate / HT_BLOCK_COORDINATES;
    return stream->hot.values + (block * stream->hot.arrays + array) * HT_BLOCK_COORDINATES +
           coordinate % HT_BLOCK_COORDINATES;
}

/* The step after all epochs that were begun: what w is computed from z and n with. */
static ht_step_t dual_step(const ht_stream_t *stream)
{
    const ht_stream_config_t *c = &stream->config;
    double rows = (double)stream->feed->epoch * (double)c->rows.n_rows;
    ht_step_t step = c->step;
    step.lr = ht_rates_at(stream->rates, 0, 0); /* it is constant */
    step.l1_sum = (float)(rows * (double)step.l1);
    step.l2_sum = (float)(rows * (double)step.l2);
    return step;
}

/* The first array of a coordinate for its parameter. */
static float to_first(const ht_stream_t *stream, float w)
{
    if (!ht_optimizer_is_dual(stream->config.optimizer))
        return w;
    ht_step_t step = dual_step(stream);
    return ht_optimizer_to_dual(w, &step);
}

void ht_stream_load(ht_stream_t *stream, const float *parameters)
{
    const ht_stream_config_t *c = &stream->config;
    const int64_t stride = stream->linear.stride, outputs = stream->linear.outputs;
    const int penalty_at = ht_optimizer_penalty_at(c->optimizer);
    for (int64_t j = 0; j < stream->n_hot; j++)
        *hot_value(stream, j, 0) = to_first(stream, parameters[j]);
    for (uint32_t w = 0; c->n_hot > 0 && w < c->n_workers; w++) {
        if (c->inverse_share != NULL)
            for (int64_t j = 0; j < stream->n_hot; j++)
                stream->replicas[w].entries[stride * j + penalty_at] =
                    c->inverse_share[j / outputs];
        ht_replica_init(&stream->hot, &stream->replicas[w]);
    }
    for (int64_t j = stream->n_hot; j < stream->n_coordinates; j++) {
        stream->cold[stride * j] = to_first(stream, parameters[j]);
        if (c->inverse_share != NULL)
            stream->cold[stride * j + penalty_at] = c->inverse_share[j / outputs];
    }
}

/* Puts averages in the place of the parameters. */
static void store_averages(const ht_stream_t *stream, float *parameters)
{
    uint64_t total = 0;
    for (uint32_t w = 0; w < stream->config.n_workers; w++)
        total += stream->averages[w].count;
    for (int64_t j = 0; total > 0 && j < stream->n_hot; j++) {
        double sum = 0.0;
        for (uint32_t w = 0; w < stream->config.n_workers; w++)
            sum += (double)stream->averages[w].hot[j] * stream->averages[w].count;
        parameters[j] = (float)(sum / (double)total);
    }
    for (uint32_t w = 0; w < stream->config.n_workers; w++) {
        int64_t first, last;
        cold_part(stream, w, &first, &last);
        if (stream->averages[w].count > 0 && last > first)
            memcpy(parameters + first, stream->cold_average + first,
                   sizeof *parameters * (size_t)(last - first));
    }
}

void ht_stream_store(const ht_stream_t *stream, float *parameters)
{
    const ht_stream_config_t *c = &stream->config;
    const int64_t stride = stream->linear.stride;
    for (int64_t j = 0; j < stream->n_hot; j++)
        parameters[j] = *hot_value(stream, j, 0);
    for (int64_t j = stream->n_hot; j < stream->n_coordinates; j++)
        parameters[j] = stream->cold[stride * j];
    if (c->averages_per_epoch > 0)
        store_averages(stream, parameters);
    if (!ht_optimizer_is_dual(c->optimizer))
        return;
    ht_step_t step = dual_step(stream), free_of_penalty = step;
    free_of_penalty.l1_sum = free_of_penalty.l2_sum = 0.0f;
    for (int64_t j = 0; j < stream->n_coordinates; j++) {
        float n = j < stream->n_hot ? *hot_value(stream, j, 1) : stream->cold[stride * j + 1];
        int is_intercept = j < stream->linear.outputs;
        parameters[j] =
            ht_optimizer_from_dual(parameters[j], n, is_intercept ? &free_of_penalty : &step);
    }
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

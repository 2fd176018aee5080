/* SPDX-License-Identifier: BSD-3-Clause */
#include "run/ht_stream.h"

#include <string.h>

#include "base/ht_futex.h"
#include "math/ht_average.h"
#include "run/ht_stream_parts.h"

ht_segment_t *ht_stream_segment(ht_stream_t *stream)
{
    return stream->segment;
}

int32_t ht_stream_segment_fd(const ht_stream_t *stream)
{
    return stream->segment_fd;
}

ht_roster_t *ht_stream_roster(ht_stream_t *stream)
{
    return stream->roster;
}

ht_feed_t *ht_stream_feed(ht_stream_t *stream)
{
    return stream->feed;
}

ht_log_t *ht_stream_log(ht_stream_t *stream, uint32_t worker)
{
    return stream->places[worker].replica.log;
}

void ht_stream_set_rates(ht_stream_t *stream, uint32_t epoch, const float *lrs)
{
    ht_rates_write(stream->rates, epoch - 1, lrs);
}

/* Wakes the workers.  A place to which nobody comes again has trained nothing. */
static void start(ht_stream_t *stream)
{
    for (uint32_t w = 0; w < stream->config.n_workers; w++) {
        ht_worker_t *worker = &stream->roster->workers[w];
        worker->trained = worker->repeated = 0;
        worker->loss = 0.0;
    }
    if (stream->clock != NULL)
        ht_clock_start(stream->clock);
    ht_roster_start(stream->roster);
}

/* Makes all chunks of the open epoch that are not done wait for a lease. */
static void withhold(ht_stream_t *stream)
{
    for (uint64_t c = 0; c < stream->feed->n_chunks; c++)
        if (!ht_claims_is_done(stream->claims, stream->feed, c))
            ht_claims_set(stream->claims, stream->feed, c, HT_CHUNK_AWAY);
    ht_feed_set_range(stream->feed, 0, 0);
}

ht_err_t ht_stream_begin(ht_stream_t *stream, uint32_t epoch)
{
    if (epoch < 1)
        return HT_EINVAL;
    ht_feed_begin(stream->feed, epoch);
    if (stream->config.is_leased)
        withhold(stream);
    for (uint32_t w = 0; w < stream->config.n_workers; w++)
        stream->roster->workers[w].merged = stream->roster->workers[w].sampled =
            (ht_staleness_t){.total = 0};
    start(stream);
    return HT_OK;
}

ht_err_t ht_stream_resume(ht_stream_t *stream)
{
    if (stream->feed->epoch == 0)
        return HT_EINVAL;
    start(stream);
    return HT_OK;
}

/* ---- averages ----------------------------------------------------------- */

/* Takes the iterate after `chunks` chunks of the epoch into a mean, if it is due, and returns its
 * share; else 0. */
static float take(const ht_stream_t *stream, mean_t *mean, uint64_t chunks)
{
    uint64_t each = stream->config.averages_per_epoch;
    uint64_t number = (stream->feed->epoch - 1) * each + chunks * each / stream->feed->n_chunks;
    if (number <= mean->last)
        return 0.0f;
    double weight = ht_average_weight(number);
    mean->last = number;
    mean->weight += weight;
    return (float)(weight / mean->weight);
}

static void pass_averaging(const ht_stream_t *stream, uint32_t worker, float share, uint64_t chunks)
{
    if (share > 0.0f)
        ht_point_pass(&stream->roster->points, HT_IN_AVERAGING, worker,
                      ht_feed_step(stream->feed, chunks - 1));
}

void ht_stream_average_hot(ht_stream_t *stream, uint32_t worker, uint64_t chunks)
{
    average_t *mine = stream->places[worker].average;
    const float *entries = stream->places[worker].replica.entries;
    int64_t stride = stream->model->stride;
    float share = take(stream, &mine->of_hot, chunks);
    pass_averaging(stream, worker, share, chunks);
    if (stream->places[worker].replica.slot == NULL) {
        for (int64_t j = 0; share > 0.0f && j < stream->n_hot; j++)
            mine->hot[j] += (entries[stride * j] - mine->hot[j]) * share;
        return;
    }
    /* race: with the members of the team; harmless as in ht_stream_average_cold. */
    for (int64_t j = 0; share > 0.0f && j < stream->n_hot; j++)
        mine->hot[j] += (ht_load_relaxed_f32(entries + stride * j) - mine->hot[j]) * share;
}

void ht_stream_average_cold(ht_stream_t *stream, uint32_t worker, uint64_t chunks)
{
    float share = take(stream, &stream->places[worker].average->of_cold, chunks);
    pass_averaging(stream, worker, share, chunks);
    int64_t stride = stream->model->stride, first, last;
    cold_part(stream, worker, &first, &last);
    /* race: with workers that step in place; harmless, because the average may take any iterate;
     * worst case it mixes coordinates of several iterates. */
    for (int64_t j = first; share > 0.0f && j < last; j++) {
        float *mean = stream->cold_average + j;
        *mean += (ht_load_relaxed_f32(stream->cold + stride * j) - *mean) * share;
    }
}

/* ---- deaths ------------------------------------------------------------- */

void ht_stream_declare_dead(ht_stream_t *stream, uint32_t worker)
{
    ht_worker_t *dead = &stream->roster->workers[worker];
    if (stream->config.n_hot > 0)
        ht_replica_release(&stream->hot, &stream->places[worker].replica, ht_worker_rows(dead));
    ht_claims_disturb(stream->claims, stream->feed);
    if (stream->clock != NULL)
        ht_clock_bury(stream->clock, worker);
}

ht_err_t ht_stream_abandon(ht_stream_t *stream, uint32_t worker)
{
    ht_worker_t *dead = &stream->roster->workers[worker];
    ht_replica_t *replica = &stream->places[worker].replica;
    if (stream->config.n_hot > 0 && ht_replica_inherit(&stream->hot, replica, ht_worker_rows(dead),
                                                       ht_replica_rate(replica, dead)) > 0)
        return HT_EBUSY;
    uint64_t left;
    if (stream->config.is_leased &&
        ht_claims_left(stream->claims, stream->feed, worker, &left) == HT_OK) {
        uint64_t progress = ht_load_relaxed(&dead->progress); /* relaxed: of a dead worker */
        if (progress >> 16 == ht_progress(stream->feed->epoch, left, 0) >> 16)
            dead->repeated += (uint32_t)(progress & 0xffff);
        ht_claims_set(stream->claims, stream->feed, left, HT_CHUNK_AWAY); /* leased again at rest */
    }
    ht_roster_abandon(stream->roster, worker);
    return HT_OK;
}

uint64_t ht_stream_trained(ht_stream_t *stream)
{
    const ht_feed_t *feed = stream->feed;
    uint64_t rows = 0;
    for (uint64_t c = 0; c < feed->n_chunks; c++)
        if (ht_claims_is_done(stream->claims, feed, c))
            rows += (uint64_t)ht_feed_n_rows(feed, c);
    for (uint32_t w = 0; w < stream->config.n_workers; w++) {
        uint64_t position, progress = ht_load_relaxed(&stream->roster->workers[w].progress);
        if (ht_claims_left(stream->claims, feed, w, &position) == HT_OK &&
            progress >> 16 == ht_progress(feed->epoch, position, 0) >> 16)
            rows += progress & 0xffff;
    }
    return rows;
}

/* ---- parameters in and out -------------------------------------------- */

/* Returns the step after all epochs that were begun, with which w is computed from z and n. */
static ht_step_t dual_step(const ht_stream_t *stream)
{
    const ht_stream_config_t *c = &stream->config;
    double rows = (double)stream->feed->epoch * (double)c->rows.n_rows;
    ht_step_t step = c->step;
    step.lr = ht_rates_at(stream->rates, 0, 0); /* the rate of a dual optimizer is constant */
    step.l1_sum = (float)(rows * (double)step.l1);
    step.l2_sum = (float)(rows * (double)step.l2);
    return step;
}

/* Returns the value of a coordinate's first array, w or z, for its parameter. */
static float to_first(const ht_stream_t *stream, float w)
{
    if (!ht_optimizer_is_dual(stream->config.optimizer))
        return w;
    ht_step_t step = dual_step(stream);
    return ht_optimizer_to_dual(w, &step);
}

/* Writes what follows from the shared values: replicas, and the share of each entry. */
static void open_entries(ht_stream_t *stream)
{
    const ht_stream_config_t *c = &stream->config;
    const int64_t stride = stream->model->stride, outputs = stream->model->n_outputs;
    const int penalty_at = ht_optimizer_penalty_at(c->optimizer);
    for (uint32_t w = 0; c->n_hot > 0 && w < c->n_workers; w++) {
        if (c->inverse_share != NULL)
            for (int64_t j = 0; j < stream->n_hot; j++)
                stream->places[w].replica.entries[stride * j + penalty_at] =
                    c->inverse_share[j / outputs];
        ht_replica_init(&stream->hot, &stream->places[w].replica);
    }
    for (int64_t j = stream->n_hot; c->inverse_share != NULL && j < stream->n_coordinates; j++)
        stream->cold[stride * j + penalty_at] = c->inverse_share[j / outputs];
}

void ht_stream_load(ht_stream_t *stream, const float *parameters)
{
    for (int64_t j = 0; j < stream->n_coordinates; j++)
        *value_at(stream, j, 0) = to_first(stream, parameters[j]);
    open_entries(stream);
}

/* Overwrites the parameters with their averages, where one was taken; returns the weight of the hot
 * coordinates' iterates. */
static double store_averages(const ht_stream_t *stream, float *parameters)
{
    double total = 0.0;
    for (uint32_t w = 0; w < stream->config.n_workers; w++)
        total += stream->places[w].average->of_hot.weight;
    for (int64_t j = 0; total > 0.0 && j < stream->n_hot; j++) {
        double sum = 0.0;
        for (uint32_t w = 0; w < stream->config.n_workers; w++)
            sum += (double)stream->places[w].average->hot[j] *
                   stream->places[w].average->of_hot.weight;
        parameters[j] = (float)(sum / total);
    }
    for (uint32_t w = 0; w < stream->config.n_workers; w++) {
        int64_t first, last;
        cold_part(stream, w, &first, &last);
        if (stream->places[w].average->of_cold.weight > 0.0 && last > first)
            memcpy(parameters + first, stream->cold_average + first,
                   sizeof *parameters * (size_t)(last - first));
    }
    return total;
}

void ht_stream_store(const ht_stream_t *stream, float *parameters)
{
    const ht_stream_config_t *c = &stream->config;
    for (int64_t j = 0; j < stream->n_coordinates; j++)
        parameters[j] = *value_at(stream, j, 0);
    if (c->averages_per_epoch > 0)
        (void)store_averages(stream, parameters);
    if (!ht_optimizer_is_dual(c->optimizer))
        return;
    const ht_step_t step = dual_step(stream);
    for (int64_t j = 0; j < stream->n_coordinates; j++) {
        float n = *value_at(stream, j, 1);
        int64_t row = j / stream->model->n_outputs;
        float c1 = row == 0 ? 0.0f : c->l1_factor == NULL ? 1.0f : c->l1_factor[row];
        ht_step_t mine = step;
        mine.l1_sum = c1 * step.l1_sum;
        mine.l2_sum = c1 * c1 * step.l2_sum;
        parameters[j] = ht_optimizer_from_dual(parameters[j], n, &mine);
    }
}

/* ---- saving ------------------------------------------------------------- */

int ht_stream_n_arrays(const ht_stream_t *stream)
{
    return stream->hot.arrays + (stream->config.averages_per_epoch > 0);
}

ht_stream_saved_t ht_stream_save(ht_stream_t *stream, float *arrays, unsigned char *done)
{
    size_t n = (size_t)stream->n_coordinates;
    ht_stream_saved_t saved = {.rows = stream->hot.n_blocks > 0 ? stream->hot.blocks[0].rows : 0};
    for (int k = 0; k < stream->hot.arrays; k++)
        for (size_t j = 0; j < n; j++)
            arrays[(size_t)k * n + j] = *value_at(stream, (int64_t)j, k);
    for (uint64_t c = 0; c < stream->feed->n_chunks; c++)
        done[c] = ht_claims_is_done(stream->claims, stream->feed, c) != 0;
    if (stream->config.averages_per_epoch == 0)
        return saved;
    float *average = arrays + (size_t)stream->hot.arrays * n;
    memcpy(average, arrays, sizeof *average * n);
    saved.hot_weight = store_averages(stream, average);
    saved.cold_weight = stream->places[0].average->of_cold.weight;
    for (uint32_t w = 0; w < stream->config.n_workers; w++) {
        const average_t *of = stream->places[w].average;
        uint64_t last = of->of_hot.last > of->of_cold.last ? of->of_hot.last : of->of_cold.last;
        saved.average_last = last > saved.average_last ? last : saved.average_last;
    }
    return saved;
}

void ht_stream_restore(ht_stream_t *stream, const ht_stream_saved_t *saved, const float *arrays,
                       uint32_t epoch, const unsigned char *done)
{
    size_t n = (size_t)stream->n_coordinates, n_hot = (size_t)stream->n_hot;
    for (int k = 0; k < stream->hot.arrays; k++)
        for (size_t j = 0; j < n; j++)
            *value_at(stream, (int64_t)j, k) = arrays[(size_t)k * n + j];
    for (int64_t b = 0; b < stream->hot.n_blocks; b++)
        stream->hot.blocks[b].rows = saved->rows;
    open_entries(stream);
    if (epoch > 0)
        ht_feed_begin(stream->feed, epoch);
    for (uint64_t c = 0; c < stream->feed->n_chunks; c++)
        if (done[c])
            ht_claims_done(stream->claims, stream->feed, c);
    if (stream->config.is_leased && epoch > 0)
        withhold(stream);
    if (stream->config.averages_per_epoch == 0)
        return;
    const float *average = arrays + (size_t)stream->hot.arrays * n;
    for (uint32_t w = 0; w < stream->config.n_workers; w++) {
        average_t *of = stream->places[w].average;
        /* One place has the weight of all earlier iterates: the places' means are added up. */
        of->of_hot = (mean_t){saved->average_last, w == 0 ? saved->hot_weight : 0.0};
        of->of_cold = (mean_t){saved->average_last, saved->cold_weight};
    }
    memcpy(stream->places[0].average->hot, average, sizeof *average * n_hot);
    if (n_hot < n)
        memcpy(stream->cold_average + n_hot, average + n_hot, sizeof *average * (n - n_hot));
}

void ht_stream_slow(ht_stream_t *stream, uint32_t worker, double factor)
{
    uint32_t on_top = (uint32_t)((factor - 1.0) * 1000.0);
    /* relaxed: a worker may see the factor at any time. */
    ht_store_relaxed(&stream->roster->workers[worker].slowed, on_top);
}

uint64_t ht_stream_measure_exchange(ht_stream_t *stream)
{
    if (stream->config.n_hot == 0)
        return 0;
    ht_replica_t *replica = &stream->places[0].replica;
    ht_log_t *log = replica->log;
    replica->log = NULL; /* of the supervisor's handle alone */
    uint64_t best = UINT64_MAX;
    for (int repeat = 0; repeat < 3; repeat++) {
        uint64_t begin = ht_now_ns();
        for (int64_t b = 0; b < stream->hot.n_blocks; b++)
            (void)ht_replica_exchange(&stream->hot, replica, b, replica->rows_at[b], 0.0f, NULL);
        uint64_t ns = ht_now_ns() - begin;
        best = ns < best ? ns : best;
    }
    replica->log = log;
    return best;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "ht_worker.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "ht_futex.h"
#include "ht_segment.h"

struct ht_stream {
    ht_stream_config_t config;
    ht_linear_t linear;
    ht_hot_t hot;
    ht_replica_t *replicas; /* n_workers; NULL when nothing is hot */
    ht_view_t *views;       /* n_workers */
    float *cold;            /* entries of all coordinates; NULL when all are hot */
    ht_roster_t *roster;
    ht_feed_t *feed;
    ht_segment_t *segment;
    uint32_t most_every; /* HT_LEAST_EXCHANGES exchanges a worker and epoch */
};

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
    return c->n_workers >= 1 && c->n_workers <= HT_MAX_WORKERS && c->rows.n_rows >= 1 &&
           c->rows.n_features >= 1 && c->rows.n_features < INT32_MAX / 4 &&
           c->rows_in_flight >= 1 && c->rows_in_flight <= HT_GROUP_ROWS && c->n_hot >= 0 &&
           c->n_hot <= n_coordinates(c) && (c->n_hot == 0 || c->curvature != NULL) &&
           !(c->exact && c->n_hot != 0) && c->lrs != NULL && c->lrs_per_epoch >= 1 &&
           (c->inverse_share != NULL || (c->l1 == 0.0f && c->l2 == 0.0f));
}

static void carve_hot(ht_stream_t *stream, const sizes_t *s)
{
    const ht_stream_config_t *c = &stream->config;
    ht_segment_t *segment = stream->segment;
    float *curvature = ht_segment_carve(segment, s->curvature);
    memcpy(curvature, c->curvature, sizeof(float) * (size_t)c->n_hot);
    stream->hot = (ht_hot_t){
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

/* ---- the loop --------------------------------------------------------- */

/* A worker's state during one epoch. */
typedef struct {
    ht_stream_t *stream;
    ht_worker_t *self;
    ht_replica_t *replica; /* NULL: nothing is hot */
    const ht_view_t *view;
    uint32_t number;
    uint64_t rows_done;    /* of all epochs */
    uint64_t exchanged_at; /* rows_done at the last pass of exchanges */
    uint64_t exchange_ns;  /* of this epoch */
    uint64_t epoch_ns;     /* when the epoch began */
    uint64_t sample_at;    /* rows_done at which the next staleness is sampled */
    ht_step_t step;
} run_t;

/* One pass over the hot blocks, each worker from a place of its own, so that
 * they meet less often.  Returns how many were busy. */
static int64_t exchange_pass(run_t *run)
{
    const ht_hot_t *hot = &run->stream->hot;
    int64_t start = hot->n_blocks * run->number / hot->n_workers;
    int64_t busy = 0;
    for (int64_t i = 0; i < hot->n_blocks; i++) {
        int64_t block = (start + i) % hot->n_blocks;
        if (run->replica->rows_at[block] == run->rows_done)
            continue; /* nothing new since the last exchange */
        busy += ht_replica_exchange(hot, run->replica, block, run->rows_done, run->step.lr,
                                    &run->self->merged) != HT_OK;
    }
    return busy;
}

/* Rows until the next exchange, where the user leaves it to us: as many as
 * keep the cost of exchanges at HT_EXCHANGE_SHARE of the time. */
static uint32_t choose_every(const run_t *run, uint64_t now)
{
    const ht_worker_t *self = run->self;
    uint64_t most = run->stream->most_every;
    double epoch_rows = (double)self->trained;
    double row_ns = (double)(now - run->epoch_ns - run->exchange_ns) / epoch_rows;
    double pass_ns = (double)(self->exchange_ns + run->exchange_ns) / (double)self->exchanges;
    double rows = pass_ns / (HT_EXCHANGE_SHARE * row_ns);
    return rows < 1.0 ? 1 : rows > (double)most ? (uint32_t)most : (uint32_t)rows;
}

static void exchange(run_t *run)
{
    ht_worker_t *self = run->self;
    uint64_t begin = ht_now_ns();
    self->skipped += (uint64_t)exchange_pass(run);
    uint64_t end = ht_now_ns();
    run->exchange_ns += end - begin;
    run->exchanged_at = run->rows_done;
    self->exchanges++;
    if (run->stream->config.every == 0)
        self->every = choose_every(run, end);
}

static void exchange_rest(run_t *run)
{
    uint64_t begin = ht_now_ns();
    /* ends: a busy block means that another worker is exchanging it; the
     * supervisor's HT_LEAVE ends the wait for one that never does. */
    while (exchange_pass(run) > 0 &&
           ht_load_relaxed(&run->stream->roster->stop) != HT_LEAVE) /* relaxed: a request */
        sched_yield();
    run->exchange_ns += ht_now_ns() - begin;
    run->exchanged_at = run->rows_done;
    run->self->exchanges++;
}

/* Steps on up to rows_in_flight rows; their margins go to z. */
static void train_group(run_t *run, const int64_t *ids, int n, float *z)
{
    ht_stream_t *stream = run->stream;
    float margins[HT_GROUP_ROWS];
    int sampled = stream->cold != NULL && run->rows_done >= run->sample_at;
    uint64_t before = sampled ? ht_roster_rows_of_others(stream->roster, run->number) : 0;
    ht_linear_step(&stream->linear, ids, n, run->view, &run->step, margins);
    memcpy(z, margins, sizeof(float) * (size_t)n);
    if (sampled) {
        uint64_t after = ht_roster_rows_of_others(stream->roster, run->number);
        ht_staleness_add(&run->self->sampled, after - before);
        run->sample_at += HT_SAMPLE_PERIOD;
    }
    run->rows_done += (uint64_t)n;
    /* relaxed: a statistic for others, and this worker's own count. */
    ht_store_relaxed(&run->self->rows_done, run->rows_done);
}

/* The learning rate of a chunk, and the penalty folded for it. */
static void set_lr(run_t *run, uint64_t position)
{
    const ht_stream_config_t *c = &run->stream->config;
    uint64_t share = position * c->lrs_per_epoch / run->stream->feed->n_chunks;
    float lr = c->lrs[(uint64_t)(run->stream->feed->epoch - 1) * c->lrs_per_epoch + share];
    if (run->step.is_folded && lr != run->step.lr)
        ht_optimizer_fold(run->replica->entries, c->inverse_share, c->n_hot, lr, c->l2);
    run->step.lr = lr;
}

static ht_err_t train_chunk(run_t *run, uint64_t position)
{
    ht_stream_t *stream = run->stream;
    const ht_stream_config_t *c = &stream->config;
    int64_t ids[HT_CHUNK_ROWS];
    float z[HT_CHUNK_ROWS], y[HT_CHUNK_ROWS], weight[HT_CHUNK_ROWS];
    int n_rows = ht_feed_rows(stream->feed, position, ids);
    set_lr(run, position);
    for (int i = 0; i < n_rows;) {
        int n = n_rows - i < (int)c->rows_in_flight ? n_rows - i : (int)c->rows_in_flight;
        uint64_t left = (uint64_t)n_rows;
        if (run->replica != NULL)
            left = run->exchanged_at + run->self->every - run->rows_done;
        n = left < (uint64_t)n ? (int)left : n;
        train_group(run, ids + i, n, z + i);
        run->self->trained += (uint64_t)n;
        i += n;
        if (run->replica != NULL && run->rows_done - run->exchanged_at >= run->self->every)
            exchange(run);
    }
    for (int i = 0; i < n_rows; i++)
        y[i] = c->rows.targets[ids[i]];
    for (int i = 0; c->rows.weights != NULL && i < n_rows; i++)
        weight[i] = c->rows.weights[ids[i]];
    double loss = ht_loss_sum(c->loss, n_rows, z, y, c->rows.weights == NULL ? NULL : weight);
    run->self->loss += loss;
    return isfinite(loss) ? HT_OK : HT_ENONFINITE;
}

static uint32_t first_every(const ht_stream_t *stream)
{
    const ht_stream_config_t *c = &stream->config;
    if (c->every != 0)
        return c->every;
    return c->n_workers == 1 ? UINT32_MAX : stream->most_every;
}

void ht_worker_stream(ht_stream_t *stream, uint32_t worker)
{
    const ht_stream_config_t *c = &stream->config;
    ht_worker_t *self = &stream->roster->workers[worker];
    run_t run = {
        .stream = stream,
        .self = self,
        .replica = c->n_hot > 0 ? &stream->replicas[worker] : NULL,
        .view = &stream->views[worker],
        .number = worker,
        .rows_done = ht_load_relaxed(&self->rows_done), /* relaxed: own count */
        .epoch_ns = ht_now_ns(),
        .step = {.l1 = c->l1, .l2 = c->l2},
    };
    run.step.is_folded = run.replica != NULL && c->inverse_share != NULL &&
                         ht_optimizer_folds(c->optimizer, c->l1, c->rows.weights != NULL);
    run.exchanged_at = run.sample_at = run.rows_done;
    if (self->rested_at_ns != 0)
        self->wait_ns += run.epoch_ns - self->rested_at_ns;
    if (self->every == 0)
        self->every = first_every(stream);
    self->trained = 0;
    self->loss = 0.0;
    self->outcome = HT_OK;
    uint64_t position;
    while (!ht_roster_stopping(stream->roster) &&
           ht_feed_claim(stream->feed, &position) == HT_OK) {
        ht_err_t err = train_chunk(&run, position);
        if (err != HT_OK) {
            self->outcome = err;
            self->bad_lr = (double)run.step.lr;
            ht_roster_stop(stream->roster, HT_STOP_EPOCH);
        }
    }
    if (run.replica != NULL)
        exchange_rest(&run);
    self->rested_at_ns = ht_now_ns();
    self->exchange_ns += run.exchange_ns;
    self->compute_ns += self->rested_at_ns - run.epoch_ns - run.exchange_ns;
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * Without a clock a worker of the stream waits only at the end of an epoch, for hot blocks that
 * another worker is exchanging; ht_worker_merge.c has the exchanges, and the gate of the clock.
 *
 * The learning rate is a function of the chunk's position in the epoch, not of the rows that the
 * worker has done: a slow worker trains a chunk at the rate that a fast one would use.  `rate` is
 * published in the roster, so that an heir merges a dead worker's replica as the worker would have.
 *
 * Where the user leaves `every` open, a worker measures its own rows and exchanges.  One worker
 * alone exchanges at the end of the epoch only.  A loss that is not finite, or a mapped row that
 * has changed, ends the epoch for all workers; the outcome stands in the entry of the worker that
 * met it.
 *
 * Tests: tests/c/test_worker.c, test_worker_alone.c and test_worker_breadth.c.
 */
#include "run/ht_worker.h"

#include <math.h>
#include <string.h>

#include "base/ht_futex.h"
#include "run/ht_worker_parts.h"

enum { PREFETCH_ROWS = 32 }; /* from fetching a row to its step: two in each strip */

/* Steps on n <= rows_in_flight rows.  Where the model sums the losses of a chunk, the rows' outputs
 * go to z; else the rows' losses are added to *loss.  HT_ECHANGED: no step was made. */
static ht_err_t train_group(run_t *run, const int64_t *ids, int n, float *z, double *loss)
{
    ht_stream_t *stream = run->stream;
    const ht_model_t *model = stream->model;
    if (run->rows == &run->fetched.rows) {
        ht_err_t err = ht_rows_fetch(&stream->config.rows, ids, n, &run->fetched);
        if (err != HT_OK)
            return err;
        ids = ht_fetched_ids;
    }
    int sampled = stream->cold != NULL && run->rows_done >= run->sample_at;
    uint64_t before = sampled ? ht_roster_rows_of_others(stream->roster, run->number) : 0;
    *loss += model->step(model, run->rows, ids, n, run->view, &run->step, run->scratch.z,
                         run->scratch.gradient);
    if (run->second != NULL)
        run->curved += run->second(model, run->rows, ids, n, run->scratch.gradient);
    if (model->loss != NULL)
        memcpy(z, run->scratch.z, sizeof(float) * (size_t)n);
    if (sampled) {
        uint64_t after = ht_roster_rows_of_others(stream->roster, run->number);
        ht_staleness_add(&run->self->sampled, after - before);
        run->sample_at += HT_SAMPLE_PERIOD;
    }
    run->rows_done += (uint64_t)n;
    /* relaxed: a statistic for others, and this worker's own count. */
    ht_store_relaxed(&run->self->rows_done, run->rows_done);
    return HT_OK;
}

/* Makes the worker train on fetched copies where the rows' file is mapped. */
static void open_fetched(run_t *run)
{
    const ht_stream_config_t *c = &run->stream->config;
    run->rows = &c->rows;
    if (!ht_rows_is_mapped(&c->rows))
        return;
    ht_fetched_open(&run->fetched, &c->rows, (int)c->rows_in_flight, run->scratch.fetched);
    run->rows = &run->fetched.rows;
}

/* Sets the learning rate of a chunk and the values that follow from the rate and the position. */
static void set_lr(run_t *run, uint64_t position)
{
    const ht_stream_config_t *c = &run->stream->config;
    const ht_feed_t *feed = run->stream->feed;
    uint64_t share = position * c->lrs_per_epoch / feed->n_chunks;
    float lr = ht_rates_at(run->stream->rates, feed->epoch - 1, share);
    run->step.lr = lr;
    ht_worker_publish_rate(run);
    if (run->step.is_folded && lr != run->folded_lr) {
        ht_optimizer_fold(run->replica->entries, c->inverse_share, run->stream->n_hot,
                          (int)run->stream->model->n_outputs, lr, c->step.l2);
        run->folded_lr = lr;
    }
    double epochs = (double)(feed->epoch - 1) + (double)position / (double)feed->n_chunks;
    double rows = epochs * (double)c->rows.n_rows; /* of all workers, by the chunk's position */
    run->step.l1_sum = (float)((double)c->step.l1 * rows);
    run->step.l2_sum = (float)((double)c->step.l2 * rows);
}

/* Sets the powers of the decays for the rows whose gradients the state holds: those of all workers
 * at the last exchange, and the worker's own since then. */
static void set_powers(run_t *run)
{
    const ht_step_t *step = &run->stream->config.step;
    const ht_replica_t *replica = run->replica;
    uint64_t rows = run->rows_done;
    if (replica != NULL)
        rows += replica->rows_seen[0] - replica->rows_at[0];
    run->step.power1 = (float)pow((double)step->decay1, (double)rows);
    run->step.power2 = (float)pow((double)step->decay2, (double)rows);
}

double ht_worker_loss(const ht_stream_t *stream, uint32_t worker, int n_rows)
{
    chunk_t *chunk = stream->places[worker].scratch.chunk;
    if (stream->model->loss == NULL)
        return chunk->loss;
    const ht_rows_t *rows = &stream->config.rows;
    for (int i = 0; i < n_rows; i++)
        chunk->y[i] = rows->targets[chunk->ids[i]];
    for (int i = 0; rows->weights != NULL && i < n_rows; i++)
        chunk->weight[i] = rows->weights[chunk->ids[i]];
    return stream->model->loss(stream->model, n_rows, chunk->z, chunk->y,
                               rows->weights == NULL ? NULL : chunk->weight);
}

/* Notes how many rows of the chunk in hand are finished. */
static void note_progress(run_t *run, uint64_t position, int n_rows)
{
    uint64_t progress = ht_progress(run->stream->feed->epoch, position, (uint32_t)n_rows);
    /* relaxed: read once a death is confirmed. */
    ht_store_relaxed(&run->self->progress, progress);
}

/* Makes the chunk that was begun at a time take as long as the worker is slowed to, unless the
 * epoch ends early. */
static void delay(run_t *run, uint64_t begin)
{
    /* relaxed: a worker may see it at any time. */
    uint64_t thousandths = ht_load_relaxed(&run->self->slowed);
    uint64_t end = ht_now_ns();
    uint64_t until = end + (end - begin) / 1000 * thousandths;
    while (ht_now_ns() < until && !ht_roster_stopping(run->stream->roster))
        ;
}

/* Returns whether a worker of this place has begun a chunk before. */
static int is_begun(run_t *run, uint64_t position)
{
    /* relaxed: own word, or of the dead worker before. */
    uint64_t progress = ht_load_relaxed(&run->self->progress);
    return progress >> 16 == ht_progress(run->stream->feed->epoch, position, 0) >> 16;
}

void ht_worker_begin_chunk(run_t *run, uint64_t position, int first)
{
    ht_stream_t *stream = run->stream;
    ht_points_t *points = &stream->roster->points;
    const uint32_t step = ht_feed_step(stream->feed, position), worker = run->number;
    chunk_t *chunk = run->scratch.chunk;
    run->n_rows = ht_feed_rows(stream->feed, position, chunk->ids);
    run->row = first;
    if (run->replica != NULL) {
        run->replica->step = step;
        ht_log_enter(run->replica->log, HT_LOG_CHUNK, (uint32_t)first, (uint32_t)position);
    }
    ht_point_pass(points, HT_CHUNK_CLAIMED, worker, step);
    if (first == 0)
        chunk->loss = 0.0;
    /* The group that a dead worker had in hand may have been stepped, or a part of it. */
    if (is_begun(run, position))
        run->self->repeated += stream->config.rows_in_flight;
    note_progress(run, position, first);
    ht_point_pass(points, HT_CHUNK_BEGUN, worker, step);
    /* Looked at once a chunk: the loop over groups is short. */
    run->is_watched =
        ht_point_is_armed(points, HT_GROUP_STEPPED) || ht_point_is_armed(points, HT_GROUP_FINISHED);
    set_lr(run, position);
}

ht_err_t ht_worker_train_group(run_t *run, uint64_t position, int n)
{
    ht_stream_t *stream = run->stream;
    const ht_stream_config_t *c = &stream->config;
    chunk_t *chunk = run->scratch.chunk;
    const int64_t *ids = chunk->ids;
    int i = run->row, n_rows = run->n_rows;
    if (ht_optimizer_has_means(c->optimizer))
        set_powers(run);
    int prefetches = stream->feed->strips > 1 && !ht_rows_is_dense(&c->rows);
    int last = i + PREFETCH_ROWS + n < n_rows ? i + PREFETCH_ROWS + n : n_rows;
    for (int k = i + PREFETCH_ROWS; prefetches && k < last; k++)
        ht_rows_prefetch(&c->rows, ids[k], ids[k + PREFETCH_ROWS < n_rows ? k + PREFETCH_ROWS : k]);
    ht_err_t err = train_group(run, ids + i, n, chunk->z + i, &chunk->loss);
    if (err != HT_OK)
        return err;
    ht_points_t *points = run->is_watched ? &stream->roster->points : NULL;
    uint32_t step = run->is_watched ? ht_feed_step(stream->feed, position) : 0;
    ht_point_pass(points, HT_GROUP_STEPPED, run->number, step);
    run->row = i + n;
    note_progress(run, position, run->row);
    ht_point_pass(points, HT_GROUP_FINISHED, run->number, step);
    run->self->trained += (uint64_t)n;
    return HT_OK;
}

ht_err_t ht_worker_end_chunk(run_t *run, uint64_t position)
{
    ht_stream_t *stream = run->stream;
    if (stream->config.averages_per_epoch > 0) {
        ht_stream_average_hot(stream, run->number, position + 1);
        ht_stream_average_cold(stream, run->number, position + 1);
    }
    double loss = ht_worker_loss(stream, run->number, run->n_rows);
    ht_claims_done(stream->claims, stream->feed, position);
    run->self->loss += loss;
    run->row = 0;
    return isfinite(loss) ? HT_OK : HT_ENONFINITE;
}

/* Trains a chunk, from row `first` of it on. */
static ht_err_t train_chunk(run_t *run, uint64_t position, int first)
{
    ht_worker_await_room(run);
    /* relaxed: a worker may see it at any time. */
    uint64_t begin = ht_load_relaxed(&run->self->slowed) != 0 ? ht_now_ns() : 0;
    uint64_t waited = run->gate_ns;
    ht_worker_begin_chunk(run, position, first);
    while (run->row < run->n_rows) {
        uint64_t n = (uint64_t)(run->n_rows - run->row), left = n;
        if (run->replica != NULL)
            left = run->exchanged_at + run->self->every - run->rows_done;
        n = n < run->stream->config.rows_in_flight ? n : run->stream->config.rows_in_flight;
        ht_err_t err = ht_worker_train_group(run, position, (int)(left < n ? left : n));
        if (err != HT_OK)
            return err;
        if (run->replica != NULL && run->rows_done - run->exchanged_at >= run->self->every)
            ht_worker_exchange(run);
    }
    if (begin != 0)
        delay(run, begin + (run->gate_ns - waited)); /* to wait for others is no work */
    return ht_worker_end_chunk(run, position);
}

/* Trains the next chunk: first what a dead worker of this place has left, while *follows, then what
 * is open.  HT_EEND when there is none. */
static ht_err_t train_next(run_t *run, int *follows)
{
    ht_stream_t *stream = run->stream;
    ht_feed_t *feed = stream->feed;
    uint64_t position;
    if (*follows && ht_claims_left(stream->claims, feed, run->number, &position) == HT_OK) {
        uint64_t progress = ht_load_relaxed(&run->self->progress); /* relaxed: of the dead worker */
        return train_chunk(run, position, is_begun(run, position) ? (int)(progress & 0xffff) : 0);
    }
    *follows = 0;
    ht_err_t err =
        ht_claims_next(stream->claims, feed, &stream->roster->points, run->number, &position);
    return err == HT_OK ? train_chunk(run, position, 0) : err;
}

static uint32_t first_every(const ht_stream_t *stream)
{
    const ht_stream_config_t *c = &stream->config;
    if (c->every != 0)
        return c->every;
    return c->n_workers == 1 ? UINT32_MAX : stream->most_every;
}

/* Returns what measures the curvature of the loss, where merges ask for it; else NULL. */
static ht_second_fn_t *second_of(const ht_stream_t *stream)
{
    const ht_stream_config_t *c = &stream->config;
    int weighs = c->n_hot > 0 && c->n_workers > 1 && c->adds != HT_ADDED;
    if (!weighs && !c->is_leased)
        return NULL;
    return c->adds == HT_COMPENSATED ? stream->model->steepest : stream->model->second;
}

void ht_worker_begin(run_t *run, ht_stream_t *stream, uint32_t worker)
{
    const ht_stream_config_t *c = &stream->config;
    ht_worker_t *self = &stream->roster->workers[worker];
    *run = (run_t){
        .stream = stream,
        .self = self,
        .replica = c->n_hot > 0 ? &stream->places[worker].replica : NULL,
        .view = &stream->places[worker].view,
        .number = worker,
        .rows_done = ht_load_relaxed(&self->rows_done), /* relaxed: own count */
        .epoch_ns = ht_now_ns(),
        .curvature = stream->model->curvature,
        .second = second_of(stream),
        .folded_lr = NAN,
        .step = c->step,
        .scratch = stream->places[worker].scratch,
    };
    /* A team's members have rates of their own. */
    run->step.is_folded = run->replica != NULL && run->replica->slot == NULL &&
                          c->inverse_share != NULL &&
                          ht_optimizer_folds(c->optimizer, c->step.l1, c->rows.weights != NULL);
    run->exchanged_at = run->sample_at = run->began_at = run->rows_done;
    open_fetched(run);
    if (self->rested_at_ns != 0)
        self->wait_ns += run->epoch_ns - self->rested_at_ns;
    if (self->every == 0)
        self->every = first_every(stream);
    /* relaxed, all: own words, of a dead worker before. */
    uint32_t epoch = ht_load_relaxed(&stream->roster->epoch);
    if (ht_load_relaxed(&self->began) != epoch) {
        self->trained = 0;
        self->repeated = 0;
        self->loss = 0.0;
        self->outcome = HT_OK;
        ht_store_relaxed(&self->began, epoch);
    }
    if (run->replica != NULL)
        ht_log_enter(run->replica->log, HT_LOG_BEGUN, 0, 0);
}

void ht_worker_stream(ht_stream_t *stream, uint32_t worker)
{
    const ht_stream_config_t *c = &stream->config;
    ht_worker_t *self = &stream->roster->workers[worker];
    run_t run;
    ht_worker_begin(&run, stream, worker);
    ht_worker_take_view(&run);
    int follows = ht_claims_is_disturbed(stream->claims, stream->feed);
    for (ht_err_t err = HT_OK; err != HT_EEND && !ht_roster_stopping(stream->roster);) {
        err = train_next(&run, &follows);
        if (err != HT_OK && err != HT_EEND) {
            self->outcome = err;
            self->bad_lr = (double)run.step.lr;
            ht_roster_stop(stream->roster, HT_STOP_EPOCH);
        }
    }
    if (run.replica != NULL)
        ht_worker_exchange_rest(&run);
    else
        ht_worker_take_curvature(&run);
    /* Also by a worker that has trained nothing: the others do not average its part. */
    if (c->averages_per_epoch > 0 && !ht_roster_stopping(stream->roster))
        ht_stream_average_cold(stream, worker, stream->feed->n_chunks);
    self->rested_at_ns = ht_now_ns();
    self->exchange_ns += run.exchange_ns;
    self->wait_ns += run.gate_ns;
    self->compute_ns += self->rested_at_ns - run.epoch_ns - run.exchange_ns - run.gate_ns;
}

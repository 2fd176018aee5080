/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a worker of the stream exchanges its replica, and waits at the gate of the clock.
 *
 * Design notes.
 *
 * An exchange that meets a busy block leaves it to the next pass, so that nobody waits: not for a
 * worker either that has lost its core within an exchange.  With a clock (Async) a pass is one
 * merge: the worker counts it, and waits until the gate lets it pass.  Where the gate is a bound,
 * the worker takes busy blocks up again until all are exchanged: one that was left out would be
 * older than the clock says.  To wait for a busy block is to wait for an exchange that is under
 * way; a worker that is stopped or dead within one is found by the supervisor.
 *
 * A call to stop opens the gate: the worker does not begin another merge, and hands in its change
 * when it rests.  So what is handed in at a rest may be one merge more than the gate would let
 * pass, when all workers are called to rest.
 *
 * A worker begins an epoch with a fresh view, but for busy blocks where nothing bounds how old
 * views are.  It may have had no chunk in epochs before, and rows on parameters of then would count
 * as others do; and a dead worker's successor has a replica as old as the death.  A team's replica
 * has changes of other members at any time, so that it is exchanged.
 *
 * Each member of a team makes passes of its own, after `every` rows of its own, and at the end of
 * an epoch: whatever a member has done is handed in when it rests, whoever has died before.
 */
#include <sched.h>

#include "base/ht_futex.h"
#include "run/ht_worker_parts.h"

#define CURVATURE_ROWS 256.0f

/* Exchanges all hot blocks that have new rows, and returns how many of them were busy.  Each worker
 * begins at another block, so that workers meet less often. */
static int64_t exchange_pass(run_t *run)
{
    const ht_hot_t *hot = &run->stream->hot;
    int64_t start = hot->n_blocks * run->number / hot->n_workers;
    float rate = ht_replica_rate(run->replica, run->self);
    int64_t busy = 0;
    for (int64_t i = 0; i < hot->n_blocks; i++) {
        int64_t block = (start + i) % hot->n_blocks;
        if (run->replica->slot == NULL && run->replica->rows_at[block] == run->rows_done)
            continue; /* nothing new since the last exchange; of a team, others may have steps */
        busy += ht_replica_exchange(hot, run->replica, block, run->rows_done, rate,
                                    &run->self->merged) != HT_OK;
    }
    return busy;
}

/* Exchanges all hot blocks of a team's replica.  A busy block is waited for until is_called: to
 * come back to it later would mean to exchange the others again, which other members change. */
static void exchange_team(run_t *run, int (*is_called)(ht_roster_t *))
{
    ht_stream_t *stream = run->stream;
    const ht_hot_t *hot = &stream->hot;
    int64_t start = hot->n_blocks * run->number / hot->n_workers;
    float rate = ht_replica_rate(run->replica, run->self);
    for (int64_t i = 0; i < hot->n_blocks; i++)
        /* ends: a busy block means that another worker is exchanging it; a call ends the wait for
         * one that never does. */
        while (ht_replica_exchange(hot, run->replica, (start + i) % hot->n_blocks, run->rows_done,
                                   rate, &run->self->merged) != HT_OK) {
            if (is_called(stream->roster))
                return;
            sched_yield();
        }
}

/* Returns whether the replica has rows that it has not handed in, in any block.  Of a team: whether
 * the worker has. */
static int has_change(const run_t *run)
{
    if (run->replica->slot != NULL)
        return run->exchanged_at != run->rows_done;
    for (int64_t b = 0; b < run->stream->hot.n_blocks; b++)
        if (run->replica->rows_at[b] != run->rows_done)
            return 1;
    return 0;
}

/* Returns the rows until the next exchange, where the user leaves the number open: the fewest rows
 * that keep exchanges within HT_EXCHANGE_SHARE of the time, but never more than most_every. */
static uint32_t choose_every(const run_t *run, uint64_t now)
{
    const ht_worker_t *self = run->self;
    uint64_t most = run->stream->most_every;
    double epoch_rows = (double)(run->rows_done - run->began_at);
    double row_ns = (double)(now - run->epoch_ns - run->exchange_ns - run->gate_ns) / epoch_rows;
    double pass_ns = (double)(self->exchange_ns + run->exchange_ns) / (double)self->exchanges;
    double rows = pass_ns / (HT_EXCHANGE_SHARE * row_ns);
    if (!(rows < (double)most)) /* NaN, when the clock has not moved */
        return (uint32_t)most;
    return rows > 1.0 ? (uint32_t)rows : 1;
}

void ht_worker_publish_rate(run_t *run)
{
    const ht_stream_config_t *c = &run->stream->config;
    float full = ht_optimizer_rate(c->optimizer, &run->step) * run->curvature;
    float rate = c->adds == HT_ADDED ? 0.0f : full;
    /* relaxed: an heir reads it once the death is confirmed. */
    ht_store_relaxed_f32(&run->self->rate, rate);
    run->self->pace = full;
}

void ht_worker_take_curvature(run_t *run)
{
    if (run->second == NULL || run->rows_done == run->exchanged_at)
        return;
    float rows = (float)(run->rows_done - run->exchanged_at), part = 1.0f;
    if (run->stream->config.adds == HT_COMPENSATED && rows < CURVATURE_ROWS) {
        float of_epoch = (float)(run->rows_done - run->began_at);
        part = rows / (of_epoch < CURVATURE_ROWS ? of_epoch : CURVATURE_ROWS);
    }
    run->curvature = (1.0f - part) * run->curvature + part * (run->curved / rows);
    run->curved = 0.0f;
    ht_worker_publish_rate(run);
}

/* Counts a merge and waits until it may enter.  Returns 0 if the worker is called to stop instead;
 * then it may have been counted or not. */
static int pass_gate(run_t *run)
{
    ht_stream_t *stream = run->stream;
    if (ht_roster_stopping(stream->roster))
        return 0;
    uint64_t begin = ht_now_ns();
    uint32_t lead = 0;
    ht_clock_tick(stream->clock, run->number);
    ht_point_pass(&stream->roster->points, HT_AT_GATE, run->number, run->replica->step);
    ht_err_t err;
    /* ends: the slowest worker passes; a death or a call to stop ends the wait of the others. */
    do
        err = ht_clock_await(stream->clock, run->number, UINT64_MAX, &lead);
    while (err == HT_EINTR && !ht_roster_stopping(stream->roster));
    if (err == HT_OK && lead > run->self->lead)
        run->self->lead = lead;
    run->gate_ns += ht_now_ns() - begin;
    return err == HT_OK;
}

void ht_worker_await_room(const run_t *run)
{
    ht_log_t *log = run->replica == NULL ? NULL : run->replica->log;
    uint32_t n = ht_log_stretch(run->stream->hot.n_blocks);
    /* ends: the supervisor drains the logs as long as it does not call the workers to leave. */
    while (log != NULL && ht_log_await_room(log, n) != HT_OK &&
           !ht_roster_leaving(run->stream->roster))
        ;
}

/* Returns whether there is a bound on how old views are. */
static int is_bounded(const ht_stream_t *stream)
{
    return stream->clock != NULL && stream->clock->staleness != HT_CLOCK_OPEN;
}

void ht_worker_exchange(run_t *run)
{
    ht_stream_t *stream = run->stream;
    ht_worker_t *self = run->self;
    ht_worker_await_room(run);
    int is_let_in = stream->clock == NULL || pass_gate(run);
    ht_log_enter(run->replica->log, HT_LOG_PASS, (uint32_t)is_let_in, (uint32_t)run->row);
    ht_worker_take_curvature(run);
    if (!is_let_in) {
        run->exchanged_at = run->rows_done; /* handed in at the rest */
        return;
    }
    uint64_t begin = ht_now_ns();
    int64_t busy = 0;
    if (stream->clock != NULL && run->replica->slot != NULL)
        exchange_team(run, ht_roster_stopping);
    else
        busy = exchange_pass(run);
    self->skipped += (uint64_t)busy;
    if (busy > 0) /* perhaps the worker that holds a block waits for this core */
        sched_yield();
    /* ends: a busy block means that another worker is exchanging it; a call to stop ends the wait
     * for one that never does. */
    while (is_bounded(stream) && busy > 0 && !ht_roster_stopping(stream->roster)) {
        busy = exchange_pass(run);
        if (busy > 0)
            sched_yield();
    }
    uint64_t end = ht_now_ns();
    run->exchange_ns += end - begin;
    run->exchanged_at = run->rows_done;
    self->exchanges++;
    if (stream->config.every == 0)
        self->every = choose_every(run, end);
}

void ht_worker_exchange_rest(run_t *run)
{
    ht_stream_t *stream = run->stream;
    if (stream->clock != NULL && has_change(run))
        (void)pass_gate(run);
    uint64_t begin = ht_now_ns();
    ht_log_enter(run->replica->log, HT_LOG_RESTED, 0, 0);
    ht_worker_take_curvature(run);
    /* ends: a busy block means that another worker is exchanging it; the
     * supervisor's HT_LEAVE ends the wait for one that never does. */
    while (run->replica->slot == NULL && exchange_pass(run) > 0 &&
           !ht_roster_leaving(stream->roster))
        sched_yield();
    if (run->replica->slot != NULL)
        exchange_team(run, ht_roster_leaving);
    run->exchange_ns += ht_now_ns() - begin;
    run->exchanged_at = run->rows_done;
    run->self->exchanges++;
    if (stream->clock != NULL)
        ht_clock_leave(stream->clock, run->number);
}

void ht_worker_take_view(run_t *run)
{
    ht_stream_t *stream = run->stream;
    if (run->replica == NULL)
        return;
    if (stream->clock != NULL)
        ht_clock_enter(stream->clock, run->number);
    if (run->replica->slot != NULL) {
        if (stream->clock != NULL)
            exchange_team(run, ht_roster_stopping);
        else
            (void)exchange_pass(run);
        return;
    }
    if (stream->clock != NULL && has_change(run))
        ht_worker_exchange(run);
    for (int64_t b = 0; b < stream->hot.n_blocks && !ht_roster_stopping(stream->roster); b++)
        /* ends: as in ht_worker_exchange. */
        while (run->replica->rows_at[b] == run->rows_done &&
               ht_replica_refresh(&stream->hot, run->replica, b) != HT_OK && is_bounded(stream) &&
               !ht_roster_stopping(stream->roster))
            sched_yield();
}

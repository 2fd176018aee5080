/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * The rows of a chunk are trained by the functions of the worker, so there is nothing here that
 * could round otherwise.  What a worker would have read from the clock or from other workers comes
 * from the entries: chunks, the rows at which it made a pass, the blocks that were not busy.
 *
 * Entries come from a file.  Each is checked before it is played, so that a file that somebody has
 * made up ends with HT_EINVAL: nothing is read or written outside of the segment.
 *
 * Tests: tests/c/test_replay.c: bits, kills at each point, entries that contradict each other.
 */
#include "run/ht_replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "run/ht_snapshot.h"
#include "run/ht_worker_parts.h"

/* A worker, as it is replayed. */
typedef struct {
    run_t run;
    const uint64_t *entries;
    size_t n_entries, at; /* the next one */
    uint64_t position;    /* of the chunk in hand */
    uint64_t began;       /* rows_done at the last rest */
    int has_chunk;
    int is_alive;     /* it has begun, and not died */
    double left_loss; /* of the rows of a chunk that a dead worker has begun, until it goes on */
} player_t;

struct ht_replay {
    ht_stream_t *stream;
    const unsigned char *snapshots;
    size_t n_snapshots;
    player_t *players;
};

/* ---- playing ------------------------------------------------------------ */

ht_err_t ht_replay_open(ht_stream_t *stream, ht_replay_t **out)
{
    if (stream->cold != NULL || stream->hot.n_blocks == 0)
        return HT_EINVAL;
    uint32_t n = stream->config.n_workers;
    ht_replay_t *replay = calloc(1, sizeof *replay);
    player_t *players = calloc(n, sizeof *players);
    if (replay == NULL || players == NULL) {
        free(replay);
        free(players);
        return -ENOMEM;
    }
    for (uint32_t w = 0; w < n; w++)
        players[w].run = (run_t){.stream = stream,
                                 .self = &stream->roster->workers[w],
                                 .replica = &stream->places[w].replica,
                                 .scratch = stream->places[w].scratch,
                                 .number = w};
    *replay = (ht_replay_t){.stream = stream, .players = players};
    *out = replay;
    return HT_OK;
}

void ht_replay_close(ht_replay_t *replay)
{
    if (replay == NULL)
        return;
    free(replay->players);
    free(replay);
}

void ht_replay_set_entries(ht_replay_t *replay, uint32_t worker, const uint64_t *entries, size_t n)
{
    player_t *player = &replay->players[worker];
    player->entries = entries;
    player->n_entries = n;
    player->at = 0;
    player->began = player->run.rows_done;
}

void ht_replay_set_snapshots(ht_replay_t *replay, const unsigned char *snapshots, size_t n)
{
    replay->snapshots = snapshots;
    replay->n_snapshots = n;
}

uint64_t ht_replay_rows(ht_replay_t *replay)
{
    uint64_t rows = 0;
    for (uint32_t w = 0; w < replay->stream->config.n_workers; w++)
        rows += replay->players[w].run.rows_done;
    return rows;
}

double ht_replay_open_loss(const ht_replay_t *replay)
{
    double loss = 0.0;
    for (uint32_t w = 0; w < replay->stream->config.n_workers; w++) {
        const player_t *player = &replay->players[w];
        loss += player->left_loss;
        if (player->has_chunk)
            loss += ht_worker_loss(replay->stream, w, player->run.row);
    }
    return loss;
}

/* Returns how many rows of the chunk in hand are trained before the next entry. */
static int rows_before(const player_t *player)
{
    const run_t *run = &player->run;
    uint64_t entry = player->entries[player->at];
    switch (ht_log_kind(entry)) {
    case HT_LOG_PASS:
        return (uint32_t)entry < (uint32_t)run->n_rows ? (int)(uint32_t)entry : run->n_rows;
    case HT_LOG_CHUNK:
    case HT_LOG_RESTED:
        return run->n_rows;
    default:
        return run->row;
    }
}

static int trains(const player_t *player)
{
    return player->has_chunk && player->run.row < rows_before(player);
}

static int is_of_block(uint64_t entry)
{
    uint32_t kind = ht_log_kind(entry);
    return kind == HT_LOG_EXCHANGE || kind == HT_LOG_REFRESH || kind == HT_LOG_FREED;
}

/* Returns whether the worker's next deed may come. */
static int may_go_on(const player_t *player)
{
    if (player->at == player->n_entries)
        return 0;
    uint64_t entry = player->entries[player->at];
    const ht_hot_t *hot = &player->run.stream->hot;
    if (trains(player) || !is_of_block(entry) || ht_log_detail(entry) >= (uint64_t)hot->n_blocks)
        return 1;
    return ht_block_sequence(&hot->blocks[ht_log_detail(entry)]) == (uint32_t)entry;
}

/* Finds the worker that goes on; NULL: none can. */
static player_t *next_player(ht_replay_t *replay)
{
    player_t *found = NULL;
    for (uint32_t w = 0; w < replay->stream->config.n_workers; w++) {
        player_t *player = &replay->players[w];
        if (may_go_on(player) && (found == NULL || player->run.rows_done - player->began <
                                                       found->run.rows_done - found->began))
            found = player;
    }
    return found;
}

/* Notes how a chunk or a group has ended, as the worker does. */
static void note_outcome(run_t *run, ht_err_t err)
{
    if (err == HT_OK)
        return;
    run->self->outcome = err;
    run->self->bad_lr = (double)run->step.lr;
}

static void end_chunk(player_t *player)
{
    if (player->has_chunk)
        note_outcome(&player->run, ht_worker_end_chunk(&player->run, player->position));
    player->has_chunk = 0;
}

static ht_err_t begin_chunk(player_t *player, uint64_t position, uint32_t first)
{
    ht_stream_t *stream = player->run.stream;
    if (!player->is_alive || position >= stream->feed->n_chunks ||
        first > (uint32_t)ht_feed_n_rows(stream->feed, position))
        return HT_EINVAL;
    end_chunk(player);
    (void)ht_claims_take(stream->claims, stream->feed, position, player->run.number);
    ht_worker_begin_chunk(&player->run, position, (int)first);
    player->position = position;
    player->has_chunk = 1;
    player->left_loss = 0.0;
    return HT_OK;
}

static ht_err_t pass(player_t *player, uint32_t is_let_in, uint32_t row)
{
    run_t *run = &player->run;
    if (!player->is_alive || row != (uint32_t)(player->has_chunk ? run->row : 0))
        return HT_EINVAL;
    ht_worker_take_curvature(run);
    run->self->exchanges += is_let_in;
    run->exchanged_at = run->rows_done;
    return HT_OK;
}

static ht_err_t rest(player_t *player)
{
    run_t *run = &player->run;
    if (!player->is_alive)
        return HT_EINVAL;
    end_chunk(player);
    ht_worker_take_curvature(run);
    run->exchanged_at = run->rows_done;
    run->self->exchanges++;
    return HT_OK;
}

/* Makes an exchange or a refresh, unless the next entry says that it was not made. */
static ht_err_t use_block(player_t *player, uint64_t entry)
{
    run_t *run = &player->run;
    const ht_hot_t *hot = &run->stream->hot;
    int64_t b = ht_log_detail(entry);
    if (b >= hot->n_blocks)
        return HT_EINVAL;
    uint32_t kind = ht_log_kind(entry);
    uint64_t freed = ht_log_entry(HT_LOG_FREED, (uint32_t)b, (uint32_t)entry);
    if (player->at < player->n_entries && player->entries[player->at] == freed) {
        kind = HT_LOG_FREED;
        player->at++;
    }
    if (kind == HT_LOG_REFRESH)
        return ht_replica_refresh(hot, run->replica, b);
    if (kind == HT_LOG_EXCHANGE)
        /* The heir of a dead worker counts no staleness. */
        return ht_replica_exchange(hot, run->replica, b, run->rows_done,
                                   ht_load_relaxed_f32(&run->self->rate), /* relaxed: own word */
                                   player->is_alive ? &run->self->merged : NULL);
    ht_err_t err = ht_block_try_lock(&hot->blocks[b], run->number);
    if (err == HT_OK)
        ht_block_release(&hot->blocks[b]);
    return err;
}

/* Makes a player the dead worker that a snapshot was taken of. */
static ht_err_t die(const ht_replay_t *replay, player_t *player, uint32_t number)
{
    run_t *run = &player->run;
    if (number >= replay->n_snapshots)
        return HT_EINVAL;
    player->has_chunk = player->is_alive = 0;
    return ht_snapshot_restore(run->stream, run->number,
                               replay->snapshots + number * ht_snapshot_nbytes(run->stream),
                               &run->rows_done, &player->left_loss);
}

static ht_err_t play(ht_replay_t *replay, player_t *player, uint64_t entry)
{
    run_t *run = &player->run;
    switch (ht_log_kind(entry)) {
    case HT_LOG_BEGUN:
        if (player->has_chunk)
            return HT_EINVAL;
        ht_worker_begin(run, run->stream, run->number);
        player->is_alive = 1;
        return HT_OK;
    case HT_LOG_CHUNK:
        return begin_chunk(player, (uint32_t)entry, ht_log_detail(entry));
    case HT_LOG_PASS:
        return pass(player, ht_log_detail(entry), (uint32_t)entry);
    case HT_LOG_EXCHANGE:
    case HT_LOG_REFRESH:
    case HT_LOG_FREED:
        return use_block(player, entry);
    case HT_LOG_RESTED:
        return rest(player);
    case HT_LOG_DIED:
        return die(replay, player, (uint32_t)entry);
    default:
        return HT_EINVAL;
    }
}

static ht_err_t train(player_t *player)
{
    run_t *run = &player->run;
    int n = rows_before(player) - run->row, most = (int)run->stream->config.rows_in_flight;
    ht_err_t err = ht_worker_train_group(run, player->position, n < most ? n : most);
    note_outcome(run, err);
    return err;
}

ht_err_t ht_replay_go_on(ht_replay_t *replay, uint64_t rows)
{
    if (replay->stream->feed->epoch == 0)
        return HT_EINVAL;
    while (ht_replay_rows(replay) < rows) {
        player_t *player = next_player(replay);
        if (player == NULL) {
            for (uint32_t w = 0; w < replay->stream->config.n_workers; w++)
                if (replay->players[w].at < replay->players[w].n_entries)
                    return HT_EINVAL;
            return HT_EEND;
        }
        ht_err_t err =
            trains(player) ? train(player) : play(replay, player, player->entries[player->at++]);
        if (err != HT_OK)
            return err;
    }
    return HT_OK;
}

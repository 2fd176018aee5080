/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_replica: a worker's private copy of the hot coordinates, and its
 * exchange with the shared ones.
 *
 * Layer L5.  All arrays live in the segment, so that the heir of a dead worker
 * can finish and hand in what it left.  A replica is used by its worker alone;
 * after a confirmed death, by its one heir.  A block's word guards its shared
 * values: exchanges of different workers may run at the same time.
 *
 * The workers of a team (ht_team.h) share entries and base, rows_at and rows_seen
 * of one replica, and count rows together.  They step on the entries at any time;
 * the block's word guards the rest of its block.
 *
 *   replica entries --change--> redo slot --copy--> shared block, replica, base
 */
#ifndef HT_REPLICA_H
#define HT_REPLICA_H

#include "math/ht_optimizer.h"
#include "share/ht_block.h"
#include "share/ht_log.h"
#include "share/ht_point.h"
#include "share/ht_roster.h"
#include "share/ht_team.h"

/* The shared hot coordinates: per block HT_BLOCK_COORDINATES values of w, then of each further
 * array of the optimizer's state.
 *
 *   n_blocks == ceil(n_coordinates / HT_BLOCK_COORDINATES)
 */
typedef struct {
    ht_block_t *blocks;
    float *values;          /* n_blocks * arrays * HT_BLOCK_COORDINATES */
    const float *curvature; /* n_blocks * HT_BLOCK_COORDINATES */
    const float *l1_factor; /* likewise; read for a dual optimizer alone */
    int64_t n_coordinates;  /* of the hot features and the intercept */
    int64_t n_blocks;
    ht_merge_fn_t merge;
    ht_optimizer_t optimizer;
    ht_weighing_t weighing;
    ht_step_t step;   /* lr is that of a dual optimizer, which is constant */
    float least_rest; /* of a merge (ht_optimizer.h) */
    int stride;       /* floats per entry of a replica */
    int arrays;
    uint32_t n_workers;
    ht_points_t *points; /* where a test may hold an exchange; NULL: nowhere */
} ht_hot_t;

_Static_assert(HT_MAX_WORKERS <= HT_BLOCK_OWNERS && HT_MAX_WORKERS < HT_ANY_WORKER,
               "every worker can own a block and be held");
_Static_assert(HT_BLOCK_COORDINATES % HT_LANES == 0, "a block is whole lanes");

/* What one worker owns.  Of a block b that is free:
 *
 *   rows_at[b] <= rows_done of the worker
 *   rows_seen[b] <= rows of the block == sum over all workers of rows_at[b]
 *   base of b == shared values of b   while rows_seen[b] == rows of the block; of a team sums of
 *                                     squares in it may be less: those that a member has
 * overwritten entries of b - base of b          is the worker's change since its last exchange
 */
typedef struct {
    float *entries;      /* n_blocks * HT_BLOCK_COORDINATES entries of `stride` floats */
    float *base;         /* laid out as the shared values: those of the last exchange */
    float *redo;         /* one block: arrays * HT_BLOCK_COORDINATES */
    uint64_t *redo_rows; /* the block's row count after the transaction */
    uint64_t *rows_at;   /* per block: the worker's rows_done at the last exchange */
    uint64_t *rows_seen; /* per block: rows of the block after that exchange */
    uint32_t owner;
    uint32_t step;        /* of the worker, for points */
    ht_log_t *log;        /* NULL: exchanges are not recorded */
    ht_team_slot_t *slot; /* the worker's; NULL: the worker has no team */
    ht_worker_t *members; /* of the team, in the roster */
    uint32_t n_members;
} ht_replica_t;

/* Copies the shared values into the replica and its base.  No exchange may be under way. */
void ht_replica_init(const ht_hot_t *hot, ht_replica_t *replica);

/* Exchanges one block as a transaction: merges the replica's change since the last exchange with
 * weight theta (ht_optimizer.h), and copies the result to the replica.  rows_done are the worker's
 * own rows so far (a team counts its own), rate the learning rate now times the second derivative
 * of the loss.  Adds to staleness the rows that other workers have merged since the last exchange;
 * staleness may be NULL. HT_EBUSY: another worker holds the block, nothing was done. */
ht_err_t ht_replica_exchange(const ht_hot_t *hot, ht_replica_t *replica, int64_t block,
                             uint64_t rows_done, float rate, ht_staleness_t *staleness);

/* Returns the rate to exchange a replica with: that of its worker, or of a team the largest of its
 * members': the changes are those of all, and the worker that exchanges may not have begun. */
float ht_replica_rate(const ht_replica_t *replica, ht_worker_t *worker);

/* Copies the shared values of one block to the replica and its base, where others have merged since
 * its last exchange: as a transaction, which a death leaves whole.  The replica has no change of
 * its own in the block, or one that is given up.  Not for a team.  HT_EBUSY: another worker holds
 * the block. */
ht_err_t ht_replica_refresh(const ht_hot_t *hot, ht_replica_t *replica, int64_t block);

/* Computes the merged block into the redo slot: the part of an exchange between lock and commit.
 * For tests of a death after it. */
void ht_replica_compute_locked(const ht_hot_t *hot, ht_replica_t *replica, int64_t block,
                               uint64_t rows, float rate);

/* Copies the redo slot to the shared block, the replica and its base: the part of an exchange
 * between commit and release.  May be done again after a death.  For an heir and for tests. */
void ht_replica_copy_committed(const ht_hot_t *hot, ht_replica_t *replica, int64_t block,
                               uint64_t rows_done);

/* Finishes or frees the block that a dead worker held; rows_done are its last ones.  For the one
 * heir, before a new worker takes the replica as it is. */
void ht_replica_release(const ht_hot_t *hot, ht_replica_t *dead, uint64_t rows_done);

/* Finishes or frees the block that a dead worker held, and exchanges the changes that its replica
 * had not handed in; rows_done and rate are the dead worker's last ones.  Returns how many blocks
 * are busy and must be tried again; 0 when all is handed in.  For the one heir of a worker whose
 * death is confirmed. */
int64_t ht_replica_inherit(const ht_hot_t *hot, ht_replica_t *dead, uint64_t rows_done, float rate);

#endif

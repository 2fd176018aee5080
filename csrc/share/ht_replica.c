/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A worker trains on private copies of the hot coordinates, since lines that every row touches
 * would travel between cores all the time.  An exchange merges the change against `base`, the
 * values that both sides had after the last exchange, so no other worker's change is lost or
 * counted twice.  The weight keeps the sum of several workers' changes stable (ht_optimizer.h); one
 * worker alone gets its own values back, bit for bit (-0 becomes 0).
 *
 * redo_rows is the block's count after the transaction, not a difference: a copy that is done again
 * after a death changes nothing.  Replica, base, redo slot and counts stand in the segment, so that
 * an heir needs no memory of the dead worker.
 *
 * An heir finishes the held block before it exchanges any other: an exchange overwrites the redo
 * slot.  The other order was the first version, and a test found it.
 *
 * Tests: tests/c/test_replica.c, test_replica_heir.c (deaths at each place), and
 * test_stress_exchange.c (long interleavings, exact sums).
 */
#include "share/ht_replica.h"

#include <string.h>

static int64_t array_nbytes(void)
{
    return (int64_t)sizeof(float) * HT_BLOCK_COORDINATES;
}

/* Returns the first value of a block in an array laid out as the shared values. */
static float *block_values(const ht_hot_t *hot, float *values, int64_t block)
{
    return values + block * hot->arrays * HT_BLOCK_COORDINATES;
}

static float *block_entries(const ht_hot_t *hot, const ht_replica_t *replica, int64_t block)
{
    return replica->entries + block * HT_BLOCK_COORDINATES * hot->stride;
}

/* Returns the coordinates of a block, rounded up to whole lanes: the arrays are padded. */
static int64_t block_length(const ht_hot_t *hot, int64_t block)
{
    int64_t left = hot->n_coordinates - block * HT_BLOCK_COORDINATES;
    left = left < HT_BLOCK_COORDINATES ? left : HT_BLOCK_COORDINATES;
    return (left + HT_LANES - 1) / HT_LANES * HT_LANES;
}

static void scatter(float *entries, int stride, int array, const float *values, int64_t n)
{
    if (stride == 1) {
        memcpy(entries, values, sizeof *values * (size_t)n);
        return;
    }
    if (stride == 2) { /* the common case, with a constant the compiler can use */
        for (int64_t i = 0; i < n; i++)
            entries[2 * i + array] = values[i];
        return;
    }
    for (int64_t i = 0; i < n; i++)
        entries[stride * i + array] = values[i];
}

/* Writes a block's values to the replica's entries and base. */
static void adopt(const ht_hot_t *hot, ht_replica_t *replica, int64_t block, const float *values)
{
    int64_t n = block_length(hot, block);
    float *base = block_values(hot, replica->base, block);
    float *entries = block_entries(hot, replica, block);
    for (int array = 0; array < hot->arrays; array++) {
        const float *from = values + array * HT_BLOCK_COORDINATES;
        memcpy(base + array * HT_BLOCK_COORDINATES, from, sizeof *from * (size_t)n);
        scatter(entries, hot->stride, array, from, n);
    }
}

/* ---- teams ------------------------------------------------------------------ */

static ht_team_block_t team_block(const ht_hot_t *hot, const ht_replica_t *replica, int64_t block)
{
    return (ht_team_block_t){
        .entries = block_entries(hot, replica, block),
        .n = block_length(hot, block),
        .stride = hot->stride,
        .arrays = hot->arrays,
    };
}

/* Copies a block of the team's replica to the worker's slot.  Sums of squares only grow: one that
 * is less than its base has lost a step, which is no change of the team's. */
static void see_team(const ht_hot_t *hot, ht_replica_t *replica, int64_t block)
{
    ht_team_block_t of = team_block(hot, replica, block);
    uint64_t rows = 0;
    for (uint32_t m = 0; m < replica->n_members; m++)
        rows += ht_worker_rows(&replica->members[m]);
    ht_team_see(&of, rows, replica->slot);
    for (int array = 1; array < hot->arrays; array++) {
        float *base = block_values(hot, replica->base, block) + array * HT_BLOCK_COORDINATES;
        for (int64_t i = 0; i < of.n; i++) {
            float seen = replica->slot->seen[i * of.stride + array];
            base[i] = seen < base[i] ? seen : base[i];
        }
    }
}

/* Makes the redo slot the base of the team's replica, and takes it over into the entries. */
static void take_over(const ht_hot_t *hot, ht_replica_t *replica, int64_t block)
{
    ht_team_block_t of = team_block(hot, replica, block);
    memcpy(block_values(hot, replica->base, block), replica->redo,
           (size_t)(hot->arrays * array_nbytes()));
    ht_team_take(&of, replica->slot, replica->redo);
}

/* ---- exchanges -------------------------------------------------------------- */

void ht_replica_init(const ht_hot_t *hot, ht_replica_t *replica)
{
    for (int64_t b = 0; b < hot->n_blocks; b++) {
        adopt(hot, replica, b, block_values(hot, hot->values, b));
        replica->rows_at[b] = 0;
        replica->rows_seen[b] = hot->blocks[b].rows;
    }
}

void ht_replica_compute_locked(const ht_hot_t *hot, ht_replica_t *replica, int64_t block,
                               uint64_t rows, float rate)
{
    ht_step_t step = hot->step;
    double rows_so_far = (double)(hot->blocks[block].rows + rows);
    step.l1_sum = (float)((double)step.l1 * rows_so_far);
    step.l2_sum = (float)((double)step.l2 * rows_so_far);
    ht_merge_t merge = {
        .n = block_length(hot, block),
        .array_stride = HT_BLOCK_COORDINATES,
        .replica = replica->slot != NULL ? replica->slot->seen : block_entries(hot, replica, block),
        .base = block_values(hot, replica->base, block),
        .shared = block_values(hot, hot->values, block),
        .curvature = hot->curvature + block * HT_BLOCK_COORDINATES,
        .merged = replica->redo,
        .weighing = hot->weighing,
        .rate = rate,
        .rows = (float)rows,
        .others = (float)(hot->blocks[block].rows - replica->rows_seen[block]),
        .least_rest = hot->least_rest,
        .step = &step,
        .l1_factor = hot->l1_factor == NULL ? NULL : hot->l1_factor + block * HT_BLOCK_COORDINATES,
    };
    for (int array = 0; array < hot->arrays; array++)
        merge.kept[array] = ht_optimizer_kept(hot->optimizer, array, &hot->step, (double)rows);
    hot->merge(&merge);
    *replica->redo_rows = hot->blocks[block].rows + rows;
}

void ht_replica_copy_committed(const ht_hot_t *hot, ht_replica_t *replica, int64_t block,
                               uint64_t rows_done)
{
    size_t nbytes = (size_t)(hot->arrays * array_nbytes());
    memcpy(block_values(hot, hot->values, block), replica->redo, nbytes);
    if (replica->slot == NULL)
        adopt(hot, replica, block, replica->redo);
    else
        take_over(hot, replica, block);
    hot->blocks[block].rows = *replica->redo_rows;
    replica->rows_seen[block] = *replica->redo_rows;
    replica->rows_at[block] = replica->slot == NULL ? rows_done : replica->slot->rows;
}

float ht_replica_rate(const ht_replica_t *replica, ht_worker_t *worker)
{
    /* relaxed, all: own words, or of members, who may begin a chunk at any time. */
    float rate = ht_load_relaxed_f32(&worker->rate);
    for (uint32_t m = 0; replica->slot != NULL && m < replica->n_members; m++) {
        float of_member = ht_load_relaxed_f32(&replica->members[m].rate);
        rate = of_member > rate ? of_member : rate;
    }
    return rate;
}

ht_err_t ht_replica_exchange(const ht_hot_t *hot, ht_replica_t *replica, int64_t block,
                             uint64_t rows_done, float rate, ht_staleness_t *staleness)
{
    ht_err_t err = ht_block_try_lock(&hot->blocks[block], replica->owner);
    if (err != HT_OK)
        return err;
    if (staleness != NULL)
        ht_staleness_add(staleness, hot->blocks[block].rows - replica->rows_seen[block]);
    ht_log_enter(replica->log, HT_LOG_EXCHANGE, (uint32_t)block,
                 ht_block_sequence(&hot->blocks[block]));
    ht_point_pass(hot->points, HT_EXCHANGE_LOCKED, replica->owner, replica->step);
    if (replica->slot != NULL) {
        see_team(hot, replica, block);
        rows_done = replica->slot->rows;
    }
    ht_replica_compute_locked(hot, replica, block, rows_done - replica->rows_at[block], rate);
    ht_block_commit(&hot->blocks[block]);
    ht_point_pass(hot->points, HT_EXCHANGE_COMMITTED, replica->owner, replica->step);
    ht_replica_copy_committed(hot, replica, block, rows_done);
    ht_block_release(&hot->blocks[block]);
    return HT_OK;
}

ht_err_t ht_replica_refresh(const ht_hot_t *hot, ht_replica_t *replica, int64_t block)
{
    ht_err_t err = ht_block_try_lock(&hot->blocks[block], replica->owner);
    if (err != HT_OK)
        return err;
    ht_log_enter(replica->log, HT_LOG_REFRESH, (uint32_t)block,
                 ht_block_sequence(&hot->blocks[block]));
    if (replica->rows_seen[block] != hot->blocks[block].rows) {
        memcpy(replica->redo, block_values(hot, hot->values, block),
               (size_t)(hot->arrays * array_nbytes()));
        *replica->redo_rows = hot->blocks[block].rows;
        ht_block_commit(&hot->blocks[block]);
        ht_replica_copy_committed(hot, replica, block, replica->rows_at[block]);
    }
    ht_block_release(&hot->blocks[block]);
    return HT_OK;
}

void ht_replica_release(const ht_hot_t *hot, ht_replica_t *dead, uint64_t rows_done)
{
    for (int64_t b = 0; b < hot->n_blocks; b++) {
        ht_block_phase_t phase = ht_block_held_by(&hot->blocks[b], dead->owner);
        if (phase == HT_BLOCK_COMMITTED)
            ht_replica_copy_committed(hot, dead, b, rows_done);
        if (phase == HT_BLOCK_LOCKED)
            ht_log_enter(dead->log, HT_LOG_FREED, (uint32_t)b, ht_block_sequence(&hot->blocks[b]));
        if (phase != HT_BLOCK_FREE)
            ht_block_release(&hot->blocks[b]);
    }
}

int64_t ht_replica_inherit(const ht_hot_t *hot, ht_replica_t *dead, uint64_t rows_done, float rate)
{
    /* First the block that the dead worker held: any exchange below would
     * overwrite the redo slot. */
    ht_replica_release(hot, dead, rows_done);
    ht_hot_t unheld = *hot;
    unheld.points = NULL; /* points hold workers, not their heir */
    int64_t busy = 0;
    for (int64_t b = 0; b < hot->n_blocks; b++)
        if (dead->slot != NULL || dead->rows_at[b] != rows_done)
            busy += ht_replica_exchange(&unheld, dead, b, rows_done, rate, NULL) != HT_OK;
    return busy;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_team: a block of a replica on which several workers, a team, step at the same time.
 *
 * Layer L4: may include L0 to L3.  The members of a team step on the entries of one replica in
 * place, without locks (Hogwild), also while one of them exchanges a block of it.  So an exchange
 * works on a copy of the block, and afterwards adds to the entries what the others have changed.
 * Steps that members make meanwhile stay.  Where a member steps on an entry at the very moment of
 * the addition, one of the two is lost, as between two steps of Hogwild.  No sum is promised where
 * that happens; where it cannot happen sums are exact.
 *
 * The calls are those of the worker that holds the block's word, or of its heir; the other members
 * step at the same time.  The slot is in the segment.
 */
#ifndef HT_TEAM_H
#define HT_TEAM_H

#include "base/ht_atomic.h"
#include "math/ht_optimizer.h"
#include "share/ht_block.h"

/* A member's copy of the block that it exchanges.  Written by that member, and by its heir. */
typedef struct {
    HT_ALIGNED uint64_t rows; /* of the team, when the block was copied */
    ht_word32_t reached; /* coordinates whose addition has begun; relaxed: read by an heir alone */
    HT_ALIGNED float seen[]; /* entries of the block as they were then */
} ht_team_slot_t;

_Static_assert(sizeof(ht_team_slot_t) == HT_LINE, "the layout of the segment");

#define HT_TEAM_ARRAYS 2 /* of an entry, at most: they are always stored at once */

/* One block of a replica.  An entry has `stride` floats, the first `arrays` of them values. */
typedef struct {
    float *entries;
    int64_t n; /* coordinates: whole lanes */
    int stride;
    int arrays; /* 1 .. HT_TEAM_ARRAYS */
} ht_team_block_t;

/* Returns the bytes of a slot. */
size_t ht_team_slot_nbytes(int stride);

/* Copies the block to the slot; rows are those that the team has finished before. */
void ht_team_see(const ht_team_block_t *block, uint64_t rows, ht_team_slot_t *slot);

/* Adds to the entries what makes `merged` of the copy.  merged has the values of each array, at
 * distance HT_BLOCK_COORDINATES.  Entries that nobody has changed since the copy become the merged
 * values, bit for bit.  An heir that calls it again goes on where a dead worker was. */
void ht_team_take(const ht_team_block_t *block, ht_team_slot_t *slot, const float *merged);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_block: a transaction on a stretch of shared parameters.
 *
 * Layer L3.  Lives in the segment.  One word per block names the phase, the
 * owner and a sequence number:
 *
 *   FREE -> LOCKED -> COMMITTED -> FREE
 *
 * Between LOCKED and COMMITTED the owner writes only to its own redo slot;
 * from COMMITTED on the slot holds the whole result, and copying it twice does
 * no harm.  So a death leaves either nothing to do (LOCKED) or a copy that the
 * heir can finish (COMMITTED).
 *
 *   worker    own redo slot   word          shared block
 *   ------    -------------   -----------   ------------
 *   lock                      LOCKED
 *   compute   <- written                    read
 *   commit                    COMMITTED
 *   copy      read                          <- written
 *   release                   FREE, seq+1
 */
#ifndef HT_BLOCK_H
#define HT_BLOCK_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

#define HT_BLOCK_COORDINATES 1024

typedef enum { HT_BLOCK_FREE = 0, HT_BLOCK_LOCKED = 1, HT_BLOCK_COMMITTED = 2 } ht_block_phase_t;

/* Alone on its lines.  Any worker may change the word of a free block; only the owner (or its heir)
 * changes the word and `rows` of a block that it holds.
 *
 *   word >> 32 == number of times that the block was released, modulo 2^32
 *   phase FREE        the owner's bits are 0
 *   phase LOCKED      the shared values and `rows` are as before the transaction
 *   phase COMMITTED   the redo slot of the owner holds the values and `rows` after it
 */
typedef struct {
    HT_ALIGNED ht_word64_t word; /* sequence << 32 | owner << 8 | phase */
    uint64_t rows;               /* rows whose changes are merged in the block */
} ht_block_t;

_Static_assert(sizeof(ht_block_t) == HT_LINE, "the layout of the segment");

#define HT_BLOCK_OWNERS (1 << 24) /* at most; owners are 0, 1, ... */

/* Locks a free block for owner (< HT_BLOCK_OWNERS), and acquires what the last owner wrote.
 * HT_EBUSY, without waiting, when another worker holds it. */
ht_err_t ht_block_try_lock(ht_block_t *block, uint32_t owner);

/* Commits a block, LOCKED -> COMMITTED: its owner's redo slot is complete.  The owner's. */
void ht_block_commit(ht_block_t *block);

/* Frees a block, COMMITTED and copied or LOCKED and unchanged.  For its owner or the owner's
 * heir. */
void ht_block_release(ht_block_t *block);

/* Returns the sequence of a block that nobody else can hold now. */
HT_INLINE uint32_t ht_block_sequence(ht_block_t *block)
{
    /* relaxed: as in ht_block_commit. */
    return (uint32_t)(ht_load_relaxed(&block->word) >> 32);
}

/* Returns the phase in which `owner` holds the block, HT_BLOCK_FREE if it does not.  Acquires the
 * redo slot of a committed block.  For the heir of a worker whose death is confirmed. */
ht_block_phase_t ht_block_held_by(ht_block_t *block, uint32_t owner);

#endif

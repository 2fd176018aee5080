/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A mutex would do if no worker could die: an owner that is killed while it writes leaves a block
 * half old, half new, and nobody can tell which half.  So a transaction writes to the owner's redo
 * slot first; from the commit on the slot says all, and copying it again does no harm.
 *
 * One word tells phase, owner and sequence, so an heir sees at once whether there is nothing to do
 * or a copy to finish.  The word of a held block has one writer: commit and release are plain
 * stores with an order, and only taking a free block is a compare-and-swap.
 *
 * Nobody waits for a block.  A worker that finds one busy leaves it to its next pass, so an owner
 * that was stopped delays this block's changes and nothing else.
 *
 * Tests: tests/c/test_block.c (the orders HT_PAIR_BLOCK and HT_PAIR_COMMIT), test_replica_heir.c
 * (owners that are really killed), test_stress_exchange.c.
 */
#include "share/ht_block.h"

#define PHASE_MASK UINT64_C(0xff)
#define LOW_MASK UINT64_C(0xffffffff)

_Static_assert(HT_BLOCK_COMMITTED <= PHASE_MASK, "the word has room for the phase");
_Static_assert(HT_BLOCK_OWNERS == (LOW_MASK >> 8) + 1, "the word has room for the owner");

ht_err_t ht_block_try_lock(ht_block_t *block, uint32_t owner)
{
    /* relaxed: only the compare-and-swap below decides. */
    uint64_t word = ht_load_relaxed(&block->word);
    if ((word & PHASE_MASK) != HT_BLOCK_FREE)
        return HT_EBUSY;
    uint64_t locked = (word & ~LOW_MASK) | (uint64_t)owner << 8 | HT_BLOCK_LOCKED;
    /* acquire, pairs with the release in ht_block_release: hands over the
     * shared values and `rows`. */
    return ht_cas_acquire(HT_PAIR_BLOCK, &block->word, &word, locked) ? HT_OK : HT_EBUSY;
}

void ht_block_commit(ht_block_t *block)
{
    /* relaxed: the owner alone changes the word of a block that it holds. */
    uint64_t word = ht_load_relaxed(&block->word);
    HT_ASSERT((word & PHASE_MASK) == HT_BLOCK_LOCKED);
    /* release, pairs with the acquire in ht_block_held_by: hands the redo
     * slot to an heir. */
    ht_store_release(HT_PAIR_COMMIT, &block->word, (word & ~PHASE_MASK) | HT_BLOCK_COMMITTED);
}

void ht_block_release(ht_block_t *block)
{
    /* relaxed: as in ht_block_commit. */
    uint64_t word = ht_load_relaxed(&block->word);
    uint64_t sequence = (word >> 32) + 1;
    /* release, pairs with the acquire in ht_block_try_lock. */
    ht_store_release(HT_PAIR_BLOCK, &block->word, sequence << 32 | HT_BLOCK_FREE);
}

ht_block_phase_t ht_block_held_by(ht_block_t *block, uint32_t owner)
{
    /* acquire, pairs with the release in ht_block_commit. */
    uint64_t word = ht_load_acquire(HT_PAIR_COMMIT, &block->word);
    if (((word & LOW_MASK) >> 8) != owner)
        return HT_BLOCK_FREE;
    return (ht_block_phase_t)(word & PHASE_MASK);
}

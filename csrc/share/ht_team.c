/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A step of a member that loads an entry before an addition to it, and stores it afterwards,
 * overwrites the addition.  The next exchange then takes it for a change of the team, and takes
 * back what the others had changed in this entry.  Counted on two cores: fewer than 1 in 1,000
 * additions; losses after training are those of workers with replicas of their own.  A lock or a
 * compare-and-swap in each step would cost more.
 *
 * An addition that is done twice would count what the others have changed twice, and one that is
 * left out would take it back at the next exchange.  So a worker notes each stretch of HT_LANES
 * coordinates before it adds to it, and its heir knows all but one stretch.  An entry of that one
 * counts as added when it is nearer to the merged value than to the copy.
 *
 * Tests: tests/c/test_team.c.
 */
#include "share/ht_team.h"

#include <math.h>
#include <string.h>

typedef uint64_t pair_t __attribute__((may_alias));

/* The values of an entry, as they are loaded and stored: all at once. */
typedef struct {
    float values[HT_TEAM_ARRAYS];
} values_t;

_Static_assert(sizeof(values_t) == sizeof(pair_t), "a pair is one store");

/* race: with the members' steps in place; harmless, because values are not torn and a lost step is
 * Hogwild's; worst case one step, or one addition, of an entry is lost. */
HT_INLINE values_t load(const float *entry, int arrays)
{
    values_t v = {{0}};
    if (arrays == 1) {
        v.values[0] = ht_load_relaxed_f32(entry);
        return v;
    }
    pair_t pair = __atomic_load_n((const pair_t *)(const void *)entry, __ATOMIC_RELAXED);
    memcpy(&v, &pair, sizeof v);
    return v;
}

/* race: as in load. */
HT_INLINE void store(float *entry, int arrays, values_t v)
{
    if (arrays == 1) {
        ht_store_relaxed_f32(entry, v.values[0]);
        return;
    }
    pair_t pair;
    memcpy(&pair, &v, sizeof pair);
    __atomic_store_n((pair_t *)(void *)entry, pair, __ATOMIC_RELAXED);
}

size_t ht_team_slot_nbytes(int stride)
{
    return sizeof(ht_team_slot_t) + sizeof(float) * HT_BLOCK_COORDINATES * (size_t)stride;
}

/* Copies n entries of a constant shape. */
HT_INLINE void see(const ht_team_block_t *block, float *seen, int stride, int arrays)
{
    for (int64_t i = 0; i < block->n; i++) {
        values_t v = load(block->entries + i * stride, arrays);
        for (int k = 0; k < arrays; k++)
            seen[i * stride + k] = v.values[k];
    }
}

/* Adds to a stretch of HT_LANES entries; is_unsure: unless they were added to already. */
HT_INLINE void add(float *entries, const float *seen, const float *merged, int stride, int arrays,
                   int is_unsure)
{
    for (int i = 0; i < HT_LANES; i++) {
        values_t v = load(entries + i * stride, arrays), next = v;
        int changes = 0;
        for (int k = 0; k < arrays; k++) {
            float now = v.values[k], before = seen[i * stride + k];
            float after = merged[k * HT_BLOCK_COORDINATES + i];
            if (is_unsure && fabsf(now - after) < fabsf(now - before))
                continue;
            next.values[k] = now == before ? after : now + (after - before);
            changes |= next.values[k] != now;
        }
        if (changes)
            store(entries + i * stride, arrays, next);
    }
}

HT_INLINE void take(const ht_team_block_t *block, ht_team_slot_t *slot, const float *merged,
                    int stride, int arrays)
{
    uint32_t reached = ht_load_relaxed(&slot->reached); /* relaxed: own, or a dead worker's */
    for (int64_t i = reached < HT_LANES ? 0 : reached - HT_LANES; i < block->n; i += HT_LANES) {
        ht_store_relaxed(&slot->reached, (uint32_t)i + HT_LANES);
        add(block->entries + i * stride, slot->seen + i * stride, merged + i, stride, arrays,
            i < reached);
    }
}

/* Calls a function with the shape of the block's entries as constants. */
#define WITH_SHAPE(function, ...) \
    do { \
        if (block->stride == 1) \
            function(__VA_ARGS__, 1, 1); \
        else if (block->arrays == 1) \
            function(__VA_ARGS__, 2, 1); \
        else if (block->stride == 2) \
            function(__VA_ARGS__, 2, 2); \
        else \
            function(__VA_ARGS__, 4, 2); \
    } while (0)

void ht_team_see(const ht_team_block_t *block, uint64_t rows, ht_team_slot_t *slot)
{
    slot->rows = rows;
    ht_store_relaxed(&slot->reached, 0); /* relaxed: own word */
    WITH_SHAPE(see, block, slot->seen);
}

void ht_team_take(const ht_team_block_t *block, ht_team_slot_t *slot, const float *merged)
{
    WITH_SHAPE(take, block, slot, merged);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks.  The two tests with threads also test the pairs HT_PAIR_BLOCK and
 * HT_PAIR_COMMIT: the threads wait for each other in relaxed words only, so
 * nothing but the block orders the plain data.
 */
#include "share/ht_block.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"

enum { LARGEST_OWNER = (1 << 24) - 1 };

static uint64_t sequence_of(ht_block_t *block)
{
    return ht_load_relaxed(&block->word) >> 32;
}

static void a_block_goes_from_free_to_locked_to_committed_to_free(void)
{
    const uint32_t owners[] = {0, 1, 255, 256, LARGEST_OWNER};
    ht_block_t block = {0};
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t owner = owners[i], other = owners[(i + 1) % 5];
        CHECK(ht_block_held_by(&block, owner) == HT_BLOCK_FREE);
        CHECK(ht_block_try_lock(&block, owner) == HT_OK);
        CHECK(ht_block_held_by(&block, owner) == HT_BLOCK_LOCKED);
        CHECK(ht_block_held_by(&block, other) == HT_BLOCK_FREE);
        CHECK(ht_block_try_lock(&block, other) == HT_EBUSY);
        CHECK(ht_block_try_lock(&block, owner) == HT_EBUSY); /* not recursive */
        ht_block_commit(&block);
        CHECK(ht_block_held_by(&block, owner) == HT_BLOCK_COMMITTED);
        CHECK(ht_block_held_by(&block, other) == HT_BLOCK_FREE);
        CHECK(ht_block_try_lock(&block, other) == HT_EBUSY);
        CHECK(sequence_of(&block) == i);
        ht_block_release(&block);
        CHECK(ht_block_held_by(&block, owner) == HT_BLOCK_FREE);
        CHECK(sequence_of(&block) == i + 1);
    }
}

static void a_locked_block_can_be_given_up(void)
{
    ht_block_t block = {0};
    CHECK(ht_block_try_lock(&block, 3) == HT_OK);
    ht_block_release(&block);
    CHECK(ht_block_held_by(&block, 3) == HT_BLOCK_FREE);
    CHECK(ht_block_try_lock(&block, 4) == HT_OK);
    CHECK(ht_block_held_by(&block, 4) == HT_BLOCK_LOCKED);
}

static void blocks_stand_on_lines_of_their_own(void)
{
    CHECK(sizeof(ht_block_t) % HT_LINE == 0);
    CHECK(_Alignof(ht_block_t) % HT_LINE == 0);
}

/* ---- HT_PAIR_BLOCK ---------------------------------------------------- */

enum { N_THREADS = 4, N_TURNS = 3000 };

typedef struct {
    ht_block_t block;
    uint64_t guarded[8]; /* plain: written under the lock only */
    ht_word32_t go;
} shared_t;

typedef struct {
    shared_t *shared;
    uint32_t owner;
    uint64_t random;
    uint64_t busy;
} turn_t;

static void *take_turns(void *argument)
{
    turn_t *turn = argument;
    shared_t *shared = turn->shared;
    while (ht_load_relaxed(&shared->go) == 0)
        sched_yield();
    for (int i = 0; i < N_TURNS;) {
        if (ht_block_try_lock(&shared->block, turn->owner) != HT_OK) {
            turn->busy++;
            sched_yield();
            continue;
        }
        uint64_t first = shared->guarded[0];
        for (int k = 0; k < 8; k++) {
            CHECK(shared->guarded[k] == first);
            shared->guarded[k]++;
        }
        shared->block.rows++;
        if (i % 4 == 0)
            delay_any(&turn->random);
        ht_block_commit(&shared->block);
        ht_block_release(&shared->block);
        i++;
    }
    return NULL;
}

static void a_block_has_one_owner_at_a_time(void)
{
    shared_t shared = {0};
    turn_t turns[N_THREADS];
    crew_t crew;
    for (uint32_t t = 0; t < N_THREADS; t++)
        turns[t] = (turn_t){.shared = &shared, .owner = t, .random = t + 1};
    crew_start(&crew, N_THREADS, take_turns, turns, sizeof *turns);
    ht_store_relaxed(&shared.go, 1u);
    crew_join(&crew);
    for (int k = 0; k < 8; k++)
        CHECK(shared.guarded[k] == N_THREADS * N_TURNS);
    CHECK(shared.block.rows == N_THREADS * N_TURNS);
    CHECK(sequence_of(&shared.block) == N_THREADS * N_TURNS);
    CHECK(turns[0].busy + turns[1].busy + turns[2].busy + turns[3].busy > 0);
}

/* ---- HT_PAIR_COMMIT --------------------------------------------------- */

enum { OWNER = 5, N_REDO = 256 };

typedef struct {
    ht_block_t block;
    float redo[N_REDO]; /* plain: the owner's until the commit, then the heir's */
    ht_word32_t go;
    ht_word32_t done;
} legacy_t;

typedef struct {
    legacy_t *legacy;
    int is_heir;
} heritage_t;

/* Commits and then neither writes nor releases, like a dead worker. */
static void leave_a_committed_block(legacy_t *legacy)
{
    while (ht_load_relaxed(&legacy->go) == 0)
        sched_yield();
    CHECK(ht_block_try_lock(&legacy->block, OWNER) == HT_OK);
    for (int i = 0; i < N_REDO; i++)
        legacy->redo[i] = (float)(i + 1);
    ht_block_commit(&legacy->block);
    while (ht_load_relaxed(&legacy->done) == 0)
        sched_yield();
}

static void take_over(legacy_t *legacy)
{
    ht_block_phase_t phase;
    while ((phase = ht_block_held_by(&legacy->block, OWNER)) != HT_BLOCK_COMMITTED) {
        CHECK(phase == HT_BLOCK_FREE || phase == HT_BLOCK_LOCKED);
        sched_yield();
    }
    for (int i = 0; i < N_REDO; i++)
        CHECK(legacy->redo[i] == (float)(i + 1));
    ht_block_release(&legacy->block);
    ht_store_relaxed(&legacy->done, 1u);
}

static void *inherit(void *argument)
{
    heritage_t *heritage = argument;
    if (heritage->is_heir)
        take_over(heritage->legacy);
    else
        leave_a_committed_block(heritage->legacy);
    return NULL;
}

static void a_commit_hands_the_redo_slot_to_the_heir(void)
{
    for (int repeat = 0; repeat < 50; repeat++) {
        legacy_t legacy = {0};
        heritage_t heritages[2] = {{&legacy, 1}, {&legacy, 0}};
        crew_t crew;
        crew_start(&crew, 2, inherit, heritages, sizeof *heritages);
        ht_store_relaxed(&legacy.go, 1u);
        crew_join(&crew);
        CHECK(ht_block_held_by(&legacy.block, OWNER) == HT_BLOCK_FREE);
    }
}

int main(void)
{
    a_block_goes_from_free_to_locked_to_committed_to_free();
    a_locked_block_can_be_given_up();
    blocks_stand_on_lines_of_their_own();
    a_block_has_one_owner_at_a_time();
    a_commit_hands_the_redo_slot_to_the_heir();
    FINISH();
}

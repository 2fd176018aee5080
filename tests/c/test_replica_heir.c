/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heir of a worker that is really killed.  Worker 0 is a forked child on
 * shared memory; it stops at a place of an exchange, is killed there, and
 * worker 1, the parent, inherits.  waitpid proves that SIGKILL ended it.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/hot_fixture.h"

enum { DEAD = 0, HEIR = 1, N_WORKERS = 2 };
enum { N_COORDINATES = 3 * HT_BLOCK_COORDINATES - 100, BLOCK = 1 };

typedef enum {
    BEFORE_LOCK,    /* changes are in the replica only */
    AFTER_LOCK,     /* locked, nothing computed */
    HALF_COMPUTED,  /* locked, the redo slot half full of garbage */
    BEFORE_COMMIT,  /* locked, the redo slot is complete */
    AFTER_COMMIT,   /* committed, nothing copied */
    QUARTER_COPIED, /* a part of the shared values */
    SHARED_COPIED,  /* the shared values, not the replica */
    BASE_COPIED,    /* and half of the base */
    ENTRIES_COPIED, /* and half of the entries, not the row counts */
    BEFORE_RELEASE, /* all copied */
    AFTER_RELEASE,  /* the exchange is over */
    N_PLACES
} place_t;

/* Which phase the block is in when the owner dies there. */
static ht_block_phase_t phase_at(place_t place)
{
    if (place == BEFORE_LOCK || place == AFTER_RELEASE)
        return HT_BLOCK_FREE;
    return place < AFTER_COMMIT ? HT_BLOCK_LOCKED : HT_BLOCK_COMMITTED;
}

/* Does by hand what ht_replica_copy_committed does, up to the place. */
static void copy_partly(const hot_fixture_t *fixture, place_t place)
{
    const ht_hot_t *hot = &fixture->hot;
    const ht_replica_t *replica = &fixture->replicas[DEAD];
    int64_t n = (int64_t)hot->arrays * HT_BLOCK_COORDINATES;
    size_t nbytes = sizeof(float) * (size_t)n;
    memcpy(hot->values + BLOCK * n, replica->redo, place == QUARTER_COPIED ? nbytes / 4 : nbytes);
    if (place >= BASE_COPIED)
        memcpy(replica->base + BLOCK * n, replica->redo,
               place == BASE_COPIED ? nbytes / 2 : nbytes);
    if (place < ENTRIES_COPIED)
        return;
    float *entries = replica->entries + BLOCK * HT_BLOCK_COORDINATES * hot->stride;
    for (int64_t i = 0; i < HT_BLOCK_COORDINATES / 2; i++)
        for (int array = 0; array < hot->arrays; array++)
            entries[i * hot->stride + array] = replica->redo[array * HT_BLOCK_COORDINATES + i];
}

/* Exchanges BLOCK, but stops at the place. */
static void exchange_until(hot_fixture_t *fixture, place_t place)
{
    const ht_hot_t *hot = &fixture->hot;
    ht_replica_t *replica = &fixture->replicas[DEAD];
    uint64_t rows_done = fixture->actors[DEAD].rows_done;
    if (place == BEFORE_LOCK)
        return;
    REQUIRE(ht_block_try_lock(&hot->blocks[BLOCK], DEAD) == HT_OK);
    if (place == HALF_COMPUTED)
        for (int i = 0; i < HT_BLOCK_COORDINATES / 2; i++)
            replica->redo[i] = 1e30f;
    if (place <= HALF_COMPUTED)
        return;
    ht_replica_compute_locked(hot, replica, BLOCK, rows_done - replica->rows_at[BLOCK], 0.0f);
    if (place == BEFORE_COMMIT)
        return;
    ht_block_commit(&hot->blocks[BLOCK]);
    if (place == AFTER_COMMIT)
        return;
    if (place < BEFORE_RELEASE) {
        copy_partly(fixture, place);
        return;
    }
    ht_replica_copy_committed(hot, replica, BLOCK, rows_done);
    if (place == AFTER_RELEASE)
        ht_block_release(&hot->blocks[BLOCK]);
}

/* The doomed worker: whole exchanges first, more work, and one exchange that
 * it will not survive. */
_Noreturn static void live_until(hot_fixture_t *fixture, place_t place, ht_word32_t *reached)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test itself die */
    for (int i = 0; i < 500; i++)
        actor_change(fixture, DEAD);
    actor_hand_in(fixture, DEAD);
    for (int i = 0; i < 500; i++)
        actor_change(fixture, DEAD);
    exchange_until(fixture, place);
    ht_store_relaxed(reached, 1u);
    for (;;)
        pause();
}

static void await_word(ht_word32_t *word)
{
    uint64_t deadline = ht_now_ns() + UINT64_C(30000000000);
    while (ht_load_relaxed(word) == 0) {
        REQUIRE(ht_now_ns() < deadline);
        delay_sleep_ns(100000);
    }
}

/* Kills the child and confirms its death. */
static void kill_and_reap(pid_t child)
{
    int status = 0;
    REQUIRE(kill(child, SIGKILL) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void check_inherited(const hot_fixture_t *fixture)
{
    const ht_hot_t *hot = &fixture->hot;
    hot_fixture_check_sums(fixture);
    for (int64_t b = 0; b < hot->n_blocks; b++) {
        CHECK(ht_block_held_by(&hot->blocks[b], DEAD) == HT_BLOCK_FREE);
        CHECK(fixture->replicas[DEAD].rows_at[b] == fixture->actors[DEAD].rows_done);
    }
}

static void an_heir_leaves_the_right_sums(ht_optimizer_t optimizer, int has_penalty, place_t place)
{
    hot_fixture_t fixture;
    hot_fixture_open(&fixture, optimizer, has_penalty, N_COORDINATES, N_WORKERS);
    ht_word32_t *reached =
        mmap(NULL, sizeof *reached, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(reached != MAP_FAILED);
    for (int i = 0; i < 300; i++)
        actor_change(&fixture, HEIR);
    actor_hand_in(&fixture, HEIR);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        live_until(&fixture, place, reached);
    await_word(reached);
    ht_block_t *block = &fixture.hot.blocks[BLOCK];
    CHECK(ht_block_held_by(block, DEAD) == phase_at(place));
    for (int i = 0; i < 300; i++)
        actor_change(&fixture, HEIR);
    actor_exchange(&fixture, HEIR, BLOCK);
    CHECK(fixture.actors[HEIR].n_busy == (phase_at(place) != HT_BLOCK_FREE));
    kill_and_reap(child);
    uint64_t rows_done = fixture.actors[DEAD].rows_done;
    CHECK(rows_done == 1000);
    CHECK(ht_replica_inherit(&fixture.hot, &fixture.replicas[DEAD], rows_done, 0.0f) == 0);
    actor_hand_in(&fixture, HEIR);
    check_inherited(&fixture);
    /* To inherit again changes nothing. */
    CHECK(ht_replica_inherit(&fixture.hot, &fixture.replicas[DEAD], rows_done, 0.0f) == 0);
    check_inherited(&fixture);
    REQUIRE(munmap(reached, sizeof *reached) == 0);
    hot_fixture_close(&fixture);
}

/* A third worker is in the middle of an exchange when the heir comes. */
static void an_heir_tries_busy_blocks_again(void)
{
    hot_fixture_t fixture;
    hot_fixture_open(&fixture, HT_SGD, 0, N_COORDINATES, 3);
    for (uint32_t w = 0; w < 3; w++)
        for (int i = 0; i < 100; i++)
            actor_change(&fixture, w);
    /* DEAD holds block 0 committed, worker 2 holds block 2 locked. */
    ht_replica_t *dead = &fixture.replicas[DEAD];
    CHECK(ht_block_try_lock(&fixture.hot.blocks[0], DEAD) == HT_OK);
    ht_replica_compute_locked(&fixture.hot, dead, 0, 100, 0.0f);
    ht_block_commit(&fixture.hot.blocks[0]);
    CHECK(ht_block_try_lock(&fixture.hot.blocks[2], 2) == HT_OK);
    CHECK(ht_replica_inherit(&fixture.hot, dead, 100, 0.0f) == 1);
    CHECK(ht_replica_inherit(&fixture.hot, dead, 100, 0.0f) == 1);
    CHECK(ht_block_held_by(&fixture.hot.blocks[2], 2) == HT_BLOCK_LOCKED);
    ht_block_release(&fixture.hot.blocks[2]);
    CHECK(ht_replica_inherit(&fixture.hot, dead, 100, 0.0f) == 0);
    actor_hand_in(&fixture, 1);
    actor_hand_in(&fixture, 2);
    check_inherited(&fixture);
    hot_fixture_close(&fixture);
}

int main(void)
{
    for (place_t place = 0; place < N_PLACES; place++) {
        an_heir_leaves_the_right_sums(HT_SGD, 0, place);
        an_heir_leaves_the_right_sums(HT_ADAGRAD, 0, place);
        an_heir_leaves_the_right_sums(HT_ADAGRAD, 1, place);
    }
    an_heir_tries_busy_blocks_again();
    FINISH();
}

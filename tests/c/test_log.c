/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logs of recorded streams.  `nothing_is_lost_between_two_threads` also tests the pair HT_PAIR_LOG:
 * nothing but the log orders the entries, which are plain data.
 */
#include "share/ht_log.h"

#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/hot_fixture.h"

enum { CAPACITY = 64, N_ENTRIES = 200000, STRETCH = 8 };

static ht_log_t *open_log(uint32_t capacity)
{
    ht_log_t *log = aligned_alloc(HT_LINE, ht_log_nbytes(capacity));
    REQUIRE(log != NULL);
    memset(log, 0, ht_log_nbytes(capacity));
    ht_log_init(log, capacity);
    return log;
}

static void an_entry_says_three_things(void)
{
    uint64_t entry = ht_log_entry(HT_LOG_DIED, HT_LOG_DETAILS - 1, UINT32_MAX);
    CHECK(ht_log_kind(entry) == HT_LOG_DIED);
    CHECK(ht_log_detail(entry) == HT_LOG_DETAILS - 1);
    CHECK((uint32_t)entry == UINT32_MAX);
}

static void a_ring_has_room_for_two_stretches(void)
{
    for (int64_t n_blocks = 0; n_blocks < 1000000; n_blocks = 3 * n_blocks + 1) {
        uint32_t capacity = ht_log_capacity(n_blocks);
        CHECK(capacity >= 2 * ht_log_stretch(n_blocks) && (capacity & (capacity - 1)) == 0);
    }
}

static void entries_without_room_are_counted_as_lost(void)
{
    ht_log_t *log = open_log(CAPACITY);
    uint64_t entries[CAPACITY];
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t k = 0; k < CAPACITY + 2; k++)
            ht_log_add(log, k);
        CHECK(ht_load_relaxed(&log->lost) == 2 * (round + 1));
        CHECK(ht_log_await_room(log, 1) == HT_EINTR);
        CHECK(ht_log_drain(log, entries) == CAPACITY);
        for (uint32_t k = 0; k < CAPACITY; k++)
            CHECK(entries[k] == k);
        CHECK(ht_log_await_room(log, CAPACITY) == HT_OK && ht_log_drain(log, entries) == 0);
    }
    free(log);
}

static void *enter(void *argument)
{
    ht_log_t *log = *(ht_log_t **)argument;
    uint64_t random = 7;
    for (uint64_t k = 0; k < N_ENTRIES; k++) {
        /* ends: the other thread drains. */
        while (k % STRETCH == 0 && ht_log_await_room(log, STRETCH) != HT_OK)
            ;
        ht_log_enter(log, HT_LOG_CHUNK, 5, (uint32_t)k);
        if (k % 1000 == 0)
            delay_any(&random);
    }
    return NULL;
}

static void nothing_is_lost_between_two_threads(void)
{
    ht_log_t *log = open_log(CAPACITY);
    crew_t crew;
    uint64_t entries[CAPACITY], random = 9, n = 0;
    crew_start(&crew, 1, enter, &log, sizeof log);
    while (n < N_ENTRIES) {
        uint32_t found = ht_log_drain(log, entries);
        for (uint32_t k = 0; k < found; k++, n++)
            CHECK(entries[k] == ht_log_entry(HT_LOG_CHUNK, 5, (uint32_t)n));
        if (found == 0)
            delay_any(&random);
    }
    crew_join(&crew);
    CHECK(ht_load_relaxed(&log->lost) == 0);
    free(log);
}

/* Of a block that a dead worker held, the heir says whether it was exchanged: the worker may have
 * died before it had entered anything. */
static void an_heir_says_what_was_not_committed(void)
{
    hot_fixture_t fixture;
    hot_fixture_open(&fixture, HT_SGD, 0, 3 * HT_BLOCK_COORDINATES, 2);
    ht_log_t *log = fixture.replicas[0].log = open_log(CAPACITY);
    ht_block_t *block = &fixture.hot.blocks[1];
    uint64_t entries[CAPACITY];
    actor_change(&fixture, 0);
    uint64_t rows = fixture.actors[0].rows_done;
    CHECK(ht_replica_exchange(&fixture.hot, &fixture.replicas[0], 1, rows, 0.0f, NULL) == HT_OK);
    REQUIRE(ht_block_try_lock(block, 0) == HT_OK);
    ht_replica_release(&fixture.hot, &fixture.replicas[0], rows);
    REQUIRE(ht_block_try_lock(block, 0) == HT_OK);
    ht_replica_compute_locked(&fixture.hot, &fixture.replicas[0], 1, 0, 0.0f);
    ht_block_commit(block);
    ht_replica_release(&fixture.hot, &fixture.replicas[0], rows);
    CHECK(ht_replica_refresh(&fixture.hot, &fixture.replicas[0], 1) == HT_OK);
    CHECK(ht_log_drain(log, entries) == 3);
    CHECK(entries[0] == ht_log_entry(HT_LOG_EXCHANGE, 1, 0));
    CHECK(entries[1] == ht_log_entry(HT_LOG_FREED, 1, 1));
    CHECK(entries[2] == ht_log_entry(HT_LOG_REFRESH, 1, 3));
    free(log);
    fixture.replicas[0].log = NULL;
    hot_fixture_close(&fixture);
}

int main(void)
{
    an_entry_says_three_things();
    a_ring_has_room_for_two_stretches();
    entries_without_room_are_counted_as_lost();
    nothing_is_lost_between_two_threads();
    an_heir_says_what_was_not_committed();
    FINISH();
}

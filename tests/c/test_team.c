/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Teams: exchanges of a replica on which several members step at the same time.  Sums are exact
 * where no two of them write one entry at once, also when a member is killed within an exchange.
 */
#define _GNU_SOURCE
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ht_process.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/hot_fixture.h"

enum { N = 64, MOST_STRIDE = 4 }; /* coordinates of a small block */

static _Alignas(HT_LINE) float entries[N * MOST_STRIDE];
static float merged[2 * HT_BLOCK_COORDINATES];
static ht_team_slot_t *slot;

static ht_team_block_t small_block(int64_t n, int stride, int arrays)
{
    return (ht_team_block_t){.entries = entries, .n = n, .stride = stride, .arrays = arrays};
}

/* Fills the entries, copies them, and makes other values the merged ones. */
static ht_team_block_t seen_block(int stride, int arrays)
{
    ht_team_block_t block = small_block(N, stride, arrays);
    for (int i = 0; i < N * MOST_STRIDE; i++)
        entries[i] = 1.0f + 0.1f * (float)i;
    ht_team_see(&block, 7, slot);
    for (int i = 0; i < N; i++) {
        merged[i] = -3.0f / (float)(i + 1);
        merged[HT_BLOCK_COORDINATES + i] = 70.0f / (float)(i + 3);
    }
    return block;
}

static int is_merged(int stride, int arrays, int i)
{
    int is_it = 1;
    for (int k = 0; k < arrays; k++)
        is_it &= entries[i * stride + k] == merged[k * HT_BLOCK_COORDINATES + i];
    return is_it;
}

static void untouched_entries_become_the_merged_ones(int stride, int arrays)
{
    ht_team_block_t block = seen_block(stride, arrays);
    CHECK(slot->rows == 7);
    ht_team_take(&block, slot, merged);
    for (int i = 0; i < N; i++) {
        CHECK(is_merged(stride, arrays, i));
        for (int k = arrays; k < stride; k++) /* the share stays */
            CHECK(entries[i * stride + k] == 1.0f + 0.1f * (float)(i * stride + k));
    }
}

static void steps_since_the_copy_stay(void)
{
    ht_team_block_t block = seen_block(1, 1);
    float step = 0.25f, before = entries[5];
    entries[5] += step;
    ht_team_take(&block, slot, merged);
    CHECK(fabsf(entries[5] - (merged[5] + step)) < 1e-6f);
    CHECK(entries[5] == before + step + (merged[5] - before));
    block = seen_block(1, 1);
    entries[5] = merged[5]; /* a step that happens to lead there */
    ht_team_take(&block, slot, merged);
    CHECK(fabsf(entries[5] - (2.0f * merged[5] - before)) < 1e-6f);
    CHECK(entries[6] == merged[6]);
}

/* A worker that died after `done` additions: it has noted the stretch that it was in. */
static void an_heir_adds_what_is_left_and_nothing_twice(int stride, int arrays)
{
    for (int done = 0; done < N; done++) {
        int whole = done / HT_LANES * HT_LANES;
        ht_team_block_t block = seen_block(stride, arrays);
        ht_team_block_t part = small_block(whole, stride, arrays);
        ht_team_take(&part, slot, merged);
        ht_store_relaxed(&slot->reached, (uint32_t)(whole + HT_LANES));
        for (int i = whole; i < done; i++)
            for (int k = 0; k < arrays; k++)
                entries[i * stride + k] = merged[k * HT_BLOCK_COORDINATES + i];
        entries[0] += 0.125f; /* a step since then */
        ht_team_take(&block, slot, merged);
        CHECK(fabsf(entries[0] - merged[0] - 0.125f) < 1e-6f);
        for (int i = 1; i < N; i++)
            CHECK(is_merged(stride, arrays, i));
    }
}

/* ---- teams of threads and processes ----------------------------------------- */

enum { N_WORKERS = 4, TEAM = 2, N_COORDINATES = 2 * HT_BLOCK_COORDINATES + 7, N_BLOCKS = 3 };

typedef struct {
    hot_fixture_t fixture;
    void *shared; /* of all processes: members, slots and points */
    size_t nbytes;
    ht_worker_t *members;
    ht_points_t *points;
} teams_t;

/* Makes the actors of a fixture two teams of two. */
static void open_teams(teams_t *teams, ht_optimizer_t optimizer)
{
    hot_fixture_open(&teams->fixture, optimizer, 0, N_COORDINATES, N_WORKERS);
    size_t each = ht_team_slot_nbytes(teams->fixture.hot.stride);
    teams->nbytes = sizeof(ht_points_t) + N_WORKERS * (sizeof(ht_worker_t) + each);
    teams->shared =
        mmap(NULL, teams->nbytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(teams->shared != MAP_FAILED);
    teams->points = teams->shared;
    teams->members = (ht_worker_t *)(teams->points + 1);
    char *slots = (char *)(teams->members + N_WORKERS);
    teams->fixture.hot.points = teams->points;
    for (uint32_t w = 0; w < N_WORKERS; w++) {
        uint32_t first = w / TEAM * TEAM;
        ht_replica_t *mine = &teams->fixture.replicas[w], *of_team;
        of_team = &teams->fixture.replicas[first];
        mine->entries = of_team->entries;
        mine->base = of_team->base;
        mine->rows_at = of_team->rows_at;
        mine->rows_seen = of_team->rows_seen;
        mine->slot = (ht_team_slot_t *)(void *)(slots + w * each);
        mine->members = teams->members + first;
        mine->n_members = TEAM;
    }
}

static void close_teams(teams_t *teams)
{
    hot_fixture_close(&teams->fixture);
    REQUIRE(munmap(teams->shared, teams->nbytes) == 0);
}

/* A row that changes a few of the coordinates that the worker alone changes. */
static void change(teams_t *teams, uint32_t worker)
{
    const ht_hot_t *hot = &teams->fixture.hot;
    actor_t *actor = &teams->fixture.actors[worker];
    for (int k = 0; k < 8; k++) {
        uint64_t random = delay_random(&actor->random) >> 8;
        int64_t own = (int64_t)(random % (N_COORDINATES / N_WORKERS));
        int64_t coordinate = own * N_WORKERS + worker;
        float *entry = teams->fixture.replicas[worker].entries + coordinate * hot->stride;
        float by[2] = {(float)(random >> 40 & 7) - 3.0f, (float)(random >> 50 & 3)};
        for (int array = 0; array < hot->arrays; array++) {
            ht_store_relaxed_f32(entry + array, ht_load_relaxed_f32(entry + array) + by[array]);
            actor->ledger[hot_fixture_at(&teams->fixture, coordinate, array)] += by[array];
        }
    }
    actor->rows_done++;
    ht_store_relaxed(&teams->members[worker].rows_done, actor->rows_done); /* relaxed: a count */
}

static ht_err_t exchange(teams_t *teams, uint32_t worker, int64_t block)
{
    ht_hot_t *hot = &teams->fixture.hot;
    return ht_replica_exchange(hot, &teams->fixture.replicas[worker], block, 0, 0.0f, NULL);
}

static void exchange_all(teams_t *teams, uint32_t worker)
{
    for (int64_t b = 0; b < N_BLOCKS; b++)
        while (exchange(teams, worker, b) != HT_OK)
            sched_yield();
}

/* Checks the sums, and that every team has all of them once it has exchanged. */
static void check_teams(teams_t *teams)
{
    for (int round = 0; round < 2; round++) /* the first hands in, the second takes over */
        for (uint32_t w = 0; w < N_WORKERS; w++)
            exchange_all(teams, w);
    hot_fixture_check_sums(&teams->fixture);
    const ht_hot_t *hot = &teams->fixture.hot;
    for (uint32_t w = 0; w < N_WORKERS; w += TEAM)
        for (int64_t j = 0; j < N_COORDINATES; j++)
            CHECK(teams->fixture.replicas[w].entries[j * hot->stride] ==
                  hot->values[hot_fixture_at(&teams->fixture, j, 0)]);
}

typedef struct {
    teams_t *teams;
    uint32_t worker;
} part_t;

static void *work(void *argument)
{
    const part_t *part = argument;
    actor_t *actor = &part->teams->fixture.actors[part->worker];
    for (int round = 0; round < 300; round++) {
        uint64_t random = delay_random(&actor->random) >> 20;
        for (uint64_t rows = random % 20; rows > 0; rows--)
            change(part->teams, part->worker);
        actor->n_busy +=
            exchange(part->teams, part->worker, (int64_t)(random / 32 % N_BLOCKS)) != HT_OK;
    }
    return NULL;
}

static void sums_of_members_are_exact(ht_optimizer_t optimizer)
{
    teams_t teams;
    part_t parts[N_WORKERS];
    crew_t crew;
    open_teams(&teams, optimizer);
    for (uint32_t w = 0; w < N_WORKERS; w++)
        parts[w] = (part_t){&teams, w};
    crew_start(&crew, N_WORKERS, work, parts, sizeof *parts);
    crew_join(&crew);
    check_teams(&teams);
    close_teams(&teams);
}

static void be_member(void *argument, uint32_t worker)
{
    teams_t *teams = argument;
    for (int rows = 0; rows < 20; rows++)
        change(teams, worker);
    exchange_all(teams, worker);
}

/* A member is killed within an exchange, while another one of its team goes on. */
static void a_death_within_an_exchange_costs_nothing(ht_optimizer_t optimizer, ht_point_t point)
{
    teams_t teams;
    ht_process_t process;
    ht_fate_t fate;
    int32_t detail;
    open_teams(&teams, optimizer);
    for (int death = 0; death < 5; death++) {
        ht_point_arm(teams.points, point, 1, 0);
        REQUIRE(ht_process_start(be_member, &teams, 1, &process) == HT_OK);
        while (!ht_point_is_held(teams.points, point)) {
            change(&teams, 0);
            sched_yield();
        }
        for (int rows = 0; rows < 20; rows++) {
            change(&teams, 0);
            change(&teams, 2);
        }
        ht_process_signal(&process, SIGKILL);
        REQUIRE(ht_process_reap(&process, 5000, &fate, &detail) == HT_OK);
        CHECK(fate == HT_KILLED);
        ht_point_release(teams.points, point);
        CHECK(exchange(&teams, 0, 0) == HT_EBUSY);
        ht_replica_release(&teams.fixture.hot, &teams.fixture.replicas[1], 0);
        CHECK(exchange(&teams, 0, 0) == HT_OK);
        CHECK(exchange(&teams, 2, 0) == HT_OK);
    }
    CHECK(ht_point_fired(teams.points, point) == 5);
    check_teams(&teams);
    close_teams(&teams);
}

/* A sum of squares that fell has lost a step: it neither falls for all, nor stays behind. */
static void a_sum_of_squares_that_falls_is_no_change(void)
{
    teams_t teams;
    open_teams(&teams, HT_ADAGRAD);
    float *mine = teams.fixture.replicas[0].entries + 1,
          *theirs = teams.fixture.replicas[2].entries + 1;
    *mine = 4.0f;
    exchange_all(&teams, 0);
    *mine = 3.0f; /* a step was lost */
    *theirs = 2.0f;
    exchange_all(&teams, 2);
    CHECK(*theirs == 6.0f);
    exchange_all(&teams, 0);
    CHECK(teams.fixture.hot.values[HT_BLOCK_COORDINATES] == 6.0f);
    CHECK(*mine == 6.0f);
    close_teams(&teams);
}

int main(void)
{
    size_t nbytes = ht_team_slot_nbytes(MOST_STRIDE);
    slot = aligned_alloc(HT_LINE, nbytes);
    REQUIRE(slot != NULL);
    memset(slot, 0, nbytes);
    static const int shapes[][2] = {{1, 1}, {2, 1}, {2, 2}, {4, 2}};
    for (int s = 0; s < 4; s++) {
        untouched_entries_become_the_merged_ones(shapes[s][0], shapes[s][1]);
        an_heir_adds_what_is_left_and_nothing_twice(shapes[s][0], shapes[s][1]);
    }
    steps_since_the_copy_stay();
    sums_of_members_are_exact(HT_SGD);
    sums_of_members_are_exact(HT_ADAGRAD);
    a_death_within_an_exchange_costs_nothing(HT_SGD, HT_EXCHANGE_LOCKED);
    a_death_within_an_exchange_costs_nothing(HT_SGD, HT_EXCHANGE_COMMITTED);
    a_death_within_an_exchange_costs_nothing(HT_ADAGRAD, HT_EXCHANGE_COMMITTED);
    a_sum_of_squares_that_falls_is_no_change();
    free(slot);
    FINISH();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Long interleavings of exchanges: eight workers with random delays, for as
 * many seconds as the first argument says (2 without one); then all sums must
 * be exact.
 */
#include <stdlib.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/hot_fixture.h"

enum { N_WORKERS = 8, N_COORDINATES = 3 * HT_BLOCK_COORDINATES + 5, N_BLOCKS = 4 };

typedef struct {
    hot_fixture_t *fixture;
    uint32_t worker;
    uint64_t deadline_ns;
} part_t;

static void *work(void *argument)
{
    part_t *part = argument;
    actor_t *actor = &part->fixture->actors[part->worker];
    while (ht_now_ns() < part->deadline_ns) {
        uint64_t random = delay_random(&actor->random) >> 20;
        for (uint64_t rows = random % 20; rows > 0; rows--)
            actor_change(part->fixture, part->worker);
        delay_any(&actor->random);
        actor_exchange(part->fixture, part->worker, (int64_t)(random / 32 % N_BLOCKS));
    }
    actor_hand_in(part->fixture, part->worker);
    return NULL;
}

static void sums_stay_exact(ht_optimizer_t optimizer, uint64_t duration_ns)
{
    hot_fixture_t fixture;
    part_t parts[N_WORKERS];
    crew_t crew;
    hot_fixture_open(&fixture, optimizer, 0, N_COORDINATES, N_WORKERS);
    for (uint32_t w = 0; w < N_WORKERS; w++)
        parts[w] = (part_t){&fixture, w, ht_now_ns() + duration_ns};
    crew_start(&crew, N_WORKERS, work, parts, sizeof *parts);
    crew_join(&crew);
    hot_fixture_check_sums(&fixture);
    for (uint32_t w = 0; w < N_WORKERS; w++)
        CHECK(fixture.actors[w].rows_done > 0);
    hot_fixture_close(&fixture);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 2.0;
    REQUIRE(seconds > 0.0 && seconds < 86400.0);
    sums_stay_exact(HT_SGD, (uint64_t)(seconds * 0.5e9));
    sums_stay_exact(HT_ADAGRAD, (uint64_t)(seconds * 0.5e9));
    FINISH();
}

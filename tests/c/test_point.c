/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/ht_futex.h"
#include "share/ht_point.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"

enum { MOST = 3 };

typedef struct {
    ht_points_t *points;
    ht_point_t point;
    uint32_t worker, step;
    uint32_t passes; /* to make */
    ht_word32_t passed;
} passer_t;

static void *pass(void *argument)
{
    passer_t *passer = argument;
    for (uint32_t i = 0; i < passer->passes; i++) {
        ht_point_pass(passer->points, passer->point, passer->worker, passer->step);
        ht_add_relaxed(&passer->passed, 1u);
    }
    return NULL;
}

static int is_held_soon(ht_points_t *points, ht_point_t point)
{
    uint64_t deadline = ht_now_ns() + UINT64_C(5000000000);
    while (!ht_point_is_held(points, point) && ht_now_ns() < deadline)
        delay_sleep_ns(100000);
    return ht_point_is_held(points, point);
}

static void unarmed_points_let_all_pass(void)
{
    static ht_points_t points;
    ht_point_pass(NULL, HT_AFTER_COMMIT, 0, 0);
    for (ht_point_t p = 0; p < HT_POINT_COUNT; p++) {
        for (uint32_t worker = 0; worker < MOST; worker++)
            ht_point_pass(&points, p, worker, 0);
        CHECK(!ht_point_is_held(&points, p));
        CHECK(ht_point_fired(&points, p) == 0);
    }
}

/* Worker 1 is meant: by number, or because it is the first to come. */
static void an_armed_point_holds_one_worker_once(uint32_t armed_for)
{
    for (ht_point_t p = 0; p < HT_POINT_COUNT; p++) {
        ht_points_t points = {0};
        passer_t held = {.points = &points, .point = p, .worker = 1, .passes = 3};
        crew_t crew;
        ht_point_arm(&points, p, armed_for, 0);
        CHECK(!ht_point_is_held(&points, p));
        for (ht_point_t other = 0; other < HT_POINT_COUNT; other++)
            if (other != p)
                ht_point_pass(&points, other, 1, 0);
        crew_start(&crew, 1, pass, &held, sizeof held);
        CHECK(is_held_soon(&points, p));
        ht_point_pass(&points, p, 0, 0); /* the others do not wait */
        ht_point_pass(&points, p, 2, 0);
        delay_sleep_ns(1000000);
        CHECK(ht_load_relaxed(&held.passed) == 0);
        for (ht_point_t other = 0; other < HT_POINT_COUNT; other++) {
            CHECK(ht_point_is_held(&points, other) == (other == p));
            CHECK(ht_point_fired(&points, other) == (other == p));
        }
        ht_point_release(&points, p);
        crew_join(&crew);
        CHECK(held.passed == 3); /* only once */
        CHECK(!ht_point_is_held(&points, p));
        CHECK(ht_point_fired(&points, p) == 1);
    }
}

static void a_point_for_one_worker_lets_the_others_pass(void)
{
    static ht_points_t points;
    for (uint32_t worker = 0; worker < MOST; worker++) {
        ht_point_arm(&points, HT_IN_COPYING, worker, 0);
        for (uint32_t other = 0; other < MOST; other++)
            if (other != worker)
                ht_point_pass(&points, HT_IN_COPYING, other, 0);
        CHECK(!ht_point_is_held(&points, HT_IN_COPYING));
        ht_point_release(&points, HT_IN_COPYING); /* disarms */
        ht_point_pass(&points, HT_IN_COPYING, worker, 0);
    }
    CHECK(ht_point_fired(&points, HT_IN_COPYING) == 0);
}

static void any_worker_is_one_of_several(void)
{
    ht_points_t points = {0};
    passer_t passers[MOST];
    crew_t crew;
    ht_point_arm(&points, HT_BEFORE_WAKE, HT_ANY_WORKER, 0);
    for (uint32_t w = 0; w < MOST; w++)
        passers[w] =
            (passer_t){.points = &points, .point = HT_BEFORE_WAKE, .worker = w, .passes = 100};
    crew_start(&crew, MOST, pass, passers, sizeof *passers);
    CHECK(is_held_soon(&points, HT_BEFORE_WAKE));
    uint64_t deadline = ht_now_ns() + UINT64_C(5000000000);
    uint32_t through;
    do {
        through = 0;
        for (uint32_t w = 0; w < MOST; w++)
            through += ht_load_relaxed(&passers[w].passed) == 100;
    } while (through < MOST - 1 && ht_now_ns() < deadline);
    CHECK(through == MOST - 1);
    ht_point_release(&points, HT_BEFORE_WAKE);
    crew_join(&crew);
    CHECK(ht_point_fired(&points, HT_BEFORE_WAKE) == 1);
}

/* Who is released while the point is armed anew for another goes on. */
static void a_point_can_be_armed_again_at_once(void)
{
    ht_points_t points = {0};
    passer_t passers[2];
    for (uint32_t turn = 1; turn <= 20; turn++) {
        crew_t first, second;
        for (uint32_t w = 0; w < 2; w++)
            passers[w] = (passer_t){.points = &points, .worker = w, .passes = 1};
        ht_point_arm(&points, HT_BEFORE_CLAIM, 0, 0);
        crew_start(&first, 1, pass, &passers[0], sizeof *passers);
        CHECK(is_held_soon(&points, HT_BEFORE_CLAIM));
        while (ht_point_fired(&points, HT_BEFORE_CLAIM) != 2 * turn - 1)
            sched_yield();
        ht_point_release(&points, HT_BEFORE_CLAIM);
        ht_point_arm(&points, HT_BEFORE_CLAIM, 1, 0);
        crew_start(&second, 1, pass, &passers[1], sizeof *passers);
        CHECK(is_held_soon(&points, HT_BEFORE_CLAIM));
        crew_join(&first); /* although a worker is held: another one */
        CHECK(ht_load_relaxed(&passers[1].passed) == 0);
        ht_point_release(&points, HT_BEFORE_CLAIM);
        crew_join(&second);
    }
    CHECK(ht_point_fired(&points, HT_BEFORE_CLAIM) == 40);
}

/* A worker is held in the step that is asked for, or in the first later one that it passes. */
static void a_point_armed_for_a_step_lets_earlier_ones_pass(void)
{
    for (uint64_t at = 5; at < UINT32_MAX; at = at * 7 + 3) {
        const uint32_t wanted = (uint32_t)at;
        ht_points_t points = {0};
        uint32_t worker, step;
        passer_t passer = {.points = &points, .point = HT_IN_ADDING, .worker = 1023, .passes = 1};
        crew_t crew;
        ht_point_arm(&points, HT_IN_ADDING, 1023, wanted);
        for (uint32_t early = wanted - 5; early < wanted; early++)
            ht_point_pass(&points, HT_IN_ADDING, 1023, early);
        ht_point_pass(&points, HT_IN_ADDING, 7, wanted); /* another worker */
        CHECK(!ht_point_held(&points, HT_IN_ADDING, &worker, &step));
        passer.step = wanted + 1;
        crew_start(&crew, 1, pass, &passer, sizeof passer);
        CHECK(is_held_soon(&points, HT_IN_ADDING));
        CHECK(ht_point_held(&points, HT_IN_ADDING, &worker, &step));
        CHECK(worker == 1023 && step == wanted + 1);
        ht_point_release_all(&points);
        crew_join(&crew);
        CHECK(ht_point_fired(&points, HT_IN_ADDING) == 1);
    }
}

int main(void)
{
    unarmed_points_let_all_pass();
    an_armed_point_holds_one_worker_once(1);
    an_armed_point_holds_one_worker_once(HT_ANY_WORKER);
    a_point_for_one_worker_lets_the_others_pass();
    any_worker_is_one_of_several();
    a_point_can_be_armed_again_at_once();
    a_point_armed_for_a_step_lets_earlier_ones_pass();
    FINISH();
}

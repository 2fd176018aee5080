/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The round: workers that are slow or asleep while there is work.  One thread
 * drives all of them, so each delay is exactly where the test wants it; the
 * parameters must be those of the steps without a round.
 */
#include "base/ht_futex.h"
#include "support/check.h"
#include "support/delay.h"
#include "support/round_toy.h"

#define MS UINT64_C(1000000)
#define NEVER_NS UINT64_C(100000000000) /* as the own pace: nothing is overdue */
#define LONGEST_NS (5000 * MS)

enum { N_TASKS = 4 };

static ht_round_self_t *self_of(toy_t *toy, uint32_t worker)
{
    return &toy->workers[worker].self;
}

static void open_and_enter(toy_t *toy, uint32_t n_workers)
{
    toy_open(toy, n_workers, TOY_BLOCKS, 0, N_TASKS);
    for (uint32_t w = 0; w < n_workers; w++)
        toy_enter(toy, w);
}

static uint32_t step_now(toy_t *toy)
{
    ht_phase_t phase;
    return ht_round_now(toy->round, &phase, NULL);
}

/* Lets `worker` look whether the work is over until it has revoked n workers. */
static void await_revoked(toy_t *toy, uint32_t worker, uint64_t n)
{
    uint64_t deadline = ht_now_ns() + LONGEST_NS;
    while (self_of(toy, worker)->counts->revoked < n && ht_now_ns() < deadline) {
        CHECK(ht_round_finish_work(self_of(toy, worker)) == HT_EBUSY);
        delay_sleep_ns(100000);
    }
    CHECK(self_of(toy, worker)->counts->revoked == n);
}

/* Commits and does not add. */
static uint32_t commit_only(toy_t *toy, uint32_t worker)
{
    uint32_t task = toy_claim(toy, worker);
    CHECK(task < N_TASKS);
    CHECK(ht_round_commit(self_of(toy, worker)) == HT_OK);
    return task;
}

/* ---- tasks that take too long ---------------------------------------------- */

static void an_overdue_task_is_done_again_and_the_first_commit_wins(void)
{
    for (uint32_t winner = 0; winner < 2; winner++) {
        toy_t toy;
        open_and_enter(&toy, 2);
        uint32_t task = toy_claim(&toy, 0);
        self_of(&toy, 1)->task_ns = NEVER_NS;
        for (int i = 1; i < N_TASKS; i++) {
            CHECK(toy_claim(&toy, 1) != task);
            CHECK(toy_commit(&toy, 1) == HT_OK);
        }
        self_of(&toy, 1)->task_ns = NEVER_NS;
        CHECK(toy_claim(&toy, 1) == TOY_NONE);
        CHECK(self_of(&toy, 1)->counts->repeated == 0);
        self_of(&toy, 1)->task_ns = MS;
        uint64_t taken = self_of(&toy, 0)->taken_ns;
        CHECK(toy_await_claim(&toy, 1) == task);
        CHECK(self_of(&toy, 1)->counts->repeated == 1);
        CHECK(ht_now_ns() >= taken + 2 * MS);
        CHECK(toy_commit(&toy, winner) == HT_OK);
        CHECK(ht_round_commit(self_of(&toy, 1 - winner)) == HT_EBUSY);
        CHECK(self_of(&toy, 1 - winner)->counts->lost == 1 &&
              self_of(&toy, winner)->counts->lost == 0);
        toy_step(&toy, 0, N_TASKS);
        toy_check(&toy, 1, N_TASKS);
        toy_close(&toy);
    }
}

static void an_overdue_task_is_done_again_by_one_at_a_time(void)
{
    toy_t toy;
    open_and_enter(&toy, 3);
    for (int i = 0; i < N_TASKS; i++)
        CHECK(toy_claim(&toy, 0) != TOY_NONE);
    self_of(&toy, 1)->task_ns = self_of(&toy, 2)->task_ns = 200 * MS;
    for (int i = 0; i < N_TASKS; i++)
        CHECK(toy_await_claim(&toy, 1) != TOY_NONE);
    uint64_t last = self_of(&toy, 1)->taken_ns;
    /* The second part: unless this thread was stopped for long. */
    CHECK(toy_claim(&toy, 2) == TOY_NONE || ht_now_ns() > last + 100 * MS);
    CHECK(self_of(&toy, 1)->counts->repeated == N_TASKS);
    toy_close(&toy);
}

static void a_worker_that_slept_since_its_claim_finds_its_commit_too_late(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    CHECK(toy_claim(&toy, 1) != TOY_NONE);
    toy_step(&toy, 0, N_TASKS);
    toy_step(&toy, 0, N_TASKS);
    CHECK(step_now(&toy) == 3);
    toy_compute(&toy, 1);
    CHECK(ht_round_commit(self_of(&toy, 1)) == HT_EBUSY);
    toy_enter(&toy, 1);
    CHECK(self_of(&toy, 1)->is_fresh && self_of(&toy, 1)->step == 3);
    toy_step(&toy, 1, N_TASKS);
    toy_check(&toy, 3, N_TASKS);
    toy_close(&toy);
}

/* Whether the others have begun the next step, are in the midst of it or have
 * not seen it: nothing of the old one is handed out any more. */
static void a_worker_that_slept_before_its_claim_finds_nothing(void)
{
    for (int how_far = 0; how_far < 4; how_far++) {
        toy_t toy;
        open_and_enter(&toy, 2);
        toy_step(&toy, 0, N_TASKS);
        if (how_far >= 1)
            toy_enter(&toy, 0);
        if (how_far >= 2)
            CHECK(toy_claim(&toy, 0) != TOY_NONE);
        if (how_far >= 3)
            CHECK(toy_commit(&toy, 0) == HT_OK);
        CHECK(toy_claim(&toy, 1) == TOY_NONE);
        toy_step(&toy, 0, N_TASKS);
        toy_check(&toy, 2, N_TASKS);
        toy_close(&toy);
    }
}

/* ---- commits that are not added --------------------------------------------- */

static void who_commits_and_does_not_add_is_revoked_after_the_patience(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    uint32_t counted = toy_claim(&toy, 0);
    CHECK(toy_commit(&toy, 0) == HT_OK);
    uint32_t task = commit_only(&toy, 0);
    for (int i = 2; i < N_TASKS; i++) {
        CHECK(toy_claim(&toy, 1) != TOY_NONE);
        CHECK(toy_commit(&toy, 1) == HT_OK);
    }
    self_of(&toy, 1)->task_ns = MS; /* and so the patience is 10 ms */
    uint64_t begin = ht_now_ns();
    CHECK(toy_claim(&toy, 1) == TOY_NONE);
    await_revoked(&toy, 1, 1);
    CHECK(ht_now_ns() >= begin + 10 * MS);

    /* All that it committed is open, what was counted, too. */
    uint32_t again[2] = {toy_claim(&toy, 1), TOY_NONE};
    CHECK(toy_commit(&toy, 1) == HT_OK);
    again[1] = toy_claim(&toy, 1);
    CHECK((again[0] == counted && again[1] == task) || (again[0] == task && again[1] == counted));
    toy_add(&toy, 0);
    CHECK(ht_round_added(self_of(&toy, 0)) == HT_EBUSY);
    uint32_t generation = self_of(&toy, 0)->generation;
    toy_enter(&toy, 0);
    CHECK(self_of(&toy, 0)->is_fresh && self_of(&toy, 0)->generation == generation + 1);
    CHECK(ht_round_finish_work(self_of(&toy, 0)) == HT_EBUSY);
    CHECK(toy_commit(&toy, 1) == HT_OK);
    CHECK(self_of(&toy, 1)->counts->repeated == 0); /* open ones, not overdue ones */
    toy_step(&toy, 0, N_TASKS);
    toy_check(&toy, 1, N_TASKS);
    toy_close(&toy);
}

static void a_revoked_worker_does_its_tasks_anew(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    for (int i = 1; i < N_TASKS; i++) {
        CHECK(toy_claim(&toy, 0) != TOY_NONE);
        CHECK(toy_commit(&toy, 0) == HT_OK);
    }
    (void)commit_only(&toy, 0);
    await_revoked(&toy, 1, 1);
    CHECK(ht_round_added(self_of(&toy, 0)) == HT_EBUSY);
    toy_enter(&toy, 0);
    for (int i = 0; i < N_TASKS; i++) {
        CHECK(ht_round_finish_work(self_of(&toy, 0)) == HT_EBUSY); /* old commits do not count */
        CHECK(toy_claim(&toy, 0) != TOY_NONE);
        CHECK(toy_commit(&toy, 0) == HT_OK);
    }
    CHECK(toy_claim(&toy, 0) == TOY_NONE);
    toy_step(&toy, 1, N_TASKS);
    toy_check(&toy, 1, N_TASKS);
    toy_close(&toy);
}

static void several_that_do_not_add_are_all_revoked(void)
{
    toy_t toy;
    open_and_enter(&toy, 4);
    for (uint32_t w = 0; w < 3; w++)
        (void)commit_only(&toy, w);
    CHECK(toy_claim(&toy, 3) != TOY_NONE);
    CHECK(toy_commit(&toy, 3) == HT_OK);
    toy_step(&toy, 3, N_TASKS);
    CHECK(step_now(&toy) == 2);
    CHECK(self_of(&toy, 3)->counts->revoked == 3);
    for (uint32_t w = 0; w < 3; w++)
        CHECK(ht_round_added(self_of(&toy, w)) == HT_EBUSY);
    toy_check(&toy, 1, N_TASKS);
    toy_close(&toy);
}

static void who_adds_in_time_is_not_revoked(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    uint64_t repeats = 0;
    for (int i = 0; i < N_TASKS; i++) {
        (void)commit_only(&toy, 0);
        self_of(&toy, 1)->task_ns = NEVER_NS;
        for (uint64_t end = ht_now_ns() + 5 * MS; ht_now_ns() < end; repeats++)
            CHECK(ht_round_finish_work(self_of(&toy, 1)) == HT_EBUSY);
        toy_add(&toy, 0);
        CHECK(ht_round_added(self_of(&toy, 0)) == HT_OK);
    }
    CHECK(repeats > 0 && self_of(&toy, 1)->counts->revoked == 0);
    toy_step(&toy, 1, N_TASKS);
    toy_check(&toy, 1, N_TASKS);
    toy_close(&toy);
}

static void a_worker_that_slept_after_its_commit_adds_in_vain(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    (void)commit_only(&toy, 1);
    toy_step(&toy, 0, N_TASKS);
    CHECK(self_of(&toy, 0)->counts->revoked == 1);
    toy_step(&toy, 0, N_TASKS);
    toy_add(&toy, 1);
    CHECK(ht_round_added(self_of(&toy, 1)) == HT_EBUSY);
    toy_enter(&toy, 1);
    CHECK(self_of(&toy, 1)->is_fresh && self_of(&toy, 1)->generation == 0);
    toy_step(&toy, 1, N_TASKS);
    toy_check(&toy, 3, N_TASKS);
    toy_close(&toy);
}

int main(void)
{
    an_overdue_task_is_done_again_and_the_first_commit_wins();
    an_overdue_task_is_done_again_by_one_at_a_time();
    a_worker_that_slept_since_its_claim_finds_its_commit_too_late();
    a_worker_that_slept_before_its_claim_finds_nothing();
    who_commits_and_does_not_add_is_revoked_after_the_patience();
    a_revoked_worker_does_its_tasks_anew();
    several_that_do_not_add_are_all_revoked();
    who_adds_in_time_is_not_revoked();
    a_worker_that_slept_after_its_commit_adds_in_vain();
    FINISH();
}

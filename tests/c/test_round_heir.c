/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The round: dead workers, and blocks whose worker is slow, asleep or dead.  One
 * thread drives all of them, as in test_round_late.
 */
#include "support/check.h"
#include "support/delay.h"
#include "support/round_toy.h"

#define NEVER_NS UINT64_C(100000000000) /* as the own pace: nothing is overdue */

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

/* Commits and does not add. */
static uint32_t commit_only(toy_t *toy, uint32_t worker)
{
    uint32_t task = toy_claim(toy, worker);
    CHECK(task < N_TASKS);
    CHECK(ht_round_commit(self_of(toy, worker)) == HT_OK);
    return task;
}

/* ---- dead workers ------------------------------------------------------------- */

static void what_a_dead_worker_has_counted_stays(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    uint32_t tasks[2];
    for (int i = 0; i < 2; i++) {
        tasks[i] = toy_claim(&toy, 1);
        CHECK(toy_commit(&toy, 1) == HT_OK);
    }
    ht_round_declare_dead(toy.round, 1);
    toy_work(&toy, 0);
    toy_enter(&toy, 0);
    CHECK(self_of(&toy, 0)->added == N_TASKS - 2);
    CHECK(ht_round_owner(self_of(&toy, 0), tasks[0]) == 1);
    CHECK(ht_round_owner(self_of(&toy, 0), tasks[1]) == 1);
    CHECK(self_of(&toy, 0)->counts->revoked == 0 && self_of(&toy, 0)->counts->repeated == 0);
    toy_step(&toy, 0, N_TASKS);
    toy_check(&toy, 1, N_TASKS);
    toy_close(&toy);
}

static void a_dead_workers_claims_and_commits_are_open_at_once(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    uint32_t committed = commit_only(&toy, 1), claimed = toy_claim(&toy, 1);
    int seen[N_TASKS] = {0};
    for (int i = 2; i < N_TASKS; i++) {
        CHECK(toy_claim(&toy, 0) != TOY_NONE);
        CHECK(toy_commit(&toy, 0) == HT_OK);
    }
    self_of(&toy, 0)->task_ns = NEVER_NS;
    CHECK(toy_claim(&toy, 0) == TOY_NONE);
    ht_round_declare_dead(toy.round, 1);
    uint32_t task = toy_claim(&toy, 0);
    CHECK(task == claimed);
    CHECK(toy_commit(&toy, 0) == HT_OK);
    CHECK(toy_claim(&toy, 0) == TOY_NONE); /* nobody has revoked it yet */
    self_of(&toy, 0)->task_ns = NEVER_NS;
    CHECK(ht_round_finish_work(self_of(&toy, 0)) == HT_EBUSY);
    CHECK(self_of(&toy, 0)->counts->revoked == 1);
    while ((task = toy_claim(&toy, 0)) != TOY_NONE) {
        CHECK(task < N_TASKS && !seen[task]);
        seen[task] = 1;
        CHECK(toy_commit(&toy, 0) == HT_OK);
    }
    for (uint32_t i = 0; i < N_TASKS; i++)
        CHECK(seen[i] == (i == committed));
    CHECK(self_of(&toy, 0)->counts->repeated == 0);
    toy_step(&toy, 0, N_TASKS);
    toy_check(&toy, 1, N_TASKS);
    toy_close(&toy);
}

/* ---- blocks -------------------------------------------------------------------- */

static void enter_merge(toy_t *toy, uint32_t n_workers)
{
    toy_work(toy, 0);
    for (uint32_t w = 0; w < n_workers; w++)
        toy_enter(toy, w);
}

static void an_overdue_block_is_merged_again_and_the_first_commit_wins(void)
{
    for (uint32_t winner = 0; winner < 2; winner++) {
        toy_t toy;
        uint32_t redo, block, again;
        open_and_enter(&toy, 2);
        enter_merge(&toy, 2);
        block = toy_merge_next(&toy, 1, &redo);
        self_of(&toy, 0)->block_ns = 1;
        do
            again = toy_merge_next(&toy, 0, &redo);
        while (again != block && toy_merge_commit(&toy, 0) == HT_OK);
        CHECK(again == block && redo == TOY_NONE && self_of(&toy, 0)->counts->repeated == 1);
        CHECK(toy_merge_commit(&toy, winner) == HT_OK);
        CHECK(ht_round_merge_commit(self_of(&toy, 1 - winner)) == HT_EBUSY);
        CHECK(ht_round_is_merged(self_of(&toy, 0)));
        toy_step(&toy, 1, N_TASKS);
        toy_check(&toy, 1, N_TASKS);
        toy_close(&toy);
    }
}

static void a_worker_that_slept_since_it_took_a_block_finds_its_commit_too_late(void)
{
    toy_t toy;
    uint32_t redo;
    open_and_enter(&toy, 2);
    enter_merge(&toy, 2);
    CHECK(toy_merge_next(&toy, 1, &redo) != TOY_NONE);
    toy_step(&toy, 0, N_TASKS);
    CHECK(step_now(&toy) == 2); /* it was done again */
    CHECK(ht_round_merge_commit(self_of(&toy, 1)) == HT_EBUSY);
    CHECK(toy_merge_next(&toy, 1, &redo) == TOY_NONE);
    toy_step(&toy, 0, N_TASKS);
    CHECK(ht_round_merge_commit(self_of(&toy, 1)) == HT_EBUSY);
    CHECK(toy_merge_next(&toy, 1, &redo) == TOY_NONE);
    enter_merge(&toy, 1);
    CHECK(toy_merge_next(&toy, 1, &redo) == TOY_NONE); /* it has not entered this step */
    toy_step(&toy, 0, N_TASKS);
    toy_check(&toy, 3, N_TASKS);
    toy_close(&toy);
}

static void a_committed_block_passes_from_the_dead_to_one_heir_only(void)
{
    toy_t toy;
    uint32_t redo, block, rest = 0;
    open_and_enter(&toy, 4);
    enter_merge(&toy, 4);
    block = toy_merge_next(&toy, 0, &redo);
    CHECK(ht_round_merge_commit(self_of(&toy, 0)) == HT_OK);
    for (uint32_t w = 1; w < 4; w++)
        self_of(&toy, w)->block_ns = 1; /* all that can be overdue is */
    while (toy_merge_next(&toy, 1, &redo) != TOY_NONE) {
        CHECK(toy.workers[1].block != block);
        CHECK(toy_merge_commit(&toy, 1) == HT_OK);
        rest++;
    }
    CHECK(rest == TOY_BLOCKS - 1);
    delay_sleep_ns(5000000);
    for (uint32_t w = 1; w < 4; w++)
        CHECK(toy_merge_next(&toy, w, &redo) == TOY_NONE); /* the owner lives */
    CHECK(!ht_round_is_merged(self_of(&toy, 1)));

    ht_round_declare_dead(toy.round, 0);
    CHECK(toy_merge_next(&toy, 2, &redo) == block);
    CHECK(redo == 0);
    CHECK(toy_merge_next(&toy, 1, &redo) == TOY_NONE);
    CHECK(toy_merge_next(&toy, 3, &redo) == TOY_NONE);
    ht_round_declare_dead(toy.round, 2); /* the heir, before it has copied */
    CHECK(toy_merge_next(&toy, 1, &redo) == block);
    CHECK(redo == 0); /* still where the first owner left it */
    CHECK(toy_merge_next(&toy, 3, &redo) == TOY_NONE);
    toy_copy(&toy, 1, redo = 0);
    ht_round_merge_done(self_of(&toy, 1));
    CHECK(ht_round_is_merged(self_of(&toy, 3)));
    CHECK(toy_merge_next(&toy, 3, &redo) == TOY_NONE);
    ht_round_advance(self_of(&toy, 3), N_TASKS);
    toy_check(&toy, 1, N_TASKS);
    toy_step(&toy, 3, N_TASKS);
    toy_check(&toy, 2, N_TASKS);
    toy_close(&toy);
}

/* ---- the next worker of a place -------------------------------------------------- */

/* The new worker knows nothing of the old one. */
static void replace(toy_t *toy, uint32_t worker)
{
    ht_round_self_init(self_of(toy, worker), toy->round, worker, &toy->workers[worker].counts);
}

static void the_next_worker_of_a_place_is_barred_until_the_next_step(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    (void)commit_only(&toy, 1);
    CHECK(!ht_round_is_barred(self_of(&toy, 0)) && !ht_round_is_barred(self_of(&toy, 1)));
    ht_round_declare_dead(toy.round, 1);
    replace(&toy, 1);
    CHECK(ht_round_is_barred(self_of(&toy, 1)) && !ht_round_is_barred(self_of(&toy, 0)));
    toy_step(&toy, 0, N_TASKS);
    CHECK(!ht_round_is_barred(self_of(&toy, 1)));
    toy_enter(&toy, 1);
    CHECK(self_of(&toy, 1)->is_fresh);
    /* What it claims now is a living worker's. */
    uint32_t task = toy_claim(&toy, 1);
    CHECK(task != TOY_NONE);
    self_of(&toy, 0)->task_ns = NEVER_NS;
    toy_enter(&toy, 0);
    for (int i = 1; i < N_TASKS; i++) {
        CHECK(toy_claim(&toy, 0) != task);
        CHECK(toy_commit(&toy, 0) == HT_OK);
    }
    CHECK(toy_claim(&toy, 0) == TOY_NONE);
    CHECK(toy_commit(&toy, 1) == HT_OK);
    toy_step(&toy, 0, N_TASKS);
    toy_check(&toy, 2, N_TASKS);
    toy_close(&toy);
}

/* In WORK, all that the dead worker has added is void, and done again. */
static void the_last_workers_successor_does_the_work_again(void)
{
    toy_t toy;
    open_and_enter(&toy, 2);
    ht_round_declare_dead(toy.round, 1);
    CHECK(toy_claim(&toy, 0) != TOY_NONE);
    CHECK(toy_commit(&toy, 0) == HT_OK);
    (void)commit_only(&toy, 0);
    (void)toy_claim(&toy, 0);
    ht_round_declare_dead(toy.round, 0);
    replace(&toy, 0);
    CHECK(ht_round_is_barred(self_of(&toy, 0)));
    uint32_t block, redo;
    CHECK(ht_round_orphan(toy.round, &block, &redo) == HT_EEND);
    ht_round_revive(toy.round, 0);
    CHECK(!ht_round_is_barred(self_of(&toy, 0)));
    toy_enter(&toy, 0);
    CHECK(self_of(&toy, 0)->is_fresh && self_of(&toy, 0)->generation == 1);
    toy_step(&toy, 0, N_TASKS);
    toy_check(&toy, 1, N_TASKS);
    toy_close(&toy);
}

/* In MERGE, the sums of the dead count, and a block that one has committed is copied before its
 * redo slot is used again. */
static void the_last_workers_successor_merges_what_is_there(void)
{
    toy_t toy;
    uint32_t redo, block, orphan, n_orphans = 0;
    open_and_enter(&toy, 2);
    enter_merge(&toy, 2);
    block = toy_merge_next(&toy, 0, &redo);
    CHECK(ht_round_merge_commit(self_of(&toy, 0)) == HT_OK);
    (void)toy_merge_next(&toy, 1, &redo); /* claimed, and left */
    ht_round_declare_dead(toy.round, 1);
    ht_round_declare_dead(toy.round, 0);
    replace(&toy, 0);
    while (ht_round_orphan(toy.round, &orphan, &redo) == HT_OK) {
        CHECK(orphan == block && redo == 0);
        toy.workers[1].block = orphan; /* in the place of the supervisor */
        toy_copy(&toy, 1, redo);
        ht_round_orphan_done(toy.round, orphan);
        n_orphans++;
    }
    CHECK(n_orphans == 1);
    ht_round_revive(toy.round, 0);
    toy_enter(&toy, 0);
    toy_step(&toy, 0, N_TASKS);
    toy_check(&toy, 1, N_TASKS);
    toy_step(&toy, 0, N_TASKS);
    toy_check(&toy, 2, N_TASKS);
    toy_close(&toy);
}

int main(void)
{
    the_next_worker_of_a_place_is_barred_until_the_next_step();
    the_last_workers_successor_does_the_work_again();
    the_last_workers_successor_merges_what_is_there();
    what_a_dead_worker_has_counted_stays();
    a_dead_workers_claims_and_commits_are_open_at_once();
    an_overdue_block_is_merged_again_and_the_first_commit_wins();
    a_worker_that_slept_since_it_took_a_block_finds_its_commit_too_late();
    a_committed_block_passes_from_the_dead_to_one_heir_only();
    FINISH();
}

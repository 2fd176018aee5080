/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The round: its phases when all goes well.  Several workers are driven by one
 * thread, call by call.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/round_toy.h"

static uint32_t now(const toy_t *toy, ht_phase_t *phase)
{
    return ht_round_now(toy->round, phase, NULL);
}

static void check_now(const toy_t *toy, uint32_t step, ht_phase_t phase, uint32_t n_tasks)
{
    ht_phase_t found;
    uint32_t found_tasks;
    CHECK(ht_round_now(toy->round, &found, &found_tasks) == step);
    CHECK(found == phase);
    CHECK(found_tasks == n_tasks);
}

static void a_round_has_limits(void)
{
    static const struct {
        uint32_t workers, most_tasks, guests, tasks;
        ht_err_t err;
    } cases[] = {
        {0, 4, 0, 4, HT_EINVAL},
        {HT_ROUND_WORKERS + 1, 4, 0, 4, HT_EINVAL},
        {UINT32_MAX, 4, 0, 4, HT_EINVAL},
        {1, HT_ROUND_TASKS + 1, 0, 4, HT_EINVAL},
        {1, 4, 0, 5, HT_EINVAL},
        {1, 4, HT_ROUND_WORKERS + 1, 4, HT_EINVAL},
        {1, 4, 0, 4, HT_OK},
        {1, 0, 0, 0, HT_OK},
        {HT_ROUND_WORKERS, HT_ROUND_TASKS, HT_ROUND_WORKERS, HT_ROUND_TASKS, HT_OK},
    };
    size_t nbytes = ht_round_nbytes(HT_ROUND_WORKERS, HT_ROUND_TASKS, 2, HT_ROUND_WORKERS);
    ht_round_t *round = aligned_alloc(HT_LINE, (nbytes + HT_LINE - 1) / HT_LINE * HT_LINE);
    REQUIRE(round != NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(round, 0, nbytes);
        CHECK(ht_round_init(round, cases[i].workers, cases[i].most_tasks, 2, cases[i].guests,
                            cases[i].tasks) == cases[i].err);
    }
    free(round);
}

/* ---- a step ---------------------------------------------------------------- */

static void a_step_goes_from_work_to_merge_to_the_next(void)
{
    toy_t toy;
    ht_phase_t phase;
    uint32_t redo;
    toy_open(&toy, 2, TOY_BLOCKS, 0, 3);
    ht_round_self_t *first = &toy.workers[0].self, *second = &toy.workers[1].self;
    check_now(&toy, 1, HT_WORK, 3);
    toy_enter(&toy, 0);
    toy_enter(&toy, 1);
    CHECK(first->is_fresh && second->is_fresh && first->step == 1 && first->n_tasks == 3);
    first->task_ns = second->task_ns = UINT64_C(10000000000); /* nothing is overdue */

    uint32_t tasks[3] = {toy_claim(&toy, 0), toy_claim(&toy, 1), TOY_NONE};
    CHECK(tasks[0] != tasks[1]);
    CHECK(toy_commit(&toy, 0) == HT_OK);
    CHECK(ht_round_finish_work(first) == HT_EBUSY);
    CHECK(toy_commit(&toy, 1) == HT_OK);
    tasks[2] = toy_claim(&toy, 1);
    CHECK(tasks[2] != tasks[0] && tasks[2] != tasks[1] && tasks[2] < 3);
    CHECK(toy_claim(&toy, 0) == TOY_NONE);
    CHECK(ht_round_finish_work(first) == HT_EBUSY); /* the last one is claimed only */
    CHECK(toy_commit(&toy, 1) == HT_OK);
    CHECK(toy_claim(&toy, 0) == TOY_NONE && toy_claim(&toy, 1) == TOY_NONE);
    CHECK(now(&toy, &phase) == 1 && phase == HT_WORK);
    CHECK(ht_round_finish_work(first) == HT_OK);
    check_now(&toy, 1, HT_MERGE, 3);
    CHECK(ht_round_finish_work(second) == HT_OK); /* another was first: it is over */
    check_now(&toy, 1, HT_MERGE, 3);

    toy_enter(&toy, 0);
    toy_enter(&toy, 1);
    CHECK(first->phase == HT_MERGE && !first->is_fresh && !second->is_fresh);
    CHECK(ht_round_owner(first, tasks[0]) == 0);
    CHECK(ht_round_owner(first, tasks[1]) == 1 && ht_round_owner(first, tasks[2]) == 1);
    CHECK(ht_round_accumulates(first, 0) && ht_round_accumulates(first, 1));
    CHECK(!ht_round_is_merged(first));
    first->block_ns = second->block_ns = UINT64_C(10000000000);
    for (uint32_t b = 0; b < TOY_BLOCKS; b++) {
        CHECK(toy_merge_next(&toy, b % 2, &redo) < TOY_BLOCKS);
        CHECK(redo == TOY_NONE);
        CHECK(ht_round_merge_commit(&toy.workers[b % 2].self) == HT_OK);
        toy_copy(&toy, b % 2, b % 2);
        CHECK(!ht_round_is_merged(second)); /* copied, but not done */
        ht_round_merge_done(&toy.workers[b % 2].self);
    }
    CHECK(toy_merge_next(&toy, 0, &redo) == TOY_NONE);
    CHECK(ht_round_is_merged(first) && ht_round_is_merged(second));
    ht_round_advance(first, 5);
    check_now(&toy, 2, HT_WORK, 5);
    ht_round_advance(second, 7); /* too late */
    check_now(&toy, 2, HT_WORK, 5);
    toy_check(&toy, 1, 3);
    CHECK(first->counts->repeated + second->counts->repeated == 0 &&
          first->counts->lost + second->counts->lost == 0);
    toy_close(&toy);
}

static void a_new_step_starts_with_empty_accumulators(void)
{
    toy_t toy;
    toy_open(&toy, 3, TOY_BLOCKS, 0, 6);
    for (uint32_t step = 1; step <= 10; step++) {
        toy_enter(&toy, 2); /* and adds nothing */
        CHECK(toy.workers[2].self.is_fresh);
        toy_enter(&toy, 2);
        CHECK(!toy.workers[2].self.is_fresh);
        toy_enter(&toy, step % 2);
        for (int i = 0; i < 3; i++) {
            CHECK(toy_claim(&toy, step % 2) != TOY_NONE);
            CHECK(toy_commit(&toy, step % 2) == HT_OK);
        }
        toy_work(&toy, 1 - step % 2);
        toy_enter(&toy, 2);
        CHECK(!ht_round_accumulates(&toy.workers[2].self, 2));
        toy_merge(&toy, 0);
        ht_round_advance(&toy.workers[0].self, 6);
    }
    check_now(&toy, 11, HT_WORK, 6);
    toy_check(&toy, 10, 6);
    toy_close(&toy);
}

static void a_commit_that_is_not_counted_keeps_the_work_open(void)
{
    toy_t toy;
    toy_open(&toy, 2, TOY_BLOCKS, 0, 1);
    toy_enter(&toy, 0);
    toy_enter(&toy, 1);
    ht_round_self_t *other = &toy.workers[1].self;
    other->task_ns = UINT64_C(10000000000); /* it will not revoke */
    CHECK(toy_claim(&toy, 0) == 0);
    CHECK(ht_round_commit(&toy.workers[0].self) == HT_OK);
    CHECK(ht_round_finish_work(other) == HT_EBUSY);
    CHECK(toy_claim(&toy, 1) == TOY_NONE); /* and is not to be done again */
    CHECK(ht_round_finish_work(&toy.workers[0].self) == HT_EBUSY);
    toy_add(&toy, 0);
    CHECK(ht_round_added(&toy.workers[0].self) == HT_OK);
    CHECK(ht_round_finish_work(other) == HT_OK);
    CHECK(other->counts->revoked == 0);
    toy_step(&toy, 1, 1);
    toy_check(&toy, 1, 1);
    toy_close(&toy);
}

static void steps_without_tasks_or_blocks_pass(void)
{
    for (uint32_t n_blocks = 0; n_blocks <= 1; n_blocks++)
        for (uint32_t n_tasks = 0; n_tasks <= 1; n_tasks++) {
            toy_t toy;
            toy_open(&toy, 1, n_blocks, 0, n_tasks);
            for (uint32_t step = 1; step <= 3; step++) {
                check_now(&toy, step, HT_WORK, n_tasks);
                toy_enter(&toy, 0);
                CHECK((ht_round_finish_work(&toy.workers[0].self) == HT_OK) == (n_tasks == 0));
                toy_step(&toy, 0, n_tasks);
            }
            check_now(&toy, 4, HT_WORK, n_tasks);
            toy_check(&toy, 3, n_tasks);
            toy_close(&toy);
        }
}

static void work_can_grow_while_it_is_open(void)
{
    toy_t toy;
    toy_open(&toy, 2, TOY_BLOCKS, 0, 2);
    toy_enter(&toy, 0);
    toy_enter(&toy, 1);
    for (int i = 0; i < 2; i++) {
        CHECK(toy_claim(&toy, 0) != TOY_NONE);
        CHECK(toy_commit(&toy, 0) == HT_OK);
    }
    CHECK(ht_round_grow(toy.round, 2, 1) == HT_EBUSY);
    CHECK(ht_round_grow(toy.round, 1, TOY_TASKS - 1) == HT_EINVAL);
    CHECK(ht_round_grow(toy.round, 1, UINT32_MAX) == HT_EINVAL);
    uint32_t bell = ht_round_bell(toy.round);
    CHECK(ht_round_grow(toy.round, 1, 3) == HT_OK);
    CHECK(ht_round_bell(toy.round) != bell);
    check_now(&toy, 1, HT_WORK, 5);
    /* Who still thinks that there are two does not end the work of five. */
    CHECK(ht_round_finish_work(&toy.workers[1].self) == HT_OK);
    check_now(&toy, 1, HT_WORK, 5);
    CHECK(ht_round_grow(toy.round, 1, TOY_TASKS - 5) == HT_OK);
    CHECK(ht_round_grow(toy.round, 1, 1) == HT_EINVAL);
    toy_work(&toy, 1);
    check_now(&toy, 1, HT_MERGE, TOY_TASKS);
    CHECK(ht_round_grow(toy.round, 1, 0) == HT_EBUSY);
    toy_step(&toy, 1, 1);
    toy_check(&toy, 1, TOY_TASKS);
    CHECK(ht_round_grow(toy.round, 1, 1) == HT_EBUSY);
    CHECK(ht_round_grow(toy.round, 2, 1) == HT_OK);
    toy_close(&toy);
}

/* ---- exchange, waiting ------------------------------------------------------ */

static void an_exchange_waits_for_the_guest(void)
{
    toy_t toy;
    toy_values_t expected = {0};
    toy_open(&toy, 2, TOY_BLOCKS, 1, 4);
    for (uint32_t step = 1; step <= 3; step++) {
        CHECK(ht_round_guest_added(toy.round, 0, step) == HT_EBUSY);
        toy_work(&toy, 0);
        check_now(&toy, step, HT_EXCHANGE, 4);
        toy_enter(&toy, 1);
        CHECK(toy.workers[1].self.phase == HT_EXCHANGE);
        for (uint32_t b = 0; b < TOY_BLOCKS; b++)
            for (uint32_t k = 0; k < TOY_WIDTH; k++)
                toy.guest.of[b][k] = step * 1000 + b * 100 + k;
        CHECK(ht_round_guest_added(toy.round, 0, step - 1) == HT_EBUSY);
        CHECK(ht_round_guest_added(toy.round, 0, step + 1) == HT_EBUSY);
        CHECK(ht_round_guest_added(toy.round, 1, step) == HT_EBUSY);
        check_now(&toy, step, HT_EXCHANGE, 4);
        CHECK(ht_round_guest_added(toy.round, 0, step) == HT_OK);
        check_now(&toy, step, HT_MERGE, 4);
        CHECK(ht_round_guest_added(toy.round, 0, step) == HT_EBUSY);
        toy_merge(&toy, 1);
        ht_round_advance(&toy.workers[1].self, 4);
        toy_reference(&expected, TOY_BLOCKS, step, 4, &toy.guest);
        CHECK(memcmp(&toy.parameters, &expected, sizeof expected) == 0);
    }
    toy_close(&toy);
}

static void an_exchange_waits_for_every_guest(void)
{
    size_t nbytes = ht_round_nbytes(1, 0, 0, 3);
    ht_round_t *round = aligned_alloc(HT_LINE, (nbytes + HT_LINE - 1) / HT_LINE * HT_LINE);
    REQUIRE(round != NULL);
    memset(round, 0, nbytes);
    REQUIRE(ht_round_init(round, 1, 0, 0, 3, 0) == HT_OK);
    ht_round_self_t self;
    ht_round_counts_t counts = {0};
    ht_phase_t phase;
    ht_round_self_init(&self, round, 0, &counts);
    ht_round_enter(&self);
    CHECK(ht_round_finish_work(&self) == HT_OK);
    const uint32_t order[] = {2, 0, 2, 1};
    for (int i = 0; i < 4; i++) {
        CHECK(ht_round_now(round, &phase, NULL) == 1 && phase == HT_EXCHANGE);
        CHECK(ht_round_guest_added(round, order[i], 1) == HT_OK);
    }
    CHECK(ht_round_now(round, &phase, NULL) == 1 && phase == HT_MERGE);
    free(round);
}

static void waits_end_with_the_bell_or_the_deadline(void)
{
    const uint64_t ms = 1000000;
    toy_t toy;
    toy_open(&toy, 1, TOY_BLOCKS, 0, 1);
    toy_enter(&toy, 0);
    ht_round_self_t *self = &toy.workers[0].self;
    uint32_t bell = ht_round_bell(toy.round);
    uint64_t begin = ht_now_ns();
    ht_err_t err;
    while ((err = ht_round_await(self, bell, 0, begin + 20 * ms)) != HT_ETIMEOUT)
        CHECK(err == HT_OK || err == HT_EINTR);
    CHECK(ht_now_ns() >= begin + 20 * ms);
    CHECK(self->idle_ns != 0);
    ht_round_wake(toy.round, HT_ROUND_WORKERS);
    CHECK(ht_round_bell(toy.round) != bell);
    CHECK(ht_round_await(self, bell, 0, 0) == HT_OK);
    CHECK(self->idle_ns == 0);
    bell = ht_round_bell(toy.round);
    ht_round_declare_dead(toy.round, 0);
    CHECK(ht_round_await(self, bell, 0, 0) == HT_OK);
    toy_close(&toy);
}

int main(void)
{
    a_round_has_limits();
    a_step_goes_from_work_to_merge_to_the_next();
    a_new_step_starts_with_empty_accumulators();
    a_commit_that_is_not_counted_keeps_the_work_open();
    steps_without_tasks_or_blocks_pass();
    work_can_grow_while_it_is_open();
    an_exchange_waits_for_the_guest();
    an_exchange_waits_for_every_guest();
    waits_end_with_the_bell_or_the_deadline();
    FINISH();
}

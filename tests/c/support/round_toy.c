/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/round_toy.h"

#include <stdlib.h>
#include <string.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/delay.h"

#define LONGEST_NS UINT64_C(5000000000) /* that a test may take for one phase */

/* race: a delayed worker's loads of parameters or accumulators with their
 * owners' stores; harmless, because its commit then fails. */
#ifdef HT_WITH_TSAN
#define RACY HT_RACY __attribute__((noinline))
#else
#define RACY
#endif

void toy_open(toy_t *toy, uint32_t n_workers, uint32_t n_blocks, uint32_t n_guests,
              uint32_t n_tasks)
{
    REQUIRE(n_workers <= TOY_WORKERS && n_blocks <= TOY_BLOCKS && n_guests <= 1);
    memset(toy, 0, sizeof *toy);
    size_t nbytes = ht_round_nbytes(n_workers, TOY_TASKS, n_blocks, n_guests);
    nbytes = (nbytes + HT_LINE - 1) / HT_LINE * HT_LINE;
    toy->round = aligned_alloc(HT_LINE, nbytes);
    REQUIRE(toy->round != NULL);
    memset(toy->round, 0, nbytes);
    REQUIRE(ht_round_init(toy->round, n_workers, TOY_TASKS, n_blocks, n_guests, n_tasks) == HT_OK);
    toy->n_workers = n_workers;
    toy->n_blocks = n_blocks;
    toy->n_guests = n_guests;
    for (uint32_t w = 0; w < n_workers; w++)
        ht_round_self_init(&toy->workers[w].self, toy->round, w, &toy->workers[w].counts);
}

void toy_close(toy_t *toy)
{
    free(toy->round);
}

/* ---- arithmetic ---------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

static uint64_t result_of(uint64_t parameter, uint32_t step, uint32_t task, uint32_t place)
{
    return mix(parameter + UINT64_C(1000003) * step + UINT64_C(7919) * task + place + 1);
}

void toy_reference(toy_values_t *parameters, uint32_t n_blocks, uint32_t step, uint32_t n_tasks,
                   const toy_values_t *guest)
{
    for (uint32_t b = 0; b < n_blocks; b++)
        for (uint32_t k = 0; k < TOY_WIDTH; k++) {
            uint64_t old = parameters->of[b][k], sum = guest == NULL ? 0 : guest->of[b][k];
            for (uint32_t task = 0; task < n_tasks; task++)
                sum += result_of(old, step, task, b * TOY_WIDTH + k);
            parameters->of[b][k] = mix(old) + sum;
        }
}

void toy_check(const toy_t *toy, uint32_t n_steps, uint32_t n_tasks)
{
    toy_values_t expected = {0};
    for (uint32_t step = 1; step <= n_steps; step++)
        toy_reference(&expected, toy->n_blocks, step, n_tasks, NULL);
    CHECK(memcmp(&toy->parameters, &expected, sizeof expected) == 0);
}

RACY static void compute_racy(const toy_values_t *parameters, uint32_t n_blocks, uint32_t step,
                              uint32_t task, toy_values_t *result)
{
    for (uint32_t b = 0; b < n_blocks; b++)
        for (uint32_t k = 0; k < TOY_WIDTH; k++)
            result->of[b][k] = result_of(parameters->of[b][k], step, task, b * TOY_WIDTH + k);
}

RACY static uint64_t sum_racy(const toy_t *toy, const ht_round_self_t *self, uint32_t block,
                              uint32_t place)
{
    uint64_t sum = toy->n_guests == 0 ? 0 : toy->guest.of[block][place];
    for (uint32_t w = 0; w < toy->n_workers; w++)
        if (ht_round_accumulates(self, w))
            sum += toy->workers[w].sum.of[block][place];
    return sum;
}

RACY static uint64_t old_racy(const toy_t *toy, uint32_t block, uint32_t place)
{
    return toy->parameters.of[block][place];
}

/* ---- one worker's part --------------------------------------------------- */

void toy_enter(toy_t *toy, uint32_t worker)
{
    toy_worker_t *me = &toy->workers[worker];
    ht_round_enter(&me->self);
    if (me->self.is_fresh)
        memset(&me->sum, 0, sizeof me->sum);
}

void toy_compute(toy_t *toy, uint32_t worker)
{
    toy_worker_t *me = &toy->workers[worker];
    compute_racy(&toy->parameters, toy->n_blocks, me->self.step, me->task, &me->result);
}

uint32_t toy_claim(toy_t *toy, uint32_t worker)
{
    toy_worker_t *me = &toy->workers[worker];
    ht_err_t err = ht_round_claim(&me->self, &me->task);
    CHECK(err == HT_OK || err == HT_EEND);
    if (err != HT_OK)
        return TOY_NONE;
    toy_compute(toy, worker);
    return me->task;
}

void toy_add(toy_t *toy, uint32_t worker)
{
    toy_worker_t *me = &toy->workers[worker];
    for (uint32_t b = 0; b < toy->n_blocks; b++)
        for (uint32_t k = 0; k < TOY_WIDTH; k++)
            me->sum.of[b][k] += me->result.of[b][k];
}

ht_err_t toy_commit(toy_t *toy, uint32_t worker)
{
    ht_round_self_t *self = &toy->workers[worker].self;
    ht_err_t err = ht_round_commit(self);
    if (err != HT_OK)
        return err;
    toy_add(toy, worker);
    return ht_round_added(self);
}

uint32_t toy_merge_next(toy_t *toy, uint32_t worker, uint32_t *redo)
{
    toy_worker_t *me = &toy->workers[worker];
    ht_err_t err = ht_round_merge_next(&me->self, &me->block, redo);
    CHECK(err == HT_OK || err == HT_EEND);
    if (err != HT_OK)
        return TOY_NONE;
    if (*redo == TOY_NONE)
        for (uint32_t k = 0; k < TOY_WIDTH; k++)
            me->redo[k] = mix(old_racy(toy, me->block, k)) + sum_racy(toy, &me->self, me->block, k);
    return me->block;
}

/* Nothing here is racy: who has committed a block holds the step, so that
 * neither accumulators that count nor the block's parameters can change. */
void toy_copy(toy_t *toy, uint32_t worker, uint32_t redo)
{
    toy_worker_t *me = &toy->workers[worker];
    for (uint32_t k = 0; k < TOY_WIDTH; k++) {
        uint64_t sum = toy->n_guests == 0 ? 0 : toy->guest.of[me->block][k];
        for (uint32_t w = 0; w < toy->n_workers; w++)
            if (ht_round_accumulates(&me->self, w))
                sum += toy->workers[w].sum.of[me->block][k];
        CHECK(mix(toy->parameters.of[me->block][k]) + sum == toy->workers[redo].redo[k]);
    }
    for (uint32_t k = 0; k < TOY_WIDTH; k++)
        toy->parameters.of[me->block][k] = toy->workers[redo].redo[k];
}

ht_err_t toy_merge_commit(toy_t *toy, uint32_t worker)
{
    ht_round_self_t *self = &toy->workers[worker].self;
    ht_err_t err = ht_round_merge_commit(self);
    if (err != HT_OK)
        return err;
    toy_copy(toy, worker, worker);
    ht_round_merge_done(self);
    return HT_OK;
}

/* ---- in one go ------------------------------------------------------------ */

uint32_t toy_await_claim(toy_t *toy, uint32_t worker)
{
    uint64_t deadline = ht_now_ns() + LONGEST_NS;
    while (ht_now_ns() < deadline) {
        uint32_t task = toy_claim(toy, worker);
        if (task != TOY_NONE)
            return task;
        delay_sleep_ns(100000);
    }
    return TOY_NONE;
}

void toy_work(toy_t *toy, uint32_t worker)
{
    uint64_t deadline = ht_now_ns() + LONGEST_NS;
    ht_round_self_t *self = &toy->workers[worker].self;
    do {
        toy_enter(toy, worker);
        while (toy_claim(toy, worker) != TOY_NONE)
            (void)toy_commit(toy, worker);
        if (ht_round_finish_work(self) == HT_OK)
            return;
        delay_sleep_ns(100000);
    } while (ht_now_ns() < deadline);
    CHECK_NEVER("the work ends");
}

void toy_merge(toy_t *toy, uint32_t worker)
{
    uint64_t deadline = ht_now_ns() + LONGEST_NS;
    ht_round_self_t *self = &toy->workers[worker].self;
    toy_enter(toy, worker);
    CHECK(self->phase == HT_MERGE);
    do {
        uint32_t redo;
        while (toy_merge_next(toy, worker, &redo) != TOY_NONE) {
            if (redo == TOY_NONE) {
                (void)toy_merge_commit(toy, worker);
                continue;
            }
            toy_copy(toy, worker, redo);
            ht_round_merge_done(self);
        }
        if (ht_round_is_merged(self))
            return;
        delay_sleep_ns(100000);
    } while (ht_now_ns() < deadline);
    CHECK_NEVER("the merge ends");
}

void toy_step(toy_t *toy, uint32_t worker, uint32_t n_tasks)
{
    toy_work(toy, worker);
    toy_merge(toy, worker);
    ht_round_advance(&toy->workers[worker].self, n_tasks);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The round: four threads with random delays, one of them slowed far beyond the
 * patience of the others, on plain shared memory.  The parameters must be those
 * of the steps without a round, and ThreadSanitizer must find nothing.
 */
#include <string.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/round_toy.h"

enum { N_STEPS = 300, SLOW = 3 };

typedef struct {
    toy_t *toy;
    uint32_t worker;
    uint64_t random;
    uint64_t late;    /* commits that another won */
    uint64_t revoked; /* results that were added in vain */
    uint64_t added;
} part_t;

/* Also steps without any. */
static uint32_t tasks_of_step(uint32_t step)
{
    return step % 25 == 0 ? 0 : 8;
}

/* The slow one sleeps beyond all patience once in `period` calls. */
static void delay(part_t *part, uint64_t period)
{
    delay_any(&part->random);
    if (part->worker == SLOW && (delay_random(&part->random) >> 20) % period == 0)
        delay_sleep_ns(5000000);
}

/* HT_EBUSY: the worker has to enter anew. */
static ht_err_t finish_task(part_t *part)
{
    ht_round_self_t *self = &part->toy->workers[part->worker].self;
    delay(part, 16);
    if (ht_round_commit(self) != HT_OK) {
        part->late++;
        return HT_OK;
    }
    delay(part, 4);
    toy_add(part->toy, part->worker);
    delay(part, 4);
    ht_err_t err = ht_round_added(self);
    part->added += err == HT_OK;
    part->revoked += err != HT_OK;
    return err;
}

static void work(part_t *part)
{
    ht_round_self_t *self = &part->toy->workers[part->worker].self;
    while (toy_claim(part->toy, part->worker) != TOY_NONE)
        if (finish_task(part) != HT_OK)
            return;
    delay(part, 16);
    (void)ht_round_finish_work(self);
}

static void merge(part_t *part)
{
    toy_t *toy = part->toy;
    ht_round_self_t *self = &toy->workers[part->worker].self;
    uint32_t redo;
    while (toy_merge_next(toy, part->worker, &redo) != TOY_NONE) {
        CHECK(redo == TOY_NONE); /* all live */
        delay(part, 16);
        if (ht_round_merge_commit(self) != HT_OK) {
            part->late++;
            continue;
        }
        delay_any(&part->random);
        toy_copy(toy, part->worker, part->worker);
        delay_any(&part->random);
        ht_round_merge_done(self);
    }
    if (!ht_round_is_merged(self))
        return;
    delay(part, 16);
    ht_round_advance(self, tasks_of_step(self->step + 1));
}

static void *take_part(void *argument)
{
    part_t *part = argument;
    toy_t *toy = part->toy;
    ht_round_self_t *self = &toy->workers[part->worker].self;
    for (;;) {
        uint32_t bell = ht_round_bell(toy->round);
        toy_enter(toy, part->worker);
        if (self->step > N_STEPS)
            return NULL;
        if (self->phase == HT_WORK)
            work(part);
        else
            merge(part);
        ht_err_t err = ht_round_await(self, bell, 0, ht_now_ns() + 1000000000);
        CHECK(err == HT_OK || err == HT_EINTR);
    }
}

int main(void)
{
    static toy_t toy;
    part_t parts[TOY_WORKERS];
    crew_t crew;
    toy_open(&toy, TOY_WORKERS, TOY_BLOCKS, 0, tasks_of_step(1));
    for (uint32_t w = 0; w < TOY_WORKERS; w++)
        parts[w] = (part_t){.toy = &toy, .worker = w, .random = w + 1};
    crew_start(&crew, TOY_WORKERS, take_part, parts, sizeof *parts);
    crew_join(&crew);

    toy_values_t expected = {0};
    for (uint32_t step = 1; step <= N_STEPS; step++)
        toy_reference(&expected, TOY_BLOCKS, step, tasks_of_step(step), NULL);
    CHECK(memcmp(&toy.parameters, &expected, sizeof expected) == 0);

    /* What was to be tested has happened. */
    uint64_t late = 0, revoked = 0, repeated = 0, added = 0, tasks = 0;
    for (uint32_t w = 0; w < TOY_WORKERS; w++) {
        CHECK(parts[w].added > 0);
        CHECK(parts[w].late == toy.workers[w].self.counts->lost);
        late += parts[w].late;
        revoked += toy.workers[w].self.counts->revoked;
        repeated += toy.workers[w].self.counts->repeated;
        added += parts[w].added;
    }
    for (uint32_t step = 1; step <= N_STEPS; step++)
        tasks += tasks_of_step(step);
    CHECK(late > 0 && repeated > 0);
    CHECK(revoked > 0 && parts[SLOW].revoked > 0);
    CHECK(added >= tasks && added <= tasks + 8 * revoked);
    toy_close(&toy);
    FINISH();
}

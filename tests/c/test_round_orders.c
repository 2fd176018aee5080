/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The round: what its words hand over.  Each test is for one of the pairs
 * HT_PAIR_COMMIT, HT_PAIR_ADDED, HT_PAIR_DONE and HT_PAIR_STEP: two threads
 * wait for each other in relaxed words only, so nothing but that pair orders
 * the plain data, and ThreadSanitizer sees when the pair is weakened.
 */
#include <string.h>

#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/round_toy.h"

#define NEVER_NS UINT64_C(100000000000) /* as the own pace: nothing is overdue */

enum { N_REPEATS = 50 };

typedef struct {
    toy_t toy;
    uint64_t note; /* plain */
    ht_word32_t go;
    uint32_t bell;
} shared_t;

typedef struct {
    shared_t *shared;
    void (*work)(shared_t *shared);
} part_t;

static void await(ht_word32_t *word)
{
    while (ht_load_relaxed(word) == 0)
        sched_yield();
}

static void *run_part(void *argument)
{
    part_t *part = argument;
    part->work(part->shared);
    return NULL;
}

/* Opens one task and one block for two workers, lets `set_up` prepare, and then
 * both threads go. */
static void repeat(void (*set_up)(shared_t *), void (*first)(shared_t *),
                   void (*second)(shared_t *))
{
    for (int i = 0; i < N_REPEATS; i++) {
        static shared_t shared;
        part_t parts[2] = {{&shared, first}, {&shared, second}};
        crew_t crew;
        memset(&shared, 0, sizeof shared);
        toy_open(&shared.toy, 2, 1, 0, 1);
        if (set_up != NULL)
            set_up(&shared);
        crew_start(&crew, 2, run_part, parts, sizeof *parts);
        crew_join(&crew);
        toy_close(&shared.toy);
    }
}

static void enter_merge(shared_t *shared)
{
    toy_t *toy = &shared->toy;
    toy_work(toy, 0);
    toy_enter(toy, 0);
    toy_enter(toy, 1);
    CHECK(toy->workers[1].self.phase == HT_MERGE);
}

static void check_parameters(const toy_t *toy)
{
    toy_values_t expected = {0};
    toy_reference(&expected, 1, 1, 1, NULL);
    for (uint32_t k = 0; k < TOY_WIDTH; k++)
        CHECK(toy->parameters.of[0][k] == expected.of[0][k]);
}

/* ---- HT_PAIR_ADDED ---------------------------------------------------------- */

static void add(shared_t *shared)
{
    toy_t *toy = &shared->toy;
    await(&shared->go);
    toy_enter(toy, 0);
    CHECK(toy_claim(toy, 0) == 0);
    CHECK(toy_commit(toy, 0) == HT_OK);
}

static void finish_and_read_the_sum(shared_t *shared)
{
    toy_t *toy = &shared->toy;
    ht_round_self_t *self = &toy->workers[1].self;
    toy_enter(toy, 1);
    self->task_ns = NEVER_NS;
    ht_store_relaxed(&shared->go, 1u);
    while (ht_round_finish_work(self) != HT_OK)
        sched_yield();
    toy_values_t expected = {0};
    toy_reference(&expected, 1, 1, 1, NULL); /* of parameters that are 0: the sum */
    for (uint32_t k = 0; k < TOY_WIDTH; k++)
        CHECK(toy->workers[0].sum.of[0][k] == expected.of[0][k]);
}

static void a_count_hands_over_the_accumulator(void)
{
    repeat(NULL, add, finish_and_read_the_sum);
}

/* ---- HT_PAIR_DONE ------------------------------------------------------------ */

static void merge_the_block(shared_t *shared)
{
    uint32_t redo;
    await(&shared->go);
    CHECK(toy_merge_next(&shared->toy, 0, &redo) == 0);
    CHECK(toy_merge_commit(&shared->toy, 0) == HT_OK);
}

static void read_when_merged(shared_t *shared)
{
    ht_store_relaxed(&shared->go, 1u);
    while (!ht_round_is_merged(&shared->toy.workers[1].self))
        sched_yield();
    check_parameters(&shared->toy);
}

static void a_done_block_hands_over_its_parameters(void)
{
    repeat(enter_merge, merge_the_block, read_when_merged);
}

/* ---- HT_PAIR_COMMIT ----------------------------------------------------------- */

static void pretend_death(shared_t *shared)
{
    enter_merge(shared);
    ht_round_declare_dead(shared->toy.round, 0);
}

/* And then it neither copies nor lives on. */
static void commit_the_block(shared_t *shared)
{
    uint32_t redo;
    CHECK(toy_merge_next(&shared->toy, 0, &redo) == 0);
    ht_store_relaxed(&shared->go, 1u);
    CHECK(ht_round_merge_commit(&shared->toy.workers[0].self) == HT_OK);
}

static void inherit_the_block(shared_t *shared)
{
    uint32_t redo = TOY_NONE;
    shared->toy.workers[1].self.block_ns = NEVER_NS;
    await(&shared->go);
    while (toy_merge_next(&shared->toy, 1, &redo) == TOY_NONE)
        sched_yield();
    CHECK(redo == 0);
    toy_copy(&shared->toy, 1, 0);
    ht_round_merge_done(&shared->toy.workers[1].self);
    check_parameters(&shared->toy);
}

static void a_committed_block_hands_over_the_redo_slot(void)
{
    repeat(pretend_death, commit_the_block, inherit_the_block);
}

/* ---- HT_PAIR_STEP -------------------------------------------------------------- */

static void do_a_step(shared_t *shared)
{
    await(&shared->go);
    toy_step(&shared->toy, 0, 1);
}

static void read_in_the_next_step(shared_t *shared)
{
    ht_phase_t phase;
    ht_store_relaxed(&shared->go, 1u);
    while (ht_round_now(shared->toy.round, &phase, NULL) != 2)
        sched_yield();
    check_parameters(&shared->toy);
}

static void a_new_step_hands_over_the_parameters(void)
{
    repeat(NULL, do_a_step, read_in_the_next_step);
}

static void note_bell(shared_t *shared)
{
    shared->bell = ht_round_bell(shared->toy.round);
}

static void write_and_ring(shared_t *shared)
{
    await(&shared->go);
    shared->note = 7;
    ht_round_wake(shared->toy.round, HT_ROUND_WORKERS);
}

static void read_when_it_rings(shared_t *shared)
{
    ht_store_relaxed(&shared->go, 1u);
    while (ht_round_bell(shared->toy.round) == shared->bell)
        sched_yield();
    CHECK(shared->note == 7);
}

static void a_bell_hands_over_what_was_changed(void)
{
    repeat(note_bell, write_and_ring, read_when_it_rings);
}

int main(void)
{
    a_count_hands_over_the_accumulator();
    a_done_block_hands_over_its_parameters();
    a_committed_block_hands_over_the_redo_slot();
    a_new_step_hands_over_the_parameters();
    a_bell_hands_over_what_was_changed();
    FINISH();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * round_toy: a round with integers for arithmetic, in plain shared memory.
 *
 * A task's result and a step's end depend on step, task and every parameter
 * without any pattern, so whatever is lost, counted twice or read too late
 * shows in the parameters for good.  Accumulators, redo slots and parameters
 * are plain: the round alone orders them.
 */
#ifndef ROUND_TOY_H
#define ROUND_TOY_H

#include "share/ht_round.h"

enum { TOY_WORKERS = 4, TOY_TASKS = 16, TOY_BLOCKS = 3, TOY_WIDTH = 8 };

#define TOY_NONE UINT32_MAX

/* One value per block and place in it. */
typedef struct {
    uint64_t of[TOY_BLOCKS][TOY_WIDTH];
} toy_values_t;

typedef struct {
    HT_ALIGNED ht_round_self_t self;
    ht_round_counts_t counts;
    uint32_t task;
    uint32_t block;
    toy_values_t result; /* of the task in hand */
    toy_values_t sum;    /* the accumulator */
    uint64_t redo[TOY_WIDTH];
} toy_worker_t;

typedef struct {
    ht_round_t *round;
    uint32_t n_workers, n_blocks, n_guests;
    HT_ALIGNED toy_values_t parameters;
    toy_values_t guest; /* the sum of the guest, if there is one */
    toy_worker_t workers[TOY_WORKERS];
} toy_t;

/* Step 1 is open with n_tasks tasks; parameters are 0. */
void toy_open(toy_t *toy, uint32_t n_workers, uint32_t n_blocks, uint32_t n_guests,
              uint32_t n_tasks);
void toy_close(toy_t *toy);

/* What a step with n_tasks tasks makes of the parameters, without a round;
 * guest may be NULL. */
void toy_reference(toy_values_t *parameters, uint32_t n_blocks, uint32_t step, uint32_t n_tasks,
                   const toy_values_t *guest);

/* Checks that the parameters are those of steps 1 .. n_steps of n_tasks tasks. */
void toy_check(const toy_t *toy, uint32_t n_steps, uint32_t n_tasks);

/* ---- one worker's part, call by call ----------------------------------- */

/* Enters and, if fresh, clears the accumulator. */
void toy_enter(toy_t *toy, uint32_t worker);

/* Claims and computes; the task or TOY_NONE. */
uint32_t toy_claim(toy_t *toy, uint32_t worker);
void toy_compute(toy_t *toy, uint32_t worker);

/* What comes between ht_round_commit and ht_round_added. */
void toy_add(toy_t *toy, uint32_t worker);

/* The rest of a task that was claimed. */
ht_err_t toy_commit(toy_t *toy, uint32_t worker);

/* Takes the next block and computes it; the block or TOY_NONE. */
uint32_t toy_merge_next(toy_t *toy, uint32_t worker, uint32_t *redo);

/* Copies the block in hand from the redo slot of worker `redo`. */
void toy_copy(toy_t *toy, uint32_t worker, uint32_t redo);

/* The rest of a block that was taken. */
ht_err_t toy_merge_commit(toy_t *toy, uint32_t worker);

/* ---- in one go ---------------------------------------------------------- */

/* Waits until the worker finds a task, for instance one that is overdue. */
uint32_t toy_await_claim(toy_t *toy, uint32_t worker);

/* All that is left of the phase, with what others have out. */
void toy_work(toy_t *toy, uint32_t worker);
void toy_merge(toy_t *toy, uint32_t worker);

/* All that is left of the step, and opens the next one with n_tasks tasks. */
void toy_step(toy_t *toy, uint32_t worker, uint32_t n_tasks);

#endif

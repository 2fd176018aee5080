/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sums_fixture: accumulators, and rows added to them in random orders.
 */
#ifndef SUMS_FIXTURE_H
#define SUMS_FIXTURE_H

#include "model/ht_linear_kernels.h"
#include "support/problem.h"

enum { N_ROWS = 200, N_FEATURES = 300, LONGEST = 40, N_SUMS = 3 };
enum { N = N_FEATURES + 1, PADDED = 320, N_GROUPS = PADDED / HT_SUMS_GROUP };
enum { N_SCALES = PADDED / HT_SUMS_SCALE };

/* An accumulator of either kind. */
typedef struct {
    _Alignas(64) int64_t exact[PADDED];
    _Alignas(64) float plain[PADDED];
    uint8_t marks[N_GROUPS];
} sums_memory_t;

typedef struct {
    const problem_t *problem;
    const double *scales; /* NULL: all 1 */
    int intercept;
    double inverse_unit;
} sums_setting_t;

extern sums_memory_t sums_memories[N_SUMS];
extern float sums_gradients[N_ROWS]; /* one per row */

ht_sums_t sums_in(sums_memory_t *memory, int is_exact);

/* Whether the build and the processor have the instruction set. */
int sums_has(ht_isa_t isa);

/* New sums_gradients within +-size: size, -size and 0 among them. */
void sums_draw(uint64_t seed, float size);

/* Adds all rows in a random order, in groups of random length, each to a random
 * one of n_sums accumulators. */
void sums_add_all(const sums_setting_t *setting, ht_isa_t isa, int is_exact, int n_sums,
                  uint64_t seed);

#endif

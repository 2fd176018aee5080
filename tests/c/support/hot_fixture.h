/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hot_fixture: hot blocks and replicas in memory that forked children share,
 * and actors that change and exchange them by exact sums.
 *
 * All changes are small integers and the learning rate is 0, so theta is 1 and
 * float sums are exact: in the end each shared value must equal the sum of all
 * changes, which every actor also writes to a ledger of its own.
 */
#ifndef HOT_FIXTURE_H
#define HOT_FIXTURE_H

#include "share/ht_replica.h"

#define FIXTURE_MOST_ACTORS 8

/* One worker; only its own thread or process (or heir) touches it. */
typedef struct {
    HT_ALIGNED uint64_t random;
    uint64_t rows_done;
    uint64_t n_busy; /* exchanges that found the block held */
    float *ledger;   /* like the shared values: the sum of its changes */
} actor_t;

typedef struct {
    ht_hot_t hot;
    ht_replica_t replicas[FIXTURE_MOST_ACTORS];
    actor_t *actors; /* n_workers */
    uint32_t n_workers;
    void *memory;
    size_t nbytes;
} hot_fixture_t;

/* Parameters start at 0 on the best instruction set. */
void hot_fixture_open(hot_fixture_t *fixture, ht_optimizer_t optimizer, int has_penalty,
                      int64_t n_coordinates, uint32_t n_workers);
void hot_fixture_close(hot_fixture_t *fixture);

/* A worker's work: one row that changes a few coordinates of its replica. */
void actor_change(hot_fixture_t *fixture, uint32_t worker);

/* Exchanges a block, with random delays between the steps of it. */
ht_err_t actor_exchange_slowly(hot_fixture_t *fixture, uint32_t worker, int64_t block);

/* Exchanges a block in one call or slowly, by chance; counts busy ones. */
void actor_exchange(hot_fixture_t *fixture, uint32_t worker, int64_t block);

/* Exchanges all blocks until nothing is left to hand in. */
void actor_hand_in(hot_fixture_t *fixture, uint32_t worker);

/* Checks that every shared value is the sum of all ledgers and that each
 * block has counted all rows.  Nobody may work. */
void hot_fixture_check_sums(const hot_fixture_t *fixture);

/* Where array `array` of a coordinate stands in the shared values. */
int64_t hot_fixture_at(const hot_fixture_t *fixture, int64_t coordinate, int array);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_random: random numbers that are functions of (key, counter).
 *
 * Layer L1.  There is no state: any thread may call anything at any time.
 * The same arguments give the same numbers on every machine.  The mixer is the finaliser of
 * SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195); the
 * permutation is a Feistel network with cycle walking (Black and Rogaway
 * 2002, doi:10.1007/3-540-45760-7_9).
 */
#ifndef HT_RANDOM_H
#define HT_RANDOM_H

#include "base/ht_base.h"

/* Returns a 64-bit number that is a function of (key, counter). */
uint64_t ht_random_u64(uint64_t key, uint64_t counter);

/* Returns the image of i under the permutation of 0 .. n-1 that key chooses.  Needs i < n and
 * n <= 2^62; returns i when n < 2. */
uint64_t ht_random_permute(uint64_t key, uint64_t n, uint64_t i);

#endif

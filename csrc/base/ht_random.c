/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/ht_random.h"

uint64_t ht_random_u64(uint64_t key, uint64_t counter)
{
    uint64_t x = key + (counter + 1) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

enum { FEISTEL_ROUNDS = 4 };

uint64_t ht_random_permute(uint64_t key, uint64_t n, uint64_t i)
{
    if (n < 2)
        return i;
    unsigned half = 1;
    while (half < 31 && ((uint64_t)1 << (2 * half)) < n)
        half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    /* ends: the network permutes 0..4^half-1, so the walk from a point below
     * n comes back below n, after fewer than 4 steps on average. */
    do {
        uint64_t left = i >> half;
        uint64_t right = i & mask;
        for (uint64_t round = 0; round < FEISTEL_ROUNDS; round++) {
            uint64_t next = left ^ (ht_random_u64(key + round, right) & mask);
            left = right;
            right = next;
        }
        i = (left << half) | right;
    } while (i >= n);
    return i;
}

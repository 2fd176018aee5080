/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_atomic: atomic access with the memory order in the name.
 *
 * Layer L0.  Every acquire or release names its hand-over, and the two sides
 * of a pair name one hand-over.  A build with -DHT_WEAKEN=<hand-over>
 * turns the two sides of that one pair into relaxed accesses; ThreadSanitizer
 * must then object (tests/c/run.py --weaken), or the order is untested or not needed.
 */
#ifndef HT_ATOMIC_H
#define HT_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/ht_base.h"

/* The hand-overs: the data, from its writer to its reader. */
enum {
    HT_PAIR_NONE = 0,
    HT_PAIR_EPOCH = 1,  /* supervisor's set-up of an epoch -> workers */
    HT_PAIR_REST = 2,   /* a worker's results -> supervisor */
    HT_PAIR_BLOCK = 3,  /* a shared block -> its next owner */
    HT_PAIR_COMMIT = 4, /* a redo slot -> the heir of its owner */
    HT_PAIR_ADDED = 5,  /* a worker's accumulator -> the worker that merges it */
    HT_PAIR_DONE = 6,   /* merged parameters -> the worker that opens the next step */
    HT_PAIR_STEP = 7,   /* the parameters of a step -> all workers */
    HT_PAIR_CLOCK = 8,  /* the merges that a worker has counted -> those whom its clock lets pass */
    HT_PAIR_LOG = 9     /* the entries of a log -> the supervisor, and the room for more back */
};

#ifndef HT_WEAKEN
#define HT_WEAKEN HT_PAIR_NONE
#endif
#define HT_ORDER(pair, order) \
    ((pair) != HT_PAIR_NONE && (pair) == HT_WEAKEN ? memory_order_relaxed : (order))

typedef _Atomic(uint32_t) ht_word32_t;
typedef _Atomic(uint64_t) ht_word64_t;

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a locked fallback is private to a process");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a locked fallback is private to a process");

#define ht_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define ht_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define ht_or_relaxed(p, v) atomic_fetch_or_explicit((p), (v), memory_order_relaxed)
#define ht_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)

#define ht_load_acquire(pair, p) atomic_load_explicit((p), HT_ORDER(pair, memory_order_acquire))
#define ht_store_release(pair, p, v) \
    atomic_store_explicit((p), (v), HT_ORDER(pair, memory_order_release))
#define ht_add_release(pair, p, v) \
    atomic_fetch_add_explicit((p), (v), HT_ORDER(pair, memory_order_release))

/* Stores v and returns true if *p equals *expected; else writes the value found to *expected
 * and returns false.  Acquire on success, relaxed on failure. */
#define ht_cas_acquire(pair, p, expected, v) \
    atomic_compare_exchange_strong_explicit( \
        (p), (expected), (v), HT_ORDER(pair, memory_order_acquire), memory_order_relaxed)

/* Stores v as ht_cas_acquire does, with a sequentially consistent success that hands over `pair`:
 * of two workers that each change a word and then look at the other's word, one at least sees both
 * changes. */
#define ht_cas_seq_cst(pair, p, expected, v) \
    atomic_compare_exchange_strong_explicit( \
        (p), (expected), (v), HT_ORDER(pair, memory_order_seq_cst), memory_order_relaxed)

#define ht_add_seq_cst(pair, p, v) \
    atomic_fetch_add_explicit((p), (v), HT_ORDER(pair, memory_order_seq_cst))
#define ht_load_seq_cst(pair, p) atomic_load_explicit((p), HT_ORDER(pair, memory_order_seq_cst))

/* Reads a float that several workers update in place; this and the next two are always relaxed:
 * a parameter guards no other data. */
HT_INLINE float ht_load_relaxed_f32(const float *p)
{
    float value;
    __atomic_load(p, &value, __ATOMIC_RELAXED);
    return value;
}

HT_INLINE void ht_store_relaxed_f32(float *p, float v)
{
    __atomic_store(p, &v, __ATOMIC_RELAXED);
}

/* Stores v and returns 1 if *p equals *expected, compared as bits; else writes the value found to
 * *expected and returns 0.  May fail spuriously. */
HT_INLINE int ht_cas_relaxed_f32(float *p, float *expected, float v)
{
    return __atomic_compare_exchange(p, expected, &v, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

#endif

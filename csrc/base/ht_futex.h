/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_futex: sleep until a 32-bit word changes; the only blocking call.
 *
 * Layer L1: may include L0.  Any thread of any process that maps the word may
 * wait and wake at the same time (the shared futex form).  A wake-up can be
 * lost when the waker dies between its store and its call, so a wait never
 * sleeps longer than HT_FUTEX_NAP_NS at a stretch.  The exception is a worker
 * that rests until the supervisor calls it: the run ends with the supervisor.
 */
#ifndef HT_FUTEX_H
#define HT_FUTEX_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

#define HT_FUTEX_NAP_NS 50000000u       /* 50 ms */
#define HT_FUTEX_LONGEST_NS 1000000000u /* of a nap at rest: 1 s */
#define HT_FUTEX_RESTING 16u            /* workers at rest that do not lengthen their naps */

/* Returns the monotonic time in nanoseconds. */
uint64_t ht_now_ns(void);

/* Sleeps while *word == expected, at most one nap and not past deadline_ns
 * (absolute, ht_now_ns's clock).  HT_OK: the word may have changed, look
 * again.  HT_EINTR: a nap or a signal ended it, handle signals and call
 * again.  HT_ETIMEOUT: the deadline passed. */
ht_err_t ht_futex_wait(ht_word32_t *word, uint32_t expected, uint64_t deadline_ns);

/* Sleeps as ht_futex_wait does, at most nap_ns (<= HT_FUTEX_LONGEST_NS) at a stretch.  Sets *woken
 * to 1 if a wake-up ended the nap, else to 0; woken may be NULL. */
ht_err_t ht_futex_nap(ht_word32_t *word, uint32_t expected, uint64_t nap_ns, uint64_t deadline_ns,
                      int *woken);

/* Returns the nap, in nanoseconds, of one of n workers that rest until the supervisor wakes them.
 * It grows with n, so that all naps together do not keep a core busy. */
HT_INLINE uint64_t ht_futex_rest_ns(uint32_t n)
{
    uint64_t nap = (uint64_t)HT_FUTEX_NAP_NS * n / HT_FUTEX_RESTING;
    nap = nap < HT_FUTEX_NAP_NS ? HT_FUTEX_NAP_NS : nap;
    return nap < HT_FUTEX_LONGEST_NS ? nap : HT_FUTEX_LONGEST_NS;
}

/* Wakes all workers and threads that wait on the word. */
void ht_futex_wake(ht_word32_t *word);

/* Wakes up to n waiters, the one that has waited longest first.  Returns how many it woke: the nap
 * of each one ends with *woken == 1. */
uint32_t ht_futex_wake_some(ht_word32_t *word, uint32_t n);

#endif

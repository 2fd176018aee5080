/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_futex: sleep until a 32-bit word changes; the only blocking call.
 *
 * Layer L1: may include L0.  Any thread of any process that maps the word may
 * wait and wake at the same time (the shared futex form).  A wake-up can be
 * lost when the waker dies between its store and its call, so a wait never
 * sleeps longer than HT_FUTEX_NAP_NS at a stretch.
 */
#ifndef HT_FUTEX_H
#define HT_FUTEX_H

#include "ht_atomic.h"
#include "ht_base.h"

#define HT_FUTEX_NAP_NS 50000000u /* 50 ms */

/* Monotonic time in nanoseconds. */
uint64_t ht_now_ns(void);

/* Sleeps while *word == expected, at most one nap and not past deadline_ns
 * (absolute, ht_now_ns's clock).  HT_OK: the word may have changed, look
 * again.  HT_EINTR: a nap or a signal ended it, handle signals and call
 * again.  HT_ETIMEOUT: the deadline passed. */
ht_err_t ht_futex_wait(ht_word32_t *word, uint32_t expected, uint64_t deadline_ns);

/* Wakes all who wait on the word. */
void ht_futex_wake(ht_word32_t *word);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_base: what every module shares: error codes, alignment, assertions.
 *
 * Layer L0: includes libc only.  Everything here may be called from any
 * thread at any time.
 */
#ifndef HT_BASE_H
#define HT_BASE_H

#include <stddef.h>
#include <stdint.h>

/* 0 is success, a positive value one of the codes below, a negative value
 * -errno of the system call that failed. */
typedef int32_t ht_err_t;

enum {
    HT_OK = 0,
    HT_EINVAL = 1,      /* a precondition of the call is broken */
    HT_EINTR = 2,       /* a wait ended early: handle signals, call again */
    HT_ETIMEOUT = 3,    /* the deadline passed */
    HT_EBUSY = 4,       /* another worker holds it: try later */
    HT_EEND = 5,        /* nothing is left to hand out */
    HT_ESTOPPED = 6,    /* the supervisor asked all workers to stop */
    HT_ENONFINITE = 7,  /* a loss became infinite or NaN: the run diverges */
    HT_EROWPTR = 8,     /* row pointers decrease or leave the arrays */
    HT_EINDEX = 9,      /* a column index is negative or too large */
    HT_EDUPLICATE = 10, /* a column stands twice in a row */
    HT_EVALUE = 11,     /* a value of the matrix is NaN or infinite */
    HT_ECHANGED = 12,   /* rows of a mapped file have changed since they were checked */
    HT_ERR_COUNT = 13
};

/* Returns a static English text for 0 and each positive code, "unknown error" for any other
 * number.  Never NULL. */
const char *ht_err_text(ht_err_t err);

/* Words of different writers lie this far apart: two lines of 64 bytes,
 * because the adjacent-line prefetcher fetches pairs. */
#define HT_LINE 128
#define HT_ALIGNED _Alignas(HT_LINE)

#define HT_INLINE static inline __attribute__((always_inline))

/* Defined when ThreadSanitizer watches: gcc and clang say so in different ways. */
#if defined(__SANITIZE_THREAD__)
#define HT_WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HT_WITH_TSAN 1
#endif
#endif

/* Marks a function that is compiled apart from its callers: its variables are not in their frames.
 */
#define HT_APART __attribute__((noinline))

/* Marks a function with intended races: ThreadSanitizer leaves it out. */
#ifdef HT_WITH_TSAN
#define HT_RACY __attribute__((no_sanitize_thread))
#else
#define HT_RACY
#endif

/* Aborts when an invariant (never a precondition) is broken, in debug and sanitizer builds; free
 * otherwise. */
#ifdef HT_DEBUG
#include <stdlib.h>
#define HT_ASSERT(condition) ((condition) ? (void)0 : abort())
#else
#define HT_ASSERT(condition) ((void)0)
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "base/ht_futex.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

uint64_t ht_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

ht_err_t ht_futex_wait(ht_word32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    return ht_futex_nap(word, expected, HT_FUTEX_NAP_NS, deadline_ns, NULL);
}

ht_err_t ht_futex_nap(ht_word32_t *word, uint32_t expected, uint64_t nap_ns, uint64_t deadline_ns,
                      int *woken)
{
    if (woken != NULL)
        *woken = 0;
    uint64_t now = ht_now_ns();
    if (now >= deadline_ns)
        return HT_ETIMEOUT;
    uint64_t left = deadline_ns - now, nap = left < nap_ns ? left : nap_ns;
    struct timespec duration = {.tv_sec = (time_t)(nap / 1000000000u),
                                .tv_nsec = (long)(nap % 1000000000u)};
#ifdef __linux__
    long rc = syscall(SYS_futex, (void *)word, FUTEX_WAIT, expected, &duration, NULL, 0);
    if (rc == 0 && woken != NULL)
        *woken = 1;
    if (rc == 0 || errno == EAGAIN)
        return HT_OK;
    return HT_EINTR;
#else
    /* relaxed: the caller looks again with the order that it needs. */
    if (ht_load_relaxed(word) != expected)
        return HT_OK;
    if (nap > 200000)
        duration = (struct timespec){.tv_nsec = 200000};
    nanosleep(&duration, NULL);
    return HT_EINTR;
#endif
}

void ht_futex_wake(ht_word32_t *word)
{
    (void)ht_futex_wake_some(word, INT_MAX);
}

uint32_t ht_futex_wake_some(ht_word32_t *word, uint32_t n)
{
#ifdef __linux__
    long woken = syscall(SYS_futex, (void *)word, FUTEX_WAKE, n, NULL, NULL, 0);
    return woken > 0 ? (uint32_t)woken : 0;
#else
    (void)word;
    (void)n;
    return 0;
#endif
}

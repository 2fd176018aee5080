/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "ht_futex.h"

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

/* How long this sleep may last, or 0 when the deadline has passed. */
static uint64_t nap_ns(uint64_t deadline_ns)
{
    uint64_t now = ht_now_ns();
    if (now >= deadline_ns)
        return 0;
    uint64_t left = deadline_ns - now;
    return left < HT_FUTEX_NAP_NS ? left : HT_FUTEX_NAP_NS;
}

ht_err_t ht_futex_wait(ht_word32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    uint64_t nap = nap_ns(deadline_ns);
    if (nap == 0)
        return HT_ETIMEOUT;
    struct timespec duration = {.tv_sec = 0, .tv_nsec = (long)nap};
#ifdef __linux__
    long rc = syscall(SYS_futex, (void *)word, FUTEX_WAIT, expected, &duration, NULL, 0);
    if (rc == 0 || errno == EAGAIN)
        return HT_OK;
    return HT_EINTR;
#else
    /* relaxed: the caller looks again with the order that it needs. */
    if (ht_load_relaxed(word) != expected)
        return HT_OK;
    if (duration.tv_nsec > 200000)
        duration.tv_nsec = 200000;
    nanosleep(&duration, NULL);
    return HT_EINTR;
#endif
}

void ht_futex_wake(ht_word32_t *word)
{
#ifdef __linux__
    syscall(SYS_futex, (void *)word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
#else
    (void)word;
#endif
}

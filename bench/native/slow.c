/* SPDX-License-Identifier: BSD-3-Clause
 * Slow one thread of this process, wherever it is.
 *
 * Compiled by slow.py at run time; needs Linux. A timer sends the thread a signal;
 * its handler sleeps factor - 1 times the processor time that the thread has used
 * since the last one, and sets the timer again. A thread that waits uses none, so
 * that its waits are no longer than before. One thread at a time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { PERIOD_NS = 200000, LEAST_NS = 20000 };

static struct {
    timer_t timer;
    struct sigaction before;
    double on_top;
    int64_t busy_ns, paused_ns, at_ns, owed_ns;
} slowed;

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void set_timer(void)
{
    struct itimerspec once = {.it_value = {.tv_nsec = PERIOD_NS}};
    timer_settime(slowed.timer, 0, &once, NULL);
}

static void rest(int number)
{
    (void)number;
    int before = errno;
    int64_t busy = now_ns(CLOCK_THREAD_CPUTIME_ID) - slowed.at_ns;
    slowed.busy_ns += busy;
    slowed.owed_ns += (int64_t)(slowed.on_top * (double)busy);
    if (slowed.owed_ns > LEAST_NS) {
        int64_t began = now_ns(CLOCK_MONOTONIC);
        struct timespec t = {slowed.owed_ns / 1000000000, slowed.owed_ns % 1000000000};
        nanosleep(&t, NULL);
        int64_t slept = now_ns(CLOCK_MONOTONIC) - began;
        slowed.owed_ns -= slept;
        slowed.paused_ns += slept;
    }
    slowed.at_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
    set_timer();
    errno = before;
}

/* The calling thread takes `factor` times as long from now on. 0, or -1. */
int slow_begin(double factor)
{
    struct sigaction action = {.sa_handler = rest, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
    memset(&slowed, 0, sizeof slowed);
    slowed.on_top = factor - 1.0;
    slowed.at_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
    if (timer_create(CLOCK_MONOTONIC, &event, &slowed.timer) != 0)
        return -1;
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    sigaction(SIGRTMIN, &action, &slowed.before);
    set_timer();
    return 0;
}

/* After the thread has ended. Result: how many times as long it took. */
double slow_end(void)
{
    timer_delete(slowed.timer);
    sigaction(SIGRTMIN, &slowed.before, NULL);
    return 1.0 + (double)slowed.paused_ns / (double)(slowed.busy_ns > 0 ? slowed.busy_ns : 1);
}

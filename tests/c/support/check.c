/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/check.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_PRINTED = 20 };

static atomic_int failures;

/* Counts a failure; true while it is still worth a line. */
static int count_failure(void)
{
    return atomic_fetch_add_explicit(&failures, 1, memory_order_relaxed) < MOST_PRINTED;
}

void check_failed(const char *file, int line, const char *text)
{
    if (count_failure())
        fprintf(stderr, "%s:%d: check failed: %s\n", file, line, text);
}

void check_close(const char *file, int line, const char *text, double found, double expected,
                 double tolerance)
{
    if (fabs(found - expected) <= tolerance)
        return;
    if (count_failure())
        fprintf(stderr, "%s:%d: %s: found %.9g, expected %.9g within %.3g\n", file, line, text,
                found, expected, tolerance);
}

void check_broken(const char *file, int line, const char *text)
{
    fprintf(stderr, "%s:%d: the test cannot go on without: %s\n", file, line, text);
    exit(1);
}

void check_finish(void)
{
    int n = atomic_load_explicit(&failures, memory_order_relaxed);
    if (n > 0)
        fprintf(stderr, "%d checks failed\n", n);
    exit(n > 0);
}

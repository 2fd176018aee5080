/* SPDX-License-Identifier: BSD-3-Clause
 * What no training on sparse rows can beat: reading each row and computing its margin.
 *
 * Compiled by limits.py at run time, -O3 -march=native -ffast-math.
 */
#include <pthread.h>
#include <stdint.h>
#include <time.h>

enum { MOST = 64 };

typedef struct {
    const int32_t *starts, *columns;
    const float *values, *weights;
    long first, end;
    int passes;
    float sum; /* so that the loop is not removed */
} part_t;

static void *compute(void *arg)
{
    part_t *p = arg;
    float sum = 0;
    for (int pass = 0; pass < p->passes; pass++) {
        for (long row = p->first; row < p->end; row++) {
            float margin = 0;
            for (int32_t k = p->starts[row]; k < p->starts[row + 1]; k++) {
                margin += p->weights[p->columns[k]] * p->values[k];
            }
            sum += margin > 0 ? 1 : margin;
        }
    }
    p->sum = sum;
    return 0;
}

/* Seconds in which n_threads threads (1 to 64) compute the margins of all rows, an equal
 * part each, so many passes; -1: a thread could not be started. */
double margins_seconds(int n_threads, long n_rows, const int32_t *starts, const int32_t *columns,
                       const float *values, const float *weights, int passes)
{
    part_t parts[MOST];
    pthread_t threads[MOST];
    struct timespec a, b;
    int started = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (; started < n_threads; started++) {
        parts[started] = (part_t){.starts = starts,
                                  .columns = columns,
                                  .values = values,
                                  .weights = weights,
                                  .first = n_rows * started / n_threads,
                                  .end = n_rows * (started + 1) / n_threads,
                                  .passes = passes};
        if (pthread_create(&threads[started], 0, compute, &parts[started])) {
            break;
        }
    }
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], 0);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double seconds = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    return started < n_threads ? -1 : seconds;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * Bare updates of one vector by several workers, and what merges make of the parameters.
 *
 * Compiled by test_lock_free.py together with the core's modules: the steps and the
 * exchanges are the core's own, with rows, replicas and blocks as a stream has them.
 * Both functions return 0, or -1: a thread could not be started or pinned.
 */
#define _GNU_SOURCE
#include "base/ht_futex.h"
#include "model/ht_linear.h"
#include "share/ht_replica.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST = 16, ROWS_IN_FLIGHT = 4 };
enum way { IN_PLACE, EXACT, HOT, ALONE }; /* test_lock_free.py knows the numbers */

/* ---- memory ---- */

typedef struct {
    char *memory;
    size_t used;
} arena_t;

static const size_t ARENA = (size_t)1 << 29; /* only what is used is had */

static void *take(arena_t *arena, size_t nbytes)
{
    void *place = arena->memory + arena->used;
    arena->used += (nbytes + HT_LINE - 1) / HT_LINE * HT_LINE;
    if (arena->used > ARENA)
        abort();
    return place;
}

static arena_t open_arena(void)
{
    void *memory = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    madvise(memory, ARENA, MADV_HUGEPAGE);
    return (arena_t){memory, 0};
}

/* ---- workers with replicas ---- */

typedef struct {
    arena_t arena;
    ht_hot_t hot;
    ht_replica_t replicas[MOST];
} crew_t;

/* curvature: of n_hot coordinates; NULL: 0, with which a merge is the sum of changes. */
static void open_crew(crew_t *crew, int64_t n_hot, int n_workers, const float *curvature)
{
    crew->arena = open_arena();
    arena_t *arena = &crew->arena;
    int64_t n_blocks = (n_hot + HT_BLOCK_COORDINATES - 1) / HT_BLOCK_COORDINATES;
    size_t block = sizeof(float) * HT_BLOCK_COORDINATES;
    size_t nbytes = (size_t)n_blocks * block, counts = sizeof(uint64_t) * (size_t)n_blocks;
    float *curvatures = take(arena, nbytes);
    if (curvature != NULL)
        memcpy(curvatures, curvature, sizeof(float) * (size_t)n_hot);
    crew->hot = (ht_hot_t){
        .blocks = take(arena, sizeof(ht_block_t) * (size_t)n_blocks),
        .values = take(arena, nbytes),
        .curvature = curvatures,
        .n_coordinates = n_hot,
        .n_blocks = n_blocks,
        .merge = ht_optimizer_merge(HT_BASELINE, HT_SGD, 1),
        .stride = 1,
        .arrays = 1,
        .n_workers = (uint32_t)n_workers,
        .optimizer = HT_SGD,
    };
    for (int w = 0; w < n_workers; w++) {
        crew->replicas[w] = (ht_replica_t){
            .entries = take(arena, nbytes),
            .base = take(arena, nbytes),
            .redo = take(arena, block),
            .redo_rows = take(arena, sizeof(uint64_t)),
            .rows_at = take(arena, counts),
            .rows_seen = take(arena, counts),
            .owner = (uint32_t)w,
        };
        ht_replica_init(&crew->hot, &crew->replicas[w]);
    }
}

static void close_crew(crew_t *crew)
{
    munmap(crew->arena.memory, ARENA);
}

/* One pass over the blocks, each worker from a place of its own.  Returns how many were
 * busy. */
static int64_t exchange(const ht_hot_t *hot, ht_replica_t *replica, uint64_t rows_done, float rate)
{
    int64_t start = hot->n_blocks * replica->owner / hot->n_workers, busy = 0;
    for (int64_t i = 0; i < hot->n_blocks; i++) {
        int64_t block = (start + i) % hot->n_blocks;
        if (replica->rows_at[block] != rows_done)
            busy += ht_replica_exchange(hot, replica, block, rows_done, rate, NULL) != HT_OK;
    }
    return busy;
}

/* ---- updates: each element of a row adds 1 to its coordinate ---- */

typedef struct {
    const ht_rows_t *rows;
    int64_t first, last; /* rows of this worker */
    long passes, every;
    ht_view_t view;
    ht_step_fn_t step;
    const ht_hot_t *hot;
    ht_replica_t *replica; /* NULL: without */
    int core, failed, n_workers;
    _Atomic(int) *ready;
    uint64_t begin, end;
} worker_t;

static void enter(worker_t *self)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(self->core, &set);
    self->failed = sched_setaffinity(0, sizeof set, &set);
    atomic_fetch_add(self->ready, 1);
    while (atomic_load(self->ready) < self->n_workers)
        ;
}

static void *update(void *argument)
{
    worker_t *self = argument;
    const ht_step_t step = {.lr = 1.0f};
    float gradient[HT_GROUP_ROWS];
    int64_t ids[HT_GROUP_ROWS];
    for (int k = 0; k < HT_GROUP_ROWS; k++)
        gradient[k] = -1.0f;
    enter(self);
    self->begin = ht_now_ns();
    uint64_t done = 0, exchanged = 0;
    for (int64_t at = self->first, pass = 0; pass < self->passes;) {
        int n = self->last - at < ROWS_IN_FLIGHT ? (int)(self->last - at) : ROWS_IN_FLIGHT;
        for (int k = 0; k < n; k++)
            ids[k] = at + k;
        self->step(self->rows, ids, n, &self->view, gradient, &step);
        done += (uint64_t)n;
        if (self->replica != NULL && done - exchanged >= (uint64_t)self->every) {
            (void)exchange(self->hot, self->replica, done, step.lr);
            exchanged = done;
        }
        at += n;
        if (at == self->last) {
            at = self->first;
            pass++;
        }
    }
    while (self->replica != NULL && exchange(self->hot, self->replica, done, step.lr) > 0)
        sched_yield();
    self->end = ht_now_ns();
    return NULL;
}

static int run(worker_t *workers, int n)
{
    pthread_t threads[MOST];
    int started = 0, failed = 0;
    while (started < n && !pthread_create(&threads[started], NULL, update, &workers[started]))
        started++;
    if (started < n) /* who waits for the others must not wait for ever */
        atomic_fetch_add(workers->ready, n);
    for (int w = 0; w < started; w++) {
        pthread_join(threads[w], NULL);
        failed |= workers[w].failed;
    }
    return failed || started < n ? -1 : 0;
}

/* Runs `passes` over the rows, half of them for each of two workers.  `hot` holds for each
 * row how many leading elements are below n_hot; only HOT has replicas, of n_hot
 * coordinates, exchanged after `every` rows.  ALONE: each worker has a vector of its own.
 * *seconds from the first one's begin to the last one's end; *sum of all that was added. */
int updates(const int64_t *pointers, const int32_t *indices, const int32_t *hot, long n_rows,
            long n_features, long n_hot, enum way way, const int *cores, int n_workers, long passes,
            long every, double *seconds, double *sum)
{
    ht_rows_t rows = {
        .n_rows = n_rows,
        .n_features = n_features,
        .pointers = pointers,
        .indices = indices,
        .hot = way == HOT ? hot : NULL,
    };
    crew_t crew;
    _Alignas(HT_LINE) _Atomic(int) ready = 0;
    worker_t workers[MOST];
    float *vectors[MOST];
    open_crew(&crew, n_hot, n_workers, NULL);
    for (int w = 0; w < n_workers; w++) {
        vectors[w] = w > 0 && way != ALONE ? vectors[0]
                                           : take(&crew.arena, sizeof(float) * (size_t)n_features);
        workers[w] = (worker_t){
            .rows = &rows,
            .first = n_rows * w / n_workers,
            .last = n_rows * (w + 1) / n_workers,
            .passes = passes,
            .every = every,
            .view = {.hot = crew.replicas[w].entries, .cold = vectors[w], .outputs = 1},
            .step = way == EXACT ? ht_linear_step_exact(HT_SGD, 0)
                                 : ht_linear_kernels(HT_BASELINE, HT_SPARSE)->step_racy[HT_SGD][0],
            .hot = &crew.hot,
            .replica = way == HOT ? &crew.replicas[w] : NULL,
            .core = cores[w],
            .n_workers = n_workers,
            .ready = &ready,
        };
    }
    for (int w = 0; w < n_workers; w++) /* its pages are there before the clock runs */
        memset(vectors[w], 0, sizeof(float) * (size_t)n_features);
    int failed = run(workers, n_workers);
    uint64_t begin = workers[0].begin, end = workers[0].end;
    *sum = 0.0;
    for (int w = 0; w < n_workers; w++) {
        begin = workers[w].begin < begin ? workers[w].begin : begin;
        end = workers[w].end > end ? workers[w].end : end;
        for (long j = 0; j < n_features && (w == 0 || way == ALONE); j++)
            *sum += (double)vectors[w][j];
    }
    for (long j = 0; j < n_hot; j++)
        *sum += (double)crew.hot.values[j];
    *seconds = (double)(end - begin) * 1e-9;
    close_crew(&crew);
    return failed;
}

/* ---- merges: logistic regression by replicas that train at the same speed ---- */

/* In turn each of n_workers trains `every` rows of `order` (n_order rows, epochs one after
 * the other) on its replica of all parameters, with no view of the others; then each in turn
 * exchanges.  The rate falls from lr to 0.  curvature, parameters: of the intercept and then
 * the features; parameters go in and out. */
void merges(const int64_t *pointers, const int32_t *indices, const float *values,
            const float *targets, long n_rows, long n_features, const int64_t *order, long n_order,
            int n_workers, long every, float lr, const float *curvature, float *parameters)
{
    ht_rows_t rows = {
        .n_rows = n_rows,
        .n_features = n_features,
        .pointers = pointers,
        .indices = indices,
        .values = values,
        .targets = targets,
        .n_hot = n_features,
    };
    crew_t crew;
    ht_linear_t linear;
    ht_model_t *model;
    float z[HT_GROUP_ROWS], gradient[HT_GROUP_ROWS];
    open_crew(&crew, n_features + 1, n_workers, curvature);
    memcpy(crew.hot.values, parameters, sizeof(float) * (size_t)(n_features + 1));
    for (int w = 0; w < n_workers; w++)
        ht_replica_init(&crew.hot, &crew.replicas[w]);
    if (ht_linear_init(&linear, (ht_loss_t){.kind = HT_LOGISTIC}, 0) != HT_OK ||
        linear.model.for_steps(&linear.model, &rows, HT_SGD, 0, 0, HT_BASELINE, &model) != HT_OK)
        abort();
    uint64_t done[MOST] = {0};
    for (long at = 0; at < n_order;) {
        const ht_step_t step = {.lr = lr * (1.0f - (float)at / (float)n_order)};
        float curved[MOST] = {0}; /* the mean second derivative of the loss */
        for (int w = 0; w < n_workers; w++) {
            float *entries = crew.replicas[w].entries;
            const ht_view_t view = {.hot = entries + 1, .intercept = entries, .outputs = 1};
            long end = at + every < n_order ? at + every : n_order;
            done[w] += (uint64_t)(end - at);
            for (int n; at < end; at += n) {
                n = end - at < ROWS_IN_FLIGHT ? (int)(end - at) : ROWS_IN_FLIGHT;
                model->step(model, &rows, order + at, n, &view, &step, z, gradient);
                curved[w] += model->second(model, &rows, order + at, n, gradient) / (float)every;
            }
        }
        for (int w = 0; w < n_workers; w++)
            (void)exchange(&crew.hot, &crew.replicas[w], done[w], step.lr * curved[w]);
    }
    memcpy(parameters, crew.hot.values, sizeof(float) * (size_t)(n_features + 1));
    free(model);
    close_crew(&crew);
}

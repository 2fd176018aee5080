/* SPDX-License-Identifier: BSD-3-Clause
 * The bare round: an empty step, and merging a dense vector; beside it barriers and a triad.
 *
 * Compiled by test_round.py together with csrc/share/ht_round.c and what it needs.
 * Each function starts its threads, and returns seconds per step; negative: a
 * thread could not be started, or the result was wrong.
 */
#define _GNU_SOURCE
#include "base/ht_futex.h"
#include "share/ht_round.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST = 64, BLOCK = 4096 };
enum way { ROUND, PLAIN, TRIAD }; /* of merging; test_round.py knows the numbers */

typedef struct job job_t;

struct job {
    ht_round_t *round; /* NULL: without */
    uint32_t n_workers, n_steps;
    size_t n; /* floats of the vector */
    float *parameters, *sums[MOST], *redo[MOST];
    uint64_t done[MOST];   /* tasks of each worker, at the end */
    void (*meet)(job_t *); /* a barrier */
    pthread_barrier_t sleeping;
    _Alignas(HT_LINE) _Atomic(uint32_t) arrived;
    _Alignas(HT_LINE) _Atomic(uint32_t) turn;
};

typedef struct {
    _Alignas(HT_LINE) job_t *job;
    uint32_t number;
    uint64_t done; /* tasks */
} part_t;

/* Vectors of different `place` (0, 1, 2) do not begin at the same place of a page: their loads
 * and stores would be taken for the same ones. */
static float *map(size_t n, int place)
{
    size_t nbytes = (n * sizeof(float) + (4u << 20) - 1) & ~(((size_t)2 << 20) - 1);
    void *memory = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    madvise(memory, nbytes, MADV_HUGEPAGE);
    memset(memory, 0, nbytes);
    return (float *)((char *)memory + place * 9 * HT_LINE);
}

static void unmap(float *memory, size_t n)
{
    munmap((void *)((uintptr_t)memory & ~(uintptr_t)4095),
           (n * sizeof(float) + (4u << 20) - 1) & ~(((size_t)2 << 20) - 1));
}

/* ---- the round ---- */

static void merge(job_t *job, uint32_t worker, uint32_t block)
{
    size_t first = (size_t)block * BLOCK;
    size_t n = job->n - first < BLOCK ? job->n - first : BLOCK;
    float *restrict redo = job->redo[worker];
    memcpy(redo, job->sums[0] + first, n * sizeof *redo);
    for (uint32_t w = 1; w < job->n_workers; w++)
        for (size_t i = 0; i < n; i++)
            redo[i] += job->sums[w][first + i];
}

static void step(part_t *part, ht_round_self_t *self)
{
    job_t *job = part->job;
    uint32_t at, redo;
    while (self->phase == HT_WORK && ht_round_claim(self, &at) == HT_OK)
        if (ht_round_commit(self) == HT_OK)
            part->done += ht_round_added(self) == HT_OK;
    if (self->phase == HT_WORK) {
        (void)ht_round_finish_work(self);
        return;
    }
    while (ht_round_merge_next(self, &at, &redo) == HT_OK) {
        merge(job, self->worker, at);
        if (ht_round_merge_commit(self) != HT_OK)
            continue;
        size_t first = (size_t)at * BLOCK;
        size_t n = job->n - first < BLOCK ? job->n - first : BLOCK;
        memcpy(job->parameters + first, job->redo[self->worker], n * sizeof(float));
        ht_round_merge_done(self);
    }
    if (ht_round_is_merged(self))
        ht_round_advance(self, job->n_workers);
}

static void *work_round(void *argument)
{
    part_t *part = argument;
    ht_round_self_t self;
    ht_round_counts_t counts = {0};
    ht_round_self_init(&self, part->job->round, part->number, &counts);
    for (;;) {
        uint32_t bell = ht_round_bell(part->job->round);
        ht_round_enter(&self);
        if (self.step > part->job->n_steps)
            return NULL;
        uint32_t before = self.step;
        ht_phase_t phase = self.phase;
        step(part, &self);
        ht_round_enter(&self);
        if (self.step == before && self.phase == phase)
            (void)ht_round_await(&self, bell, 0, UINT64_MAX);
    }
}

/* ---- plain: each worker adds its stretch of all vectors, and writes it to all ---- */

static void meet_spinning(job_t *job)
{
    uint32_t turn = atomic_load(&job->turn);
    if (atomic_fetch_add(&job->arrived, 1u) == job->n_workers - 1) {
        atomic_store(&job->arrived, 0u);
        atomic_store(&job->turn, turn + 1);
        return;
    }
    for (int spins = 0; atomic_load(&job->turn) == turn; spins++)
        if (spins > 300)
            sched_yield();
}

static void meet_sleeping(job_t *job)
{
    pthread_barrier_wait(&job->sleeping);
}

/* Where the stretch of a worker begins; that of n_workers is the end. */
static size_t stretch(const job_t *job, uint32_t number)
{
    return number == job->n_workers ? job->n : job->n * number / job->n_workers / 16 * 16;
}

static void *work_plain(void *argument)
{
    part_t *part = argument;
    job_t *job = part->job;
    size_t first = stretch(job, part->number), last = stretch(job, part->number + 1);
    for (uint32_t s = 0; s < job->n_steps; s++) {
        job->meet(job);
        for (size_t at = first; at < last; at += BLOCK) {
            size_t n = last - at < BLOCK ? last - at : BLOCK;
            float *restrict to = job->sums[0] + at;
            for (uint32_t w = 1; w < job->n_workers; w++) {
                const float *restrict from = job->sums[w] + at;
                for (size_t i = 0; i < n; i++)
                    to[i] += from[i];
            }
            for (uint32_t w = 1; w < job->n_workers; w++)
                memcpy(job->sums[w] + at, to, n * sizeof *to);
        }
        job->meet(job);
    }
    return NULL;
}

/* ---- the memory's speed: a = b + s c, the bytes of a merge of two vectors ---- */

static void *work_triad(void *argument)
{
    part_t *part = argument;
    job_t *job = part->job;
    size_t first = stretch(job, part->number), n = stretch(job, part->number + 1) - first;
    float *restrict a = job->parameters + first;
    const float *restrict b = job->sums[0] + first, *restrict c = job->sums[1] + first;
    for (uint32_t s = 0; s < job->n_steps; s++) {
        float scale = (float)s;
        for (size_t i = 0; i < n; i++)
            a[i] = b[i] + scale * c[i];
        __asm__ volatile("" ::: "memory"); /* no step is left out */
    }
    return NULL;
}

/* ---- all of them ---- */

static double run(job_t *job, void *(*work)(void *))
{
    pthread_t threads[MOST];
    part_t parts[MOST];
    uint64_t begin = ht_now_ns();
    for (uint32_t w = 0; w < job->n_workers; w++) {
        parts[w] = (part_t){.job = job, .number = w};
        if (pthread_create(&threads[w], NULL, work, &parts[w]) != 0)
            return -1.0;
    }
    for (uint32_t w = 0; w < job->n_workers; w++) {
        pthread_join(threads[w], NULL);
        job->done[w] = parts[w].done;
    }
    return (double)(ht_now_ns() - begin) * 1e-9 / job->n_steps;
}

static double run_round(job_t *job, uint32_t n_blocks)
{
    size_t nbytes = ht_round_nbytes(job->n_workers, job->n_workers, n_blocks, 0);
    nbytes = (nbytes + HT_LINE - 1) / HT_LINE * HT_LINE;
    job->round = aligned_alloc(HT_LINE, nbytes);
    memset(job->round, 0, nbytes);
    double seconds = -1.0;
    if (ht_round_init(job->round, job->n_workers, job->n_workers, n_blocks, 0, job->n_workers) ==
        HT_OK)
        seconds = run(job, work_round);
    free(job->round);
    return seconds;
}

/* *busiest: the share of all tasks that the busiest worker did. */
double empty_round(int n_workers, int n_steps, double *busiest)
{
    job_t job = {.n_workers = (uint32_t)n_workers, .n_steps = (uint32_t)n_steps};
    double seconds = run_round(&job, 0);
    uint64_t most = 0, all = 0;
    for (int w = 0; w < n_workers; w++) {
        most = job.done[w] > most ? job.done[w] : most;
        all += job.done[w];
    }
    *busiest = (double)most / (double)all;
    return seconds;
}

double empty_barrier(int n_workers, int n_steps, int sleeps)
{
    job_t job = {.n_workers = (uint32_t)n_workers, .n_steps = (uint32_t)n_steps};
    job.meet = sleeps ? meet_sleeping : meet_spinning;
    if (pthread_barrier_init(&job.sleeping, NULL, job.n_workers) != 0)
        return -1.0;
    double seconds = run(&job, work_plain) / 2; /* two barriers a step */
    pthread_barrier_destroy(&job.sleeping);
    return seconds;
}

/* Whether the merged vector is the sum. */
static int is_merged(const job_t *job)
{
    float expected = (float)(job->n_workers * (job->n_workers + 1) / 2);
    for (size_t i = 0; i < job->n; i++)
        if (job->parameters[i] != expected)
            return 0;
    return 1;
}

double merge_dense(int n_workers, long n, int n_steps, enum way way)
{
    job_t job = {.n_workers = (uint32_t)n_workers, .n_steps = (uint32_t)n_steps, .n = (size_t)n};
    job.meet = meet_spinning;
    job.parameters = map(job.n, 2);
    for (int w = 0; w < n_workers; w++) {
        job.sums[w] = map(job.n, w % 2);
        job.redo[w] = map(BLOCK, 0);
        for (long i = 0; i < n && way == ROUND; i++)
            job.sums[w][i] = (float)(w + 1);
    }
    double seconds;
    if (way == ROUND) {
        seconds = run_round(&job, (uint32_t)((job.n + BLOCK - 1) / BLOCK));
        seconds = is_merged(&job) ? seconds : -1.0;
    } else {
        seconds = run(&job, way == PLAIN ? work_plain : work_triad);
    }
    for (int w = 0; w < n_workers; w++) {
        unmap(job.sums[w], job.n);
        unmap(job.redo[w], BLOCK);
    }
    unmap(job.parameters, job.n);
    return seconds;
}

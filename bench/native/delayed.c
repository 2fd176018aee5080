/* SPDX-License-Identifier: BSD-3-Clause
 * Training in which every update enters after `delay` others: a schedule, with real gradients.
 *
 * Compiled by test_compensation.py together with the core's modules: the steps and the exchanges
 * are the core's own.  delay + 1 replicas take turns in one thread.  In its turn a replica trains
 * one row on its view, exchanges, and so takes a new view, which is `delay` updates old in its next
 * turn.
 */
#include "math/ht_optimizer.h"
#include "model/ht_linear.h"
#include "share/ht_replica.h"

#include <stdlib.h>
#include <string.h>

/* As in ht_worker_merge.c: the mean that a worker keeps of the curvature of the loss; here it is
 * one for all, since each of thousands of replicas trains a few rows alone. */
#define CURVATURE_ROWS 256

typedef struct {
    const int64_t *pointers;
    const int32_t *indices;
    const float *values, *targets, *curvature; /* curvature: of the intercept, then the features */
    int64_t n_rows, n_features;
} data_t;

/* Memory for count numbers, each of nbytes: zeroed, whole cache lines. */
static void *take(size_t count, size_t nbytes)
{
    size_t all = (count * nbytes + HT_LINE - 1) / HT_LINE * HT_LINE;
    void *memory = aligned_alloc(HT_LINE, all);
    if (memory == NULL)
        abort();
    return memset(memory, 0, all);
}

static ht_hot_t open_hot(const data_t *data, ht_optimizer_t optimizer, float beta,
                         ht_weighing_t weighing)
{
    int64_t n_hot = data->n_features + 1;
    int64_t n_blocks = (n_hot + HT_BLOCK_COORDINATES - 1) / HT_BLOCK_COORDINATES;
    size_t padded = (size_t)n_blocks * HT_BLOCK_COORDINATES;
    int stride = ht_optimizer_stride(optimizer, 0), arrays = ht_optimizer_arrays(optimizer);
    float *curvature = take(padded, sizeof(float));
    memcpy(curvature, data->curvature, sizeof(float) * (size_t)n_hot);
    return (ht_hot_t){
        .blocks = take((size_t)n_blocks, sizeof(ht_block_t)),
        .values = take(padded * (size_t)arrays, sizeof(float)),
        .curvature = curvature,
        .l1_factor = take(padded, sizeof(float)), /* no penalty */
        .n_coordinates = n_hot,
        .n_blocks = n_blocks,
        .merge = ht_optimizer_merge(HT_BASELINE, optimizer, stride),
        .optimizer = optimizer,
        .step = {.beta = beta},
        .weighing = weighing,
        .stride = stride,
        .arrays = arrays,
    };
}

static ht_replica_t open_replica(const ht_hot_t *hot, uint32_t owner)
{
    size_t n_blocks = (size_t)hot->n_blocks, padded = n_blocks * HT_BLOCK_COORDINATES;
    ht_replica_t replica = {
        .entries = take(padded * (size_t)hot->stride, sizeof(float)),
        .base = take(padded * (size_t)hot->arrays, sizeof(float)),
        .redo = take(HT_BLOCK_COORDINATES * (size_t)hot->arrays, sizeof(float)),
        .redo_rows = take(1, sizeof(uint64_t)),
        .rows_at = take(n_blocks, sizeof(uint64_t)),
        .rows_seen = take(n_blocks, sizeof(uint64_t)),
        .owner = owner,
    };
    ht_replica_init(hot, &replica);
    return replica;
}

static void close_replica(ht_replica_t *replica)
{
    free(replica->entries);
    free(replica->base);
    free(replica->redo);
    free(replica->redo_rows);
    free(replica->rows_at);
    free(replica->rows_seen);
}

/* Trains the n_order rows of `order` from parameters of 0, with logistic loss.  The rate falls
 * linearly from lr to last_lr.  Writes the parameters: the intercept, then the features. */
void delayed(const int64_t *pointers, const int32_t *indices, const float *values,
             const float *targets, const float *curvature, long n_rows, long n_features,
             const int64_t *order, long n_order, long delay, int optimizer, int weighing, float lr,
             float last_lr, float beta, float *parameters)
{
    const data_t data = {pointers, indices, values, targets, curvature, n_rows, n_features};
    const ht_optimizer_t kind = (ht_optimizer_t)optimizer;
    const ht_rows_t rows = {
        .n_rows = n_rows,
        .n_features = n_features,
        .pointers = pointers,
        .indices = indices,
        .values = values,
        .targets = targets,
        .n_hot = n_features,
    };
    ht_hot_t hot = open_hot(&data, kind, beta, (ht_weighing_t)weighing);
    hot.step.lr = lr;
    hot.n_workers = (uint32_t)(delay + 1);
    ht_replica_t *replicas = take((size_t)delay + 1, sizeof *replicas);
    uint64_t *done = take((size_t)delay + 1, sizeof *done);
    for (long w = 0; w <= delay; w++)
        replicas[w] = open_replica(&hot, (uint32_t)w);
    ht_linear_t linear;
    ht_model_t *model;
    if (ht_linear_init(&linear, (ht_loss_t){.kind = HT_LOGISTIC}, 0) != HT_OK ||
        linear.model.for_steps(&linear.model, &rows, kind, 0, 0, HT_BASELINE, &model) != HT_OK)
        abort();
    float z[HT_GROUP_ROWS], gradient[HT_GROUP_ROWS], of_loss = model->curvature;
    for (long at = 0; at < n_order; at++) {
        long w = at % (delay + 1);
        ht_step_t step = {.beta = beta};
        step.lr = lr + (last_lr - lr) * ((float)at / (float)n_order);
        float *entries = replicas[w].entries;
        const ht_view_t view = {.hot = entries + hot.stride, .intercept = entries, .outputs = 1};
        model->step(model, &rows, order + at, 1, &view, &step, z, gradient);
        ht_second_fn_t *second = hot.weighing == HT_WEIGHTED ? model->second : model->steepest;
        float part = 1.0f / (at < CURVATURE_ROWS ? (float)(at + 1) : (float)CURVATURE_ROWS);
        of_loss += part * (second(model, &rows, order + at, 1, gradient) - of_loss);
        float rate = hot.weighing == HT_ADDED ? 0.0f : step.lr * of_loss;
        done[w]++;
        for (int64_t b = 0; b < hot.n_blocks; b++)
            if (ht_replica_exchange(&hot, &replicas[w], b, done[w], rate, NULL) != HT_OK)
                abort();
    }
    for (int64_t j = 0; j <= n_features; j++) {
        int64_t block = j / HT_BLOCK_COORDINATES, i = j % HT_BLOCK_COORDINATES;
        const float *first = hot.values + block * hot.arrays * HT_BLOCK_COORDINATES;
        parameters[j] =
            ht_optimizer_is_dual(kind)
                ? ht_optimizer_from_dual(first[i], first[HT_BLOCK_COORDINATES + i], &hot.step)
                : first[i];
    }
    for (long w = 0; w <= delay; w++)
        close_replica(&replicas[w]);
    free(replicas);
    free(done);
    free(hot.blocks);
    free(hot.values);
    free((void *)(uintptr_t)hot.curvature);
    free((void *)(uintptr_t)hot.l1_factor);
    free(model);
}

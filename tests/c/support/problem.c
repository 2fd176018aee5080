/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/problem.h"

#include <math.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/delay.h"

static void *allocate(int64_t n, size_t nbytes)
{
    void *memory = calloc((size_t)n + 1, nbytes);
    REQUIRE(memory != NULL);
    return memory;
}

/* n strictly increasing columns: equal strata of [0, 1), cubed so that low
 * columns are frequent. */
static void draw_columns(uint64_t *random, int64_t n, int64_t n_features, int32_t *indices)
{
    for (int64_t k = 0; k < n; k++) {
        double u = ((double)k + delay_uniform(random)) / (double)n;
        indices[k] = (int32_t)(k + (int64_t)((double)(n_features - n) * u * u * u));
    }
}

static float draw_target(uint64_t *random, const ht_rows_t *rows, int64_t r, const float *truth)
{
    double margin = 0.5 * (delay_uniform(random) - 0.5);
    for (int64_t i = rows->pointers[r]; i < rows->pointers[r + 1]; i++)
        margin += (double)truth[rows->indices[i]] *
                  (rows->values == NULL ? 1.0 : (double)rows->values[i]);
    return margin < 0.0 ? -1.0f : 1.0f;
}

void problem_open(problem_t *problem, uint64_t seed, int64_t n_rows, int64_t n_features,
                  int64_t longest, int has_values, int has_weights)
{
    uint64_t random = seed * 2 + 1;
    int64_t *pointers = allocate(n_rows + 1, sizeof *pointers);
    for (int64_t r = 0; r < n_rows; r++)
        pointers[r + 1] = pointers[r] + r % (longest + 1);
    int64_t n_elements = pointers[n_rows];
    int32_t *indices = allocate(n_elements, sizeof *indices);
    float *values = has_values ? allocate(n_elements, sizeof *values) : NULL;
    float *targets = allocate(n_rows, sizeof *targets);
    float *weights = has_weights ? allocate(n_rows, sizeof *weights) : NULL;
    float *truth = allocate(n_features, sizeof *truth);
    for (int64_t r = 0; r < n_rows; r++)
        draw_columns(&random, pointers[r + 1] - pointers[r], n_features, indices + pointers[r]);
    for (int64_t i = 0; has_values && i < n_elements; i++)
        values[i] = (float)(2.0 * delay_uniform(&random) - 1.0);
    for (int64_t r = 0; has_weights && r < n_rows; r++)
        weights[r] = (float)(0.5 + delay_uniform(&random));
    for (int64_t j = 0; j < n_features; j++)
        truth[j] = (float)(2.0 * delay_uniform(&random) - 1.0);
    *problem = (problem_t){
        .rows = {.n_rows = n_rows,
                 .n_features = n_features,
                 .pointers = pointers,
                 .indices = indices,
                 .values = values,
                 .targets = targets,
                 .weights = weights},
        .n_elements = n_elements,
        .pointers = pointers,
        .indices = indices,
        .values = values,
        .targets = targets,
        .weights = weights,
        .hot = allocate(n_rows, sizeof *problem->hot),
    };
    for (int64_t r = 0; r < n_rows; r++)
        targets[r] = draw_target(&random, &problem->rows, r, truth);
    free(truth);
}

void problem_open_dense(problem_t *problem, uint64_t seed, int64_t n_rows, int64_t n_features,
                        int has_weights)
{
    uint64_t random = seed * 2 + 1;
    int64_t n = n_rows * n_features;
    int64_t *pointers = allocate(n_rows + 1, sizeof *pointers);
    int32_t *indices = allocate(n, sizeof *indices);
    float *values = allocate(n, sizeof *values);
    float *targets = allocate(n_rows, sizeof *targets);
    float *weights = has_weights ? allocate(n_rows, sizeof *weights) : NULL;
    for (int64_t i = 0; i < n; i++) {
        float x = (float)(2.0 * delay_uniform(&random) - 1.0);
        indices[i] = (int32_t)(i % n_features);
        values[i] = i % n_features == 2 || delay_random(&random) % 6 == 0 ? 0.0f : x;
    }
    values[n] = (float)NAN; /* what reads beyond the end shows */
    for (int64_t r = 0; r < n_rows; r++) {
        pointers[r + 1] = pointers[r] + n_features;
        targets[r] = values[r * n_features] < 0.0f ? -1.0f : 1.0f;
        if (has_weights)
            weights[r] = (float)(0.5 + delay_uniform(&random));
    }
    *problem = (problem_t){
        .rows = {.n_rows = n_rows,
                 .n_features = n_features,
                 .values = values,
                 .targets = targets,
                 .weights = weights},
        .n_elements = n,
        .pointers = pointers,
        .indices = indices,
        .values = values,
        .targets = targets,
        .weights = weights,
        .hot = allocate(n_rows, sizeof *problem->hot),
    };
}

ht_rows_t problem_as_sparse(const problem_t *problem)
{
    ht_rows_t rows = problem->rows;
    rows.pointers = problem->pointers;
    rows.indices = problem->indices;
    return rows;
}

void problem_set_classes(problem_t *problem, int64_t classes)
{
    for (int64_t r = 0; r < problem->rows.n_rows; r++) {
        double sum = 0.5 * (double)r;
        for (int64_t i = problem->pointers[r]; i < problem->pointers[r + 1]; i++)
            sum += (double)(1 + problem->indices[i] % 7) *
                   (problem->values == NULL ? 1.0 : (double)problem->values[i]);
        problem->targets[r] = (float)((int64_t)fabs(sum) % classes);
    }
}

void problem_heat(problem_t *problem, int64_t n_hot)
{
    for (int64_t r = 0; r < problem->rows.n_rows; r++) {
        int64_t i = problem->pointers[r];
        while (i < problem->pointers[r + 1] && problem->indices[i] < n_hot)
            i++;
        problem->hot[r] = (int32_t)(i - problem->pointers[r]);
    }
    problem->rows.hot = problem->hot;
}

void problem_close(problem_t *problem)
{
    free(problem->pointers);
    free(problem->indices);
    free(problem->values);
    free(problem->targets);
    free(problem->weights);
    free(problem->hot);
}

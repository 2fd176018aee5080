/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/ht_atomic.h"
#include "model/ht_linear_kernels.h"
#include "model/ht_model.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"
#include "support/problem.h"

enum { N_ROWS = 142, LONGEST = 70, N_FEATURES = 300, N_COORDINATES = N_FEATURES + 1 };
enum { MOST_FLOATS = 4 * N_COORDINATES };

typedef struct {
    ht_optimizer_t optimizer;
    int has_penalty;
} layout_t;

static const layout_t layouts[] = {{HT_SGD, 0}, {HT_SGD, 1}, {HT_ADAGRAD, 0}, {HT_ADAGRAD, 1}};
enum { N_LAYOUTS = sizeof layouts / sizeof *layouts };

static const ht_step_t steps[] = {
    {.lr = 0.1f}, {.lr = 0.1f, .l2 = 0.05f}, {.lr = 0.1f, .l1 = 0.003f, .l2 = 0.05f}};
enum { N_STEPS = sizeof steps / sizeof *steps };

static const int64_t n_hots[] = {0, 1, 40, N_FEATURES};
enum { N_HOTS = sizeof n_hots / sizeof *n_hots };

/* Parameters in both places, and the view on them: coordinate 0 is the
 * intercept.  The place that a coordinate is not in holds NaN. */
typedef struct {
    float hot[MOST_FLOATS];
    float cold[MOST_FLOATS];
    ht_view_t view;
    int stride;
    int64_t n_hot; /* features */
} store_t;

static int stride_of(layout_t layout)
{
    return ht_optimizer_stride(layout.optimizer, layout.has_penalty);
}

static int has_penalty(const ht_step_t *step)
{
    return step->l1 != 0.0f || step->l2 != 0.0f;
}

static int is_hot(const store_t *store, int64_t coordinate)
{
    return store->n_hot > 0 && coordinate <= store->n_hot;
}

static void open_store(store_t *store, layout_t layout, int64_t n_hot, int has_intercept)
{
    uint64_t random = 91;
    int stride = store->stride = stride_of(layout);
    store->n_hot = n_hot;
    for (int64_t j = 0; j < N_COORDINATES; j++)
        for (int k = 0; k < stride; k++) {
            float value = (float)(2.0 * delay_uniform(&random) - 1.0);
            if (layout.optimizer == HT_ADAGRAD && k == 1)
                value = 0.5f + fabsf(value);
            if (layout.has_penalty && k == ht_optimizer_penalty_at(layout.optimizer))
                value = j == 0 ? 0.0f : 1.0f + 4.0f * fabsf(value);
            store->hot[stride * j + k] = is_hot(store, j) ? value : NAN;
            store->cold[stride * j + k] = is_hot(store, j) ? NAN : value;
        }
    store->view = (ht_view_t){.outputs = 1,
                              .hot = n_hot == 0 ? NULL : store->hot + stride,
                              .cold = n_hot == N_FEATURES ? NULL : store->cold + stride};
    if (has_intercept)
        store->view.intercept = n_hot > 0 ? store->hot : store->cold;
}

/* All coordinates, wherever they are. */
static void collect(const store_t *store, float *all)
{
    for (int64_t j = 0; j < N_COORDINATES; j++)
        for (int k = 0; k < store->stride; k++)
            all[store->stride * j + k] = is_hot(store, j) ? store->hot[store->stride * j + k]
                                                          : store->cold[store->stride * j + k];
}

static void heat(problem_t *problem, int64_t n_hot)
{
    problem->rows.hot = NULL; /* none or all: without a count for each row */
    problem->rows.n_hot = n_hot;
    if (n_hot > 0 && n_hot < N_FEATURES)
        problem_heat(problem, n_hot);
}

/* ---- dot -------------------------------------------------------------- */

/* Element k goes to lane k % 16, and halves are added. */
static float reference_dot(const problem_t *problem, int64_t row, const float *all, int stride,
                           int has_intercept)
{
    float lanes[HT_LANES] = {0};
    int64_t begin = problem->pointers[row];
    for (int64_t i = begin; i < problem->pointers[row + 1]; i++) {
        float w = all[stride * (problem->indices[i] + 1)];
        lanes[(i - begin) % HT_LANES] += problem->values == NULL ? w : w * problem->values[i];
    }
    for (int width = HT_LANES / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++)
            lanes[k] += lanes[k + width];
    return lanes[0] + (has_intercept ? all[0] : 0.0f);
}

static void check_dot(problem_t *problem, layout_t layout, int64_t n_hot, int has_intercept)
{
    static store_t store;
    static float all[MOST_FLOATS];
    open_store(&store, layout, n_hot, has_intercept);
    collect(&store, all);
    heat(problem, n_hot);
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
        const ht_linear_kernels_t *kernels = ht_linear_kernels(isa, HT_SPARSE);
        REQUIRE(kernels != NULL);
        for (int n = 1; n <= HT_GROUP_ROWS; n += 5)
            for (int64_t first = 0; first + n <= N_ROWS; first += n) {
                int64_t ids[HT_GROUP_ROWS];
                float z[HT_GROUP_ROWS];
                for (int k = 0; k < n; k++)
                    ids[k] = first + n - 1 - k;
                kernels->dot_racy[0](&problem->rows, ids, n, &store.view, store.stride, NULL, z);
                for (int k = 0; k < n; k++) {
                    float expected =
                        reference_dot(problem, ids[k], all, store.stride, has_intercept);
                    CHECK(memcmp(&z[k], &expected, sizeof expected) == 0);
                }
            }
    }
}

static void dots_are_the_same_bits_everywhere(problem_t *problem)
{
    for (int l = 0; l < N_LAYOUTS; l++)
        for (int h = 0; h < N_HOTS; h++)
            for (int has_intercept = 0; has_intercept < 2; has_intercept++)
                check_dot(problem, layouts[l], n_hots[h], has_intercept);
}

/* ---- step ------------------------------------------------------------- */

static float gradient_of_row(int64_t row)
{
    return (float)sin(1.0 + (double)row);
}

static void step_all_rows(const problem_t *problem, const store_t *store, ht_step_fn_t fn,
                          const ht_step_t *step)
{
    for (int64_t first = 0; first < N_ROWS; first += HT_GROUP_ROWS) {
        int64_t ids[HT_GROUP_ROWS];
        float gradient[HT_GROUP_ROWS];
        int n = N_ROWS - first < HT_GROUP_ROWS ? (int)(N_ROWS - first) : HT_GROUP_ROWS;
        for (int k = 0; k < n; k++) {
            ids[k] = first + k;
            gradient[k] = gradient_of_row(ids[k]);
        }
        fn(&problem->rows, ids, n, &store->view, gradient, step);
    }
}

/* The step of ht_optimizer.h on one coordinate, in double. */
static void reference_entry(double *entry, double x, double gradient, double weight,
                            const ht_step_t *step, layout_t layout)
{
    double d = gradient * x, size = step->lr;
    if (layout.optimizer == HT_ADAGRAD) {
        entry[1] += d * d;
        size = step->lr / (sqrt(entry[1]) + (double)HT_ROOT_EPS);
    }
    entry[0] -= size * d;
    if (!layout.has_penalty)
        return;
    double c = entry[ht_optimizer_penalty_at(layout.optimizer)];
    entry[0] /= 1.0 + size * weight * (double)step->l2 * c;
    double shrunk = fmax(0.0, fabs(entry[0]) - size * weight * (double)step->l1 * c);
    entry[0] = copysign(shrunk, entry[0]);
}

static void reference_steps(const problem_t *problem, double *all, const ht_step_t *step,
                            layout_t layout, int has_intercept)
{
    int stride = stride_of(layout);
    for (int64_t r = 0; r < N_ROWS; r++) {
        double gradient = gradient_of_row(r);
        double weight = problem->weights == NULL ? 1.0 : (double)problem->weights[r];
        for (int64_t i = problem->pointers[r]; i < problem->pointers[r + 1]; i++)
            reference_entry(all + stride * (problem->indices[i] + 1),
                            problem->values == NULL ? 1.0 : (double)problem->values[i], gradient,
                            weight, step, layout);
        ht_step_t slow = *step;
        slow.lr *= ht_optimizer_intercept_rate(layout.optimizer, 0);
        if (has_intercept)
            reference_entry(all, 1.0, gradient, weight, &slow, layout);
    }
}

static void check_step(problem_t *problem, layout_t layout, const ht_step_t *step,
                       int has_intercept)
{
    static store_t store;
    static float exact[MOST_FLOATS], found[MOST_FLOATS];
    static double reference[MOST_FLOATS];
    size_t n_floats = (size_t)stride_of(layout) * N_COORDINATES;
    heat(problem, 0);
    open_store(&store, layout, 0, has_intercept);
    for (size_t i = 0; i < n_floats; i++)
        reference[i] = store.cold[i];
    reference_steps(problem, reference, step, layout, has_intercept);
    step_all_rows(problem, &store, ht_linear_step_exact(layout.optimizer, layout.has_penalty),
                  step);
    collect(&store, exact);
    for (size_t i = 0; i < n_floats; i++)
        CHECK_CLOSE(exact[i], reference[i], 1e-5 * (1.0 + fabs(reference[i])));
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
        for (int h = 0; h < N_HOTS; h++) {
            ht_step_fn_t fn =
                ht_linear_kernels(isa, HT_SPARSE)->step_racy[layout.optimizer][layout.has_penalty];
            open_store(&store, layout, n_hots[h], has_intercept);
            heat(problem, n_hots[h]);
            step_all_rows(problem, &store, fn, step);
            collect(&store, found);
            CHECK(memcmp(found, exact, sizeof *found * n_floats) == 0);
        }
}

/* Folded into hot entries, the penalty has the same bits. */
static void check_folded_step(problem_t *problem, int64_t n_hot, int has_intercept)
{
    static store_t store;
    static float plain[MOST_FLOATS], folded[MOST_FLOATS], c[N_COORDINATES];
    const layout_t layout = {HT_SGD, 1};
    ht_step_t step = {.lr = 0.1f, .l2 = 0.05f};
    int stride = stride_of(layout), at = ht_optimizer_penalty_at(HT_SGD);
    heat(problem, n_hot);
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
        ht_step_fn_t fn = ht_linear_kernels(isa, HT_SPARSE)->step_racy[HT_SGD][1];
        open_store(&store, layout, n_hot, has_intercept);
        step.is_folded = 0;
        step_all_rows(problem, &store, fn, &step);
        collect(&store, plain);
        open_store(&store, layout, n_hot, has_intercept);
        for (int64_t j = 0; j < N_COORDINATES; j++)
            c[j] = store.hot[stride * j + at];
        ht_optimizer_fold(store.hot, c, n_hot + 1, 1, step.lr, step.l2);
        step.is_folded = 1;
        step_all_rows(problem, &store, fn, &step);
        collect(&store, folded);
        for (int64_t j = 0; j < N_COORDINATES; j++)
            CHECK(memcmp(&folded[stride * j], &plain[stride * j], sizeof *plain) == 0);
    }
}

static void a_folded_penalty_has_the_same_bits(problem_t *problem)
{
    for (int h = 1; h < N_HOTS; h++)
        for (int has_intercept = 0; has_intercept < 2; has_intercept++)
            check_folded_step(problem, n_hots[h], has_intercept);
}

static void steps_are_the_same_bits_everywhere(problem_t *problem)
{
    for (int l = 0; l < N_LAYOUTS; l++)
        for (int s = 0; s < N_STEPS; s++)
            for (int has_intercept = 0; has_intercept < 2; has_intercept++)
                if (layouts[l].has_penalty || !has_penalty(&steps[s]))
                    check_step(problem, layouts[l], &steps[s], has_intercept);
}

static void kernels_are_null_for_what_the_build_lacks(void)
{
    for (ht_shape_t shape = HT_SPARSE; shape < HT_SHAPE_COUNT; shape++) {
        CHECK(ht_linear_kernels(HT_BASELINE, shape) != NULL);
        CHECK(ht_linear_kernels(ht_vector_best_isa(), shape) != NULL);
        CHECK(ht_linear_kernels(HT_ISA_COUNT, shape) == NULL);
        CHECK(ht_linear_kernels((ht_isa_t)-1, shape) == NULL);
    }
}

/* ---- exact steps of several threads ----------------------------------- */

enum { N_THREADS = 4, N_PASSES = 300 };

typedef struct {
    const problem_t *problem;
    const store_t *store;
    ht_step_fn_t fn;
    float gradient; /* a small integer */
    ht_word32_t *go;
} part_t;

static void *step_exactly(void *argument)
{
    const part_t *part = argument;
    const ht_step_t step = {.lr = 1.0f};
    while (ht_load_relaxed(part->go) == 0)
        sched_yield();
    for (int pass = 0; pass < N_PASSES; pass++)
        for (int64_t row = 0; row < N_ROWS; row++)
            part->fn(&part->problem->rows, &row, 1, &part->store->view, &part->gradient, &step);
    return NULL;
}

/* Sums of small integers are exact in any order, so a lost update shows. */
static void exact_steps_of_threads_lose_nothing(problem_t *problem, ht_optimizer_t optimizer)
{
    static store_t store;
    part_t parts[N_THREADS];
    crew_t crew;
    ht_word32_t go = 0;
    /* SGD's rate on the intercept would make its sums inexact. */
    int has_intercept = optimizer == HT_ADAGRAD;
    double count[N_COORDINATES] = {has_intercept ? N_ROWS : 0.0};
    double sum = 0.0, sum_of_squares = 0.0;
    heat(problem, 0);
    open_store(&store, (layout_t){optimizer, 0}, 0, has_intercept);
    memset(store.cold, 0, sizeof store.cold);
    for (int t = 0; t < N_THREADS; t++) {
        float gradient = (float)(t + 1);
        ht_step_fn_t fn = ht_linear_step_exact(optimizer, 0);
        parts[t] = (part_t){problem, &store, fn, gradient, &go};
        sum += (double)gradient * N_PASSES;
        sum_of_squares += (double)gradient * (double)gradient * N_PASSES;
    }
    crew_start(&crew, N_THREADS, step_exactly, parts, sizeof *parts);
    ht_store_relaxed(&go, 1u); /* all at once, or they would not meet */
    crew_join(&crew);
    for (int64_t i = 0; i < problem->n_elements; i++)
        count[problem->indices[i] + 1] += 1.0;
    for (int64_t j = 0; j < N_COORDINATES; j++)
        if (optimizer == HT_SGD)
            CHECK((double)store.cold[j] == -sum * count[j]);
        else
            CHECK((double)store.cold[2 * j + 1] == sum_of_squares * count[j]);
}

int main(void)
{
    kernels_are_null_for_what_the_build_lacks();
    for (int has_values = 0; has_values < 2; has_values++)
        for (int has_weights = 0; has_weights < 2; has_weights++) {
            problem_t problem;
            problem_open(&problem, 41, N_ROWS, N_FEATURES, LONGEST, has_values, has_weights);
            dots_are_the_same_bits_everywhere(&problem);
            steps_are_the_same_bits_everywhere(&problem);
            if (!has_weights)
                a_folded_penalty_has_the_same_bits(&problem);
            if (!has_values) {
                exact_steps_of_threads_lose_nothing(&problem, HT_SGD);
                exact_steps_of_threads_lose_nothing(&problem, HT_ADAGRAD);
            }
            problem_close(&problem);
        }
    FINISH();
}

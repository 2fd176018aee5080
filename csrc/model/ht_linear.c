/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * A description has no kernels.  for_steps and for_sums copy it and choose the kernels once, by
 * shape of the rows, optimizer and instruction set, so that none of them is decided per row.  A
 * copy holds addresses of functions, which differ between processes; a segment holds the key.
 *
 * The lanes run over the elements of a row where there is one output, and over outputs where there
 * are several; so outputs are padded to whole lanes, and entries of a feature are neighbours.
 *
 * Softmax gets a row's loss with its gradient.  For one output the loops sum the losses of many
 * rows in a call of their own, from outputs that they keep.
 *
 * Margins take all features as hot, and the hot view is the caller's parameters: prediction runs
 * the kernels that training runs.
 *
 * Sums of dense rows are computed task by task, and those of sparse rows element by element: a
 * dense row touches every coordinate, so that rounding each of its elements would cost more than
 * the products do.
 *
 * Tests: tests/c/test_linear.c, test_linear_dense.c, test_linear_outputs.c, test_linear_kernels.c,
 * test_linear_sum.c.
 */
#include "model/ht_linear.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(HT_GROUP_ROWS == HT_LOSS_ROWS, "one call of the loss for one group");
_Static_assert(HT_LANES == 16, "outputs are padded to whole lanes");
_Static_assert(HT_GROUP_ROWS <= HT_SUM_ROWS, "one sum for one group");
_Static_assert(HT_GROUP_ROWS <= HT_FETCH_ROWS, "one fetch for one group");

static const ht_linear_t *linear_of(const ht_model_t *model)
{
    return (const ht_linear_t *)model; /* it begins with the model */
}

/* ---- the functions of a model ---------------------------------------------- */

static void outputs(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids, int n,
                    const ht_view_t *view, const ht_step_t *step, float *z)
{
    linear_of(model)->dot(rows, ids, n, view, model->stride, step, z);
}

static double gradient_of_classes(const ht_model_t *model, const ht_rows_t *rows,
                                  const int64_t *ids, int n, float lr, float *z, float *gradient)
{
    (void)lr; /* softmax has no minimum to pass */
    int64_t classes = linear_of(model)->classes;
    double loss = 0.0;
    for (int k = 0; k < n; k++) {
        float *g = gradient + k * model->n_outputs;
        int64_t target = (int64_t)rows->targets[ids[k]];
        double of_row = ht_softmax_gradient(classes, z + k * model->n_outputs, target, g);
        float weight = rows->weights == NULL ? 1.0f : rows->weights[ids[k]];
        for (int64_t o = 0; rows->weights != NULL && o < classes; o++)
            g[o] *= weight;
        loss += of_row * (double)weight;
    }
    return loss;
}

static double gradient_of_one(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids,
                              int n, float lr, float *z, float *gradient)
{
    float y[HT_GROUP_ROWS] = {0}, reach[HT_GROUP_ROWS];
    for (int k = n; k < HT_GROUP_ROWS; k++)
        z[k] = 0.0f;
    for (int k = 0; k < n; k++)
        y[k] = rows->targets[ids[k]];
    ht_loss_gradient(linear_of(model)->loss, n, z, y, gradient);
    for (int k = 0; rows->reach != NULL && k < n; k++)
        reach[k] = lr * rows->reach[ids[k]];
    if (rows->reach != NULL)
        ht_loss_bound(linear_of(model)->loss, n, z, y, reach, gradient);
    if (rows->weights != NULL)
        for (int k = 0; k < n; k++)
            gradient[k] *= rows->weights[ids[k]];
    return 0.0;
}

/* Where p is a probability, d loss / d z is p or p - 1, and the second derivative p (1 - p). */
HT_INLINE float sum_of_seconds(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids,
                               int n, const float *gradient, float most)
{
    int64_t classes = linear_of(model)->classes, n_outputs = classes == 0 ? 1 : classes;
    float sum = 0.0f;
    for (int k = 0; k < n; k++) {
        float weight = rows->weights == NULL ? 1.0f : rows->weights[ids[k]];
        for (int64_t o = 0; weight > 0.0f && o < n_outputs; o++) {
            float size = fabsf(gradient[k * model->n_outputs + o]) / weight;
            size = size < most ? size : most;
            sum += size * (1.0f - size);
        }
    }
    return sum / (float)n_outputs;
}

static float second_of_probabilities(const ht_model_t *model, const ht_rows_t *rows,
                                     const int64_t *ids, int n, const float *gradient)
{
    return sum_of_seconds(model, rows, ids, n, gradient, 1.0f);
}

/* It is largest where p is 1/2: on the way of every output whose gradient is more than that. */
static float steepest_of_probabilities(const ht_model_t *model, const ht_rows_t *rows,
                                       const int64_t *ids, int n, const float *gradient)
{
    return sum_of_seconds(model, rows, ids, n, gradient, 0.5f);
}

static double step_rows(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids, int n,
                        const ht_view_t *view, const ht_step_t *step, float *z, float *gradient)
{
    outputs(model, rows, ids, n, view, step, z);
    double loss = linear_of(model)->classes == 0
                      ? gradient_of_one(model, rows, ids, n, step->lr, z, gradient)
                      : gradient_of_classes(model, rows, ids, n, step->lr, z, gradient);
    linear_of(model)->update(rows, ids, n, view, gradient, step);
    return loss;
}

static void add(const ht_model_t *model, const ht_sums_t *sums, const ht_rows_t *rows,
                const int64_t *ids, int n, const float *gradient, int has_intercept,
                double inverse_unit, const double *scales)
{
    linear_of(model)->add(sums, rows, ids, n, gradient, model->n_outputs, has_intercept,
                          inverse_unit, scales);
}

static void sum(const ht_model_t *model, const ht_rows_t *rows, const int64_t *ids, int n,
                const float *gradient, int has_intercept, int is_first, float *total)
{
    linear_of(model)->sum(rows, ids, n, gradient, model->n_outputs, has_intercept, is_first, total);
}

static double loss_of_one(const ht_model_t *model, int64_t n, const float *z, const float *y,
                          const float *weight)
{
    return ht_loss_sum(linear_of(model)->loss, n, z, y, weight);
}

/* ---- making one -------------------------------------------------------------- */

static ht_err_t check(const ht_model_t *model, const ht_rows_t *rows)
{
    int64_t classes = linear_of(model)->classes;
    return classes == 0 ? HT_OK : ht_softmax_check(classes, rows->n_rows, rows->targets);
}

/* Returns the kernels for rows; NULL when the build or this machine lacks the instruction set. */
static const ht_linear_kernels_t *kernels_for(const ht_rows_t *rows, int64_t n_outputs,
                                              ht_isa_t isa)
{
    const ht_linear_kernels_t *kernels = ht_linear_kernels(isa, ht_linear_shape(rows, n_outputs));
    return ht_vector_has_isa(isa) ? kernels : NULL;
}

static ht_err_t allocate(const ht_linear_t *linear, ht_model_t **out)
{
    ht_linear_t *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return -ENOMEM;
    *copy = *linear;
    *out = &copy->model;
    return HT_OK;
}

static ht_err_t for_steps(const ht_model_t *model, const ht_rows_t *rows, ht_optimizer_t optimizer,
                          int has_shares, int is_exact, ht_isa_t isa, ht_model_t **out)
{
    const ht_linear_kernels_t *kernels = kernels_for(rows, model->n_outputs, isa);
    if (kernels == NULL || (ht_optimizer_is_dense(optimizer) && !ht_rows_is_dense(rows)))
        return HT_EINVAL;
    ht_linear_t linear = *linear_of(model);
    linear.dot = kernels->dot_racy[ht_optimizer_is_dual(optimizer)];
    linear.update = is_exact ? ht_linear_step_exact(optimizer, has_shares)
                             : kernels->step_racy[optimizer][has_shares != 0];
    linear.model.stride = ht_optimizer_stride(optimizer, has_shares);
    linear.model.step = step_rows;
    return linear.update == NULL ? HT_EINVAL : allocate(&linear, out);
}

static ht_err_t for_sums(const ht_model_t *model, const ht_rows_t *rows, int is_exact, ht_isa_t isa,
                         ht_model_t **out)
{
    const ht_linear_kernels_t *kernels = kernels_for(rows, model->n_outputs, isa);
    if (kernels == NULL)
        return HT_EINVAL;
    ht_linear_t linear = *linear_of(model);
    linear.dot = kernels->dot_racy[0];
    linear.model.stride = 1;
    if (ht_rows_is_dense(rows)) {
        linear.sum = ht_linear_sum(isa);
        linear.model.sum = sum;
    } else {
        linear.add = ht_linear_add(isa, is_exact);
        linear.model.add = add;
    }
    return allocate(&linear, out);
}

/* Returns the key of a model.  From the highest byte on, it holds the kinds of model and of loss,
 * the classes and the loss's parameter. */
static uint64_t key_of(ht_loss_t loss, int64_t classes)
{
    uint32_t parameter;
    memcpy(&parameter, &loss.parameter, sizeof parameter);
    return (uint64_t)HT_MODEL_LINEAR << 56 | (uint64_t)loss.kind << 48 | (uint64_t)classes << 32 |
           parameter;
}

ht_err_t ht_linear_init(ht_linear_t *linear, ht_loss_t loss, int64_t classes)
{
    if (!ht_loss_is_valid(loss) || !(classes == 0 || ht_softmax_is_valid(classes)))
        return HT_EINVAL;
    int has_probabilities = classes != 0 || loss.kind == HT_LOGISTIC;
    *linear = (ht_linear_t){
        .model = {.key = key_of(loss, classes),
                  .n_outputs = classes == 0 ? 1 : ht_softmax_outputs(classes),
                  .curvature = classes == 0 ? ht_loss_curvature(loss) : HT_SOFTMAX_CURVATURE,
                  .check = check,
                  .for_steps = for_steps,
                  .for_sums = for_sums,
                  .outputs = outputs,
                  .gradient = classes == 0 ? gradient_of_one : gradient_of_classes,
                  .second = has_probabilities ? second_of_probabilities : NULL,
                  .steepest = has_probabilities ? steepest_of_probabilities : NULL,
                  .loss = classes == 0 ? loss_of_one : NULL},
        .loss = loss,
        .classes = classes,
    };
    return HT_OK;
}

/* ---- margins ------------------------------------------------------------------- */

static int has_kernels_for(int64_t outputs)
{
    return outputs == 1 || (outputs >= HT_LANES && outputs % HT_LANES == 0 &&
                            outputs <= ht_softmax_outputs(HT_MOST_CLASSES));
}

ht_err_t ht_linear_margins(const ht_rows_t *rows, const float *parameters, int64_t outputs,
                           ht_isa_t isa, int64_t first, int64_t last, float *z)
{
    const ht_linear_kernels_t *kernels = kernels_for(rows, outputs, isa);
    if (kernels == NULL || !has_kernels_for(outputs) || first < 0 || last > rows->n_rows)
        return HT_EINVAL;
    ht_rows_t all_hot = *rows;
    all_hot.hot = NULL;
    all_hot.n_hot = rows->n_features;
    /* The kernel only reads through the view. */
    union {
        const float *in;
        float *out;
    } all = {parameters};
    ht_view_t view = {all.out + outputs, NULL, all.out, outputs, NULL};
    ht_fetched_t fetched;
    int is_mapped = ht_rows_is_mapped(rows);
    void *memory = is_mapped ? malloc(ht_fetched_nbytes(rows, HT_GROUP_ROWS)) : NULL;
    if (is_mapped && memory == NULL)
        return -ENOMEM;
    if (is_mapped)
        ht_fetched_open(&fetched, &all_hot, HT_GROUP_ROWS, memory);
    ht_err_t err = HT_OK;
    int64_t ids[HT_GROUP_ROWS];
    for (int64_t i = first; err == HT_OK && i < last; i += HT_GROUP_ROWS) {
        int n = last - i < HT_GROUP_ROWS ? (int)(last - i) : HT_GROUP_ROWS;
        for (int k = 0; k < n; k++)
            ids[k] = i + k;
        if (is_mapped)
            err = ht_rows_fetch(&all_hot, ids, n, &fetched);
        if (err == HT_OK)
            kernels->dot_racy[0](is_mapped ? &fetched.rows : &all_hot,
                                 is_mapped ? ht_fetched_ids : ids, n, &view, 1, NULL,
                                 z + (i - first) * outputs);
    }
    free(memory);
    return err;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/ht_linear.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert(HT_GROUP_ROWS == HT_LOSS_ROWS, "one call of the loss for one group");
_Static_assert(HT_LANES == 16, "outputs are padded to whole lanes");
_Static_assert(HT_GROUP_ROWS <= HT_FETCH_ROWS, "one fetch for one group");

static int has_kernels_for(int64_t outputs)
{
    return outputs == 1 || (outputs >= HT_LANES && outputs % HT_LANES == 0 &&
                            outputs <= ht_softmax_outputs(HT_MOST_CLASSES));
}

ht_err_t ht_linear_init_outputs(ht_linear_t *linear, const ht_rows_t *rows, ht_loss_t loss,
                                int64_t classes, ht_isa_t isa)
{
    int64_t outputs = classes == 0 ? 1 : ht_softmax_outputs(classes);
    const ht_linear_kernels_t *kernels = ht_linear_kernels(isa, ht_linear_shape(rows, outputs));
    if (kernels == NULL || !ht_vector_has_isa(isa) ||
        !(classes == 0 || ht_softmax_is_valid(classes)))
        return HT_EINVAL;
    *linear = (ht_linear_t){
        .rows = *rows,
        .loss = loss,
        .classes = classes,
        .outputs = outputs,
        .dot = kernels->dot_racy[0],
        .stride = 1,
    };
    return HT_OK;
}

ht_err_t ht_linear_init(ht_linear_t *linear, const ht_rows_t *rows, ht_loss_t loss, int64_t classes,
                        ht_optimizer_t optimizer, int has_shares, int exact, ht_isa_t isa)
{
    if (ht_linear_init_outputs(linear, rows, loss, classes, isa) != HT_OK ||
        (ht_optimizer_is_dense(optimizer) && !ht_rows_is_dense(rows)))
        return HT_EINVAL;
    const ht_linear_kernels_t *kernels =
        ht_linear_kernels(isa, ht_linear_shape(rows, linear->outputs));
    linear->dot = kernels->dot_racy[ht_optimizer_is_dual(optimizer)];
    linear->step = exact ? ht_linear_step_exact(optimizer, has_shares)
                         : kernels->step_racy[optimizer][has_shares != 0];
    linear->stride = ht_optimizer_stride(optimizer, has_shares);
    return linear->step == NULL ? HT_EINVAL : HT_OK;
}

static double softmax_gradient(const ht_linear_t *linear, const int64_t *ids, int n, const float *z,
                               float *gradient)
{
    double loss = 0.0;
    for (int k = 0; k < n; k++) {
        float *g = gradient + k * linear->outputs;
        int64_t target = (int64_t)linear->rows.targets[ids[k]];
        double of_row = ht_softmax_gradient(linear->classes, z + k * linear->outputs, target, g);
        float weight = linear->rows.weights == NULL ? 1.0f : linear->rows.weights[ids[k]];
        for (int64_t o = 0; linear->rows.weights != NULL && o < linear->classes; o++)
            g[o] *= weight;
        loss += of_row * (double)weight;
    }
    return loss;
}

double ht_linear_gradient(const ht_linear_t *linear, const int64_t *ids, int n, float *z,
                          float *gradient)
{
    if (linear->classes != 0)
        return softmax_gradient(linear, ids, n, z, gradient);
    float y[HT_GROUP_ROWS] = {0};
    for (int k = n; k < HT_GROUP_ROWS; k++)
        z[k] = 0.0f;
    for (int k = 0; k < n; k++)
        y[k] = linear->rows.targets[ids[k]];
    ht_loss_gradient(linear->loss, n, z, y, gradient);
    if (linear->rows.weights != NULL)
        for (int k = 0; k < n; k++)
            gradient[k] *= linear->rows.weights[ids[k]];
    return 0.0;
}

double ht_linear_step(const ht_linear_t *linear, const int64_t *ids, int n, const ht_view_t *view,
                      const ht_step_t *step, float *z, float *gradient)
{
    linear->dot(&linear->rows, ids, n, view, linear->stride, step, z);
    double loss = ht_linear_gradient(linear, ids, n, z, gradient);
    linear->step(&linear->rows, ids, n, view, gradient, step);
    return loss;
}

ht_err_t ht_linear_margins(const ht_rows_t *rows, const float *parameters, int64_t outputs,
                           ht_isa_t isa, int64_t first, int64_t last, float *z)
{
    const ht_linear_kernels_t *kernels = ht_linear_kernels(isa, ht_linear_shape(rows, outputs));
    if (kernels == NULL || !ht_vector_has_isa(isa) || !has_kernels_for(outputs) || first < 0 ||
        last > rows->n_rows)
        return HT_EINVAL;
    ht_rows_t all_hot = *rows;
    all_hot.hot = NULL;
    all_hot.n_hot = rows->n_features;
    /* The kernel only reads through the view. */
    union {
        const float *in;
        float *out;
    } all = {parameters};
    ht_view_t view = {all.out + outputs, NULL, all.out, outputs};
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

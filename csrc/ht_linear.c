/* SPDX-License-Identifier: BSD-3-Clause */
#include "ht_linear.h"

_Static_assert(HT_GROUP_ROWS == HT_LOSS_ROWS, "one call of the loss for one group");

ht_err_t ht_linear_init(ht_linear_t *linear, const ht_rows_t *rows, ht_loss_t loss,
                        ht_optimizer_t optimizer, int has_penalty, int exact, ht_isa_t isa)
{
    const ht_hogwild_kernels_t *kernels = ht_hogwild_kernels(isa);
    if (kernels == NULL)
        return HT_EINVAL;
    linear->rows = *rows;
    linear->loss = loss;
    linear->dot = kernels->dot_racy;
    linear->step = exact ? ht_hogwild_step_exact(optimizer, has_penalty)
                         : kernels->step_racy[optimizer][has_penalty != 0];
    linear->stride = ht_optimizer_stride(optimizer, has_penalty);
    return HT_OK;
}

void ht_linear_step(const ht_linear_t *linear, const int64_t *ids, int n, const ht_view_t *view,
                    const ht_step_t *step, float *z)
{
    float y[HT_GROUP_ROWS] = {0}, gradient[HT_GROUP_ROWS];
    for (int k = n; k < HT_GROUP_ROWS; k++)
        z[k] = 0.0f;
    linear->dot(&linear->rows, ids, n, view, linear->stride, z);
    for (int k = 0; k < n; k++)
        y[k] = linear->rows.targets[ids[k]];
    ht_loss_gradient(linear->loss, n, z, y, gradient);
    if (linear->rows.weights != NULL)
        for (int k = 0; k < n; k++)
            gradient[k] *= linear->rows.weights[ids[k]];
    linear->step(&linear->rows, ids, n, view, gradient, step);
}

ht_err_t ht_linear_margins(const ht_rows_t *rows, const float *coef, float intercept, ht_isa_t isa,
                           int64_t first, int64_t last, float *z)
{
    const ht_hogwild_kernels_t *kernels = ht_hogwild_kernels(isa);
    if (kernels == NULL)
        return HT_EINVAL;
    ht_rows_t all_hot = *rows;
    all_hot.hot = NULL;
    all_hot.n_hot = 1;
    /* The kernel only reads through the view. */
    union {
        const float *in;
        float *out;
    } parameters = {coef};
    ht_view_t view = {parameters.out, NULL, &intercept};
    int64_t ids[HT_GROUP_ROWS];
    for (int64_t i = first; i < last; i += HT_GROUP_ROWS) {
        int n = last - i < HT_GROUP_ROWS ? (int)(last - i) : HT_GROUP_ROWS;
        for (int k = 0; k < n; k++)
            ids[k] = i + k;
        kernels->dot_racy(&all_hot, ids, n, &view, 1, z + (i - first));
    }
    return HT_OK;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "math/ht_softmax.h"

#include <math.h>
#include <string.h>

#include "base/ht_vector.h"

typedef float f32x4_t __attribute__((vector_size(16)));
typedef int32_t i32x4_t __attribute__((vector_size(16)));

HT_DEFINE_EXP(exp4, f32x4_t, i32x4_t)

/* Writes exp(z - largest), 0 for padding, to the first `room` values of e, at most the
 * outputs; returns their sum, four partial sums in the order of the outputs. */
HT_INLINE float exponentials(int64_t classes, const float *z, float *e, int64_t room,
                             float *largest)
{
    *largest = z[0];
    for (int64_t k = 1; k < classes; k++)
        *largest = z[k] > *largest ? z[k] : *largest;
    f32x4_t sum = {0};
    for (int64_t k = 0; k < ht_softmax_outputs(classes); k += 4) {
        f32x4_t v;
        memcpy(&v, z + k, sizeof v);
        v = exp4(v - *largest);
        for (int i = 0; i < 4; i++)
            v[i] = k + i < classes ? v[i] : 0.0f;
        sum += v;
        if (k + 4 <= room)
            memcpy(e + k, &v, sizeof v);
        else if (k < room)
            memcpy(e + k, &v, sizeof *e * (size_t)(room - k));
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static double loss_of(const float *z, int64_t target, float sum, float largest, int is_finite)
{
    return is_finite ? log((double)sum) + ((double)largest - (double)z[target]) : (double)NAN;
}

ht_err_t ht_softmax_check(int64_t classes, int64_t n, const float *targets)
{
    if (!ht_softmax_is_valid(classes))
        return HT_EINVAL;
    int bad = 0;
    for (int64_t i = 0; i < n; i++) {
        float target = targets[i];
        /* The range first: the conversion of a value outside of it is undefined. */
        bad |= !(target >= 0.0f && target < (float)classes) || (float)(int32_t)target != target;
    }
    return bad ? HT_EINVAL : HT_OK;
}

double ht_softmax_gradient(int64_t classes, const float *z, int64_t target, float *gradient)
{
    float largest;
    float sum = exponentials(classes, z, gradient, ht_softmax_outputs(classes), &largest);
    float inverse = 1.0f / sum;
    int is_finite = 1;
    for (int64_t k = 0; k < classes; k++) { /* padding stays 0, also where the sum is NaN */
        gradient[k] *= inverse;
        is_finite &= isfinite(z[k]) != 0;
    }
    if (target < 0 || target >= classes)
        return (double)NAN;
    gradient[target] -= 1.0f;
    return loss_of(z, target, sum, largest, is_finite);
}

ht_err_t ht_softmax_sum(int64_t classes, int64_t n, const float *z, const float *targets,
                        const float *weight, double *sum)
{
    if (ht_softmax_check(classes, n, targets) != HT_OK)
        return HT_EINVAL;
    double total = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const float *row = z + i * ht_softmax_outputs(classes);
        float largest, of_row = exponentials(classes, row, NULL, 0, &largest);
        int is_finite = 1;
        for (int64_t k = 0; k < classes; k++)
            is_finite &= isfinite(row[k]) != 0;
        total += loss_of(row, (int64_t)targets[i], of_row, largest, is_finite) *
                 (weight == NULL ? 1.0 : (double)weight[i]);
    }
    *sum = total;
    return HT_OK;
}

ht_err_t ht_softmax_proba(int64_t classes, int64_t n, const float *z, float *p)
{
    if (!ht_softmax_is_valid(classes))
        return HT_EINVAL;
    for (int64_t i = 0; i < n; i++) {
        float *row = p + i * classes, largest;
        float sum =
            exponentials(classes, z + i * ht_softmax_outputs(classes), row, classes, &largest);
        for (int64_t k = 0; k < classes; k++)
            row[k] /= sum;
    }
    return HT_OK;
}

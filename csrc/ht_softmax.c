/* SPDX-License-Identifier: BSD-3-Clause */
#include "ht_softmax.h"

#include <math.h>
#include <string.h>

#include "ht_vector.h"

typedef float f32x4_t __attribute__((vector_size(16)));
typedef int32_t i32x4_t __attribute__((vector_size(16)));

HT_DEFINE_EXP(exp4, f32x4_t, i32x4_t)

/* exp(z - largest) for all outputs, 0 for padding; returns their sum, four partial
 * sums in the order of the outputs. */
static float exponentials(int64_t classes, const float *z, float *e, float *largest)
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
        memcpy(e + k, &v, sizeof v);
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

double ht_softmax_gradient(int64_t classes, const float *z, int64_t target, float *gradient)
{
    float largest;
    float sum = exponentials(classes, z, gradient, &largest);
    float inverse = 1.0f / sum;
    int is_finite = 1;
    for (int64_t k = 0; k < classes; k++) { /* beyond, 0 stays 0 where the sum is NaN */
        gradient[k] *= inverse;
        is_finite &= isfinite(z[k]) != 0;
    }
    gradient[target] -= 1.0f;
    return is_finite ? log((double)sum) + ((double)largest - (double)z[target]) : (double)NAN;
}

void ht_softmax_proba(int64_t classes, int64_t n, const float *z, float *p)
{
    float e[HT_MOST_CLASSES], largest;
    for (int64_t i = 0; i < n; i++) {
        float sum = exponentials(classes, z + i * ht_softmax_outputs(classes), e, &largest);
        for (int64_t k = 0; k < classes; k++)
            p[i * classes + k] = e[k] / sum;
    }
}

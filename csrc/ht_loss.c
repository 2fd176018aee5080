/* SPDX-License-Identifier: BSD-3-Clause */
#include "ht_loss.h"

#include <math.h>
#include <string.h>

#include "ht_vector.h"

/* Four lanes: the group size of the stream loop, and one SSE register. */
typedef float f32x4_t __attribute__((vector_size(16)));
typedef int32_t i32x4_t __attribute__((vector_size(16)));

HT_INLINE f32x4_t load4(const float *p)
{
    f32x4_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

HT_INLINE f32x4_t select4(i32x4_t mask, f32x4_t yes, f32x4_t no)
{
    return (f32x4_t)((mask & (i32x4_t)yes) | (~mask & (i32x4_t)no));
}

HT_DEFINE_EXP(exp4, f32x4_t, i32x4_t)

float ht_loss_curvature(ht_loss_t loss)
{
    return loss == HT_LOGISTIC ? 0.25f : 1.0f;
}

void ht_loss_gradient(ht_loss_t loss, int n, const float *z, const float *y, float *gradient)
{
    for (int i = 0; i < n; i += 4) {
        f32x4_t zi = load4(z + i);
        f32x4_t yi = load4(y + i);
        f32x4_t g = loss == HT_LOGISTIC ? -yi / (exp4(yi * zi) + 1.0f) : zi - yi;
        memcpy(gradient + i, &g, sizeof g);
    }
}

/* Rows whose factors are multiplied before one logarithm is taken: each is at
 * most 2, so that the product of a lane stays below 2^64. */
enum { SUM_ROWS = 256 };

/* log(1 + exp(-m)) = max(-m, 0) + log(1 + exp(-|m|)): the first parts are added
 * up, the factors 1 + exp(-|m|) multiplied. */
static double sum_logistic(int n, const float *z, const float *y)
{
    f32x4_t sum = {0}, product = {1, 1, 1, 1};
    for (int i = 0; i < n; i += 4) {
        f32x4_t m = load4(y + i) * load4(z + i);
        f32x4_t magnitude = select4(m < 0.0f, -m, m);
        sum += (magnitude - m) * 0.5f; /* NaN when m is NaN or infinite */
        product *= exp4(-magnitude) + 1.0f;
    }
    double total = 0.0;
    for (int k = 0; k < 4; k++)
        total += (double)sum[k] + log((double)product[k]);
    return total;
}

static double sum_squared(int n, const float *z, const float *y)
{
    f32x4_t sum = {0};
    for (int i = 0; i < n; i += 4) {
        f32x4_t residual = load4(z + i) - load4(y + i);
        sum += residual * residual * 0.5f;
    }
    return (double)sum[0] + (double)sum[1] + (double)sum[2] + (double)sum[3];
}

static double value(ht_loss_t loss, double z, double y)
{
    if (loss == HT_SQUARED)
        return (z - y) * (z - y) * 0.5;
    double m = y * z;
    return (fabs(m) - m) * 0.5 + log1p(exp(-fabs(m)));
}

double ht_loss_sum(ht_loss_t loss, int64_t n, const float *z, const float *y, const float *weight)
{
    double total = 0.0;
    int64_t i = 0;
    if (weight == NULL)
        for (; n - i >= 4;) {
            int m = n - i < SUM_ROWS ? (int)(n - i) & ~3 : SUM_ROWS;
            total +=
                loss == HT_LOGISTIC ? sum_logistic(m, z + i, y + i) : sum_squared(m, z + i, y + i);
            i += m;
        }
    for (; i < n; i++)
        total +=
            value(loss, (double)z[i], (double)y[i]) * (weight == NULL ? 1.0 : (double)weight[i]);
    return total;
}

void ht_loss_sigmoid(int64_t n, const float *z, float *p)
{
    for (int64_t i = 0; i < n; i += 4) {
        int m = n - i < 4 ? (int)(n - i) : 4;
        float zi[4] = {0};
        memcpy(zi, z + i, sizeof(float) * (size_t)m);
        f32x4_t v = (f32x4_t){1, 1, 1, 1} / (exp4(-load4(zi)) + 1.0f);
        memcpy(p + i, &v, sizeof(float) * (size_t)m);
    }
}

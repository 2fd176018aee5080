/* SPDX-License-Identifier: BSD-3-Clause */
#include "ht_loss.h"

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

/* log(t) for t in [1, 2]; coefficients of the Cephes library. */
HT_INLINE f32x4_t log4(f32x4_t t)
{
    const f32x4_t root2 = {1.41421356f, 1.41421356f, 1.41421356f, 1.41421356f};
    i32x4_t high = t > root2;
    f32x4_t e = select4(high, (f32x4_t){1, 1, 1, 1}, (f32x4_t){0, 0, 0, 0});
    f32x4_t x = select4(high, t * 0.5f, t) - 1.0f;
    f32x4_t z = x * x;
    f32x4_t p = x * 7.0376836292e-2f + -1.1514610310e-1f;
    p = p * x + 1.1676998740e-1f;
    p = p * x + -1.2420140846e-1f;
    p = p * x + 1.4249322787e-1f;
    p = p * x + -1.6668057665e-1f;
    p = p * x + 2.0000714765e-1f;
    p = p * x + -2.4999993993e-1f;
    p = p * x + 3.3333331174e-1f;
    return x * z * p - 0.5f * z + x + e * 0.693147180f;
}

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

HT_INLINE f32x4_t value4(ht_loss_t loss, f32x4_t z, f32x4_t y)
{
    if (loss == HT_SQUARED)
        return (z - y) * (z - y) * 0.5f;
    /* log(1 + exp(-m)) = max(-m, 0) + log(1 + exp(-|m|)) */
    f32x4_t m = y * z;
    f32x4_t negative = select4(m < 0.0f, -m, m * 0.0f);
    f32x4_t magnitude = select4(m < 0.0f, -m, m);
    return negative + log4(exp4(-magnitude) + 1.0f);
}

/* The lanes of up to SUM_ROWS rows are added in float32, the rest in double. */
enum { SUM_ROWS = 256 };

static double sum_rows(ht_loss_t loss, int n, const float *z, const float *y, const float *weight)
{
    f32x4_t sum = {0};
    int whole = n & ~3;
    for (int i = 0; i < whole; i += 4) {
        f32x4_t v = value4(loss, load4(z + i), load4(y + i));
        sum += weight == NULL ? v : v * load4(weight + i);
    }
    double total = (double)sum[0] + (double)sum[1] + (double)sum[2] + (double)sum[3];
    for (int i = whole; i < n; i++) {
        f32x4_t v = value4(loss, (f32x4_t){z[i]}, (f32x4_t){y[i]});
        total += (double)v[0] * (weight == NULL ? 1.0 : (double)weight[i]);
    }
    return total;
}

double ht_loss_sum(ht_loss_t loss, int64_t n, const float *z, const float *y, const float *weight)
{
    double total = 0.0;
    for (int64_t i = 0; i < n; i += SUM_ROWS) {
        int m = n - i < SUM_ROWS ? (int)(n - i) : SUM_ROWS;
        total += sum_rows(loss, m, z + i, y + i, weight == NULL ? NULL : weight + i);
    }
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

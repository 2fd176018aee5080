/* SPDX-License-Identifier: BSD-3-Clause */
#include "math/ht_loss.h"

#include <math.h>
#include <string.h>

#include "base/ht_vector.h"

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

const char *ht_loss_name(ht_loss_kind_t kind)
{
#define NAME_OF(kind, name) [kind] = name,
    static const char *const names[] = {HT_LOSSES(NAME_OF)};
#undef NAME_OF
    /* As an integer: the compiler may take the enumeration for unsigned, or not. */
    int number = (int)kind;
    return number >= 0 && number < HT_LOSS_COUNT ? names[number] : NULL;
}

int ht_loss_is_valid(ht_loss_t loss)
{
    if (loss.kind == HT_QUANTILE)
        return loss.parameter > 0.0f && loss.parameter < 1.0f;
    return ht_loss_name(loss.kind) != NULL &&
           (loss.kind != HT_HUBER || (loss.parameter > 0.0f && isfinite(loss.parameter)));
}

float ht_loss_curvature(ht_loss_t loss)
{
    switch (loss.kind) {
    case HT_LOGISTIC:
        return 0.25f;
    case HT_SQUARED_HINGE:
        return 2.0f;
    /* Hinge has no second derivative, but its gradient changes by 1 at the corner.
     * Steps and merges need the rate at which a margin's gradient falls: a fall of 1
     * over a change of 1 of the margin, the way from 0 to the corner.  The gradient of
     * quantile changes by 1 as well, over a change of z that depends on the targets; the second
     * derivative of poisson depends on the targets likewise.  The caller multiplies by the
     * factor of its targets. */
    case HT_HINGE:
    default:
        return 1.0f;
    }
}

/* Returns -y where the margin is below the corner, else 0.  NaN, as the loss is, for a margin that
 * is NaN or +infinity. */
HT_INLINE f32x4_t gradient_hinge(f32x4_t z, f32x4_t y)
{
    f32x4_t m = y * z;
    return select4(m < 1.0f, -y, m - m);
}

HT_INLINE f32x4_t gradient_squared_hinge(f32x4_t z, f32x4_t y)
{
    f32x4_t m = y * z;
    return select4(m < 1.0f, -2.0f * y * (1.0f - m), m - m);
}

HT_INLINE f32x4_t gradient_huber(f32x4_t z, f32x4_t y, float delta)
{
    f32x4_t most = (f32x4_t){0} + delta, r = z - y;
    r = select4(r > most, most, r); /* NaN stays */
    return select4(r < -most, -most, r);
}

HT_INLINE f32x4_t gradient_quantile(f32x4_t z, f32x4_t y, float q)
{
    f32x4_t below = (f32x4_t){0} - q, above = (f32x4_t){0} + (1.0f - q), r = z - y;
    return select4(r > 0.0f, above, select4(r < 0.0f, below, r)); /* r: 0 or NaN */
}

void ht_loss_gradient(ht_loss_t loss, int n, const float *z, const float *y, float *gradient)
{
    for (int i = 0; i < n; i += 4) {
        f32x4_t zi = load4(z + i);
        f32x4_t yi = load4(y + i);
        f32x4_t g;
        if (loss.kind == HT_LOGISTIC)
            g = -yi / (exp4(yi * zi) + 1.0f);
        else if (loss.kind == HT_HINGE)
            g = gradient_hinge(zi, yi);
        else if (loss.kind == HT_SQUARED_HINGE)
            g = gradient_squared_hinge(zi, yi);
        else if (loss.kind == HT_HUBER)
            g = gradient_huber(zi, yi, loss.parameter);
        else if (loss.kind == HT_POISSON)
            g = exp4(zi) - yi;
        else if (loss.kind == HT_QUANTILE)
            g = gradient_quantile(zi, yi, loss.parameter);
        else
            g = zi - yi;
        memcpy(gradient + i, &g, sizeof g);
    }
}

int ht_loss_has_minimum(ht_loss_kind_t kind)
{
    return kind != HT_LOGISTIC && kind != HT_HINGE && kind != HT_QUANTILE;
}

/* Returns how far the margin of a row may move. */
static float distance(ht_loss_t loss, float z, float y, float gradient)
{
    switch (loss.kind) {
    case HT_SQUARED_HINGE:
        return fabsf(1.0f - y * z); /* where the gradient is not 0 */
    case HT_POISSON: {
        float mean = gradient + y; /* the second derivative at z; at the minimum it is y */
        return fabsf(gradient) / (mean > y ? mean : y);
    }
    default:
        return fabsf(z - y);
    }
}

void ht_loss_bound(ht_loss_t loss, int n, const float *z, const float *y, const float *reach,
                   float *gradient)
{
    for (int i = 0; i < n; i++) {
        float most = distance(loss, z[i], y[i], gradient[i]);
        if (fabsf(gradient[i]) * reach[i] > most) /* NaN stays NaN */
            gradient[i] = copysignf(most / reach[i], gradient[i]);
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

/* The losses of four rows that need no libm. */
HT_INLINE f32x4_t value4(ht_loss_t loss, f32x4_t z, f32x4_t y)
{
    if (loss.kind == HT_HINGE || loss.kind == HT_SQUARED_HINGE) {
        f32x4_t m = y * z;
        f32x4_t short_of = select4(m < 1.0f, 1.0f - m, m - m); /* NaN: see gradient_hinge */
        return loss.kind == HT_HINGE ? short_of : short_of * short_of;
    }
    f32x4_t r = z - y;
    if (loss.kind == HT_SQUARED)
        return r * r * 0.5f;
    if (loss.kind == HT_QUANTILE)
        return select4(r > 0.0f, (1.0f - loss.parameter) * r, -loss.parameter * r);
    f32x4_t size = select4(r < 0.0f, -r, r), most = (f32x4_t){0} + loss.parameter;
    f32x4_t inside = select4(size < most, size, most);
    return inside * (size - inside * 0.5f);
}

static double sum_simple(ht_loss_t loss, int n, const float *z, const float *y)
{
    f32x4_t sum = {0};
    for (int i = 0; i < n; i += 4)
        sum += value4(loss, load4(z + i), load4(y + i));
    return (double)sum[0] + (double)sum[1] + (double)sum[2] + (double)sum[3];
}

static double value(ht_loss_t loss, double z, double y)
{
    double m = y * z, size = fabs(z - y);
    double short_of = m < 1.0 ? 1.0 - m : m - m; /* NaN: see gradient_hinge */
    double most = (double)loss.parameter, inside = size < most ? size : most;
    switch (loss.kind) {
    case HT_HINGE:
        return short_of;
    case HT_SQUARED_HINGE:
        return short_of * short_of;
    case HT_SQUARED:
        return size * size * 0.5;
    case HT_HUBER:
        return inside * (size - inside * 0.5);
    case HT_POISSON: /* by differences, which keep the digits where y is large */
        return y > 0.0 ? y * (expm1(z - log(y)) - (z - log(y))) : exp(z) - y * z;
    case HT_QUANTILE:
        return z > y ? (1.0 - (double)loss.parameter) * size : (double)loss.parameter * size;
    case HT_LOGISTIC:
    default:
        return (fabs(m) - m) * 0.5 + log1p(exp(-fabs(m)));
    }
}

double ht_loss_sum(ht_loss_t loss, int64_t n, const float *z, const float *y, const float *weight)
{
    double total = 0.0;
    int64_t i = 0;
    if (weight == NULL && loss.kind != HT_POISSON) /* it has too few digits in float32 */
        for (; n - i >= 4;) {
            int m = n - i < SUM_ROWS ? (int)(n - i) & ~3 : SUM_ROWS;
            total += loss.kind == HT_LOGISTIC ? sum_logistic(m, z + i, y + i)
                                              : sum_simple(loss, m, z + i, y + i);
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

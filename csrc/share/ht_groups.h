/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_groups: a group of neighbouring coordinates, in lanes.
 *
 * Layer L3, for kernels.
 */
#ifndef HT_GROUPS_H
#define HT_GROUPS_H

#include "math/ht_optimizer_step.h"

#define HT_GROUP 8 /* coordinates */

typedef float f32x8_t __attribute__((vector_size(32)));
typedef float f32x8u_t __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i32x8_t __attribute__((vector_size(32)));
typedef double f64x8_t __attribute__((vector_size(64)));
typedef int64_t i64x8_t __attribute__((vector_size(64)));
typedef uint64_t u64x8_t __attribute__((vector_size(64)));

HT_INLINE f32x8_t load8(const float *p)
{
    return *(const f32x8u_t *)p;
}

HT_INLINE void store8(float *p, f32x8_t lanes)
{
    *(f32x8u_t *)p = lanes;
}

HT_INLINE f32x8_t choose8(i32x8_t is_first, f32x8_t first, f32x8_t second)
{
    return (f32x8_t)((is_first & (i32x8_t)first) | (~is_first & (i32x8_t)second));
}

HT_INLINE f32x8_t sqrt8(f32x8_t a)
{
    float lanes[HT_GROUP]; /* the compiler vectorises this loop, not one over lanes */
    store8(lanes, a);
    for (int k = 0; k < HT_GROUP; k++)
        lanes[k] = __builtin_sqrtf(lanes[k]);
    return load8(lanes);
}

HT_DEFINE_STEP(step8, f32x8_t, i32x8_t, sqrt8)

#endif

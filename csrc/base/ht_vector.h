/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_vector: 16 virtual float32 lanes and the instruction sets they run on.
 *
 * Layer L1.  A sum over lanes always has 16 partial sums, element k in lane
 * k % 16, and one fixed tree, so its bits do not depend on the instruction
 * set.  A file that defines HT_ISA (baseline, avx2, avx512) before inclusion is
 * compiled once per instruction set; no other file sees the lanes.
 * Contraction into fused multiply-adds is off in every build (-ffp-contract=off).
 * There is no state: any thread may call anything at any time.
 */
#ifndef HT_VECTOR_H
#define HT_VECTOR_H

#include "base/ht_base.h"

#define HT_LANES 16

typedef enum { HT_BASELINE = 0, HT_AVX2 = 1, HT_AVX512 = 2, HT_ISA_COUNT = 3 } ht_isa_t;

/* Returns the best instruction set that this build holds and this processor runs. */
ht_isa_t ht_vector_best_isa(void);

/* Returns whether this build holds the instruction set and this processor runs it. */
int ht_vector_has_isa(ht_isa_t isa);

/* Returns "baseline", "avx2" or "avx512"; NULL for any other number. */
const char *ht_vector_isa_name(ht_isa_t isa);

/* Defines name(x) = exp(x) for a vector of float32: x = n ln 2 + r, a
 * polynomial in r, the exponent by integer addition.  Coefficients of the
 * Cephes library (Moshier 1989); error below 2 ulp.  Arguments are clamped to
 * +-87, where float32 ends. */
#define HT_DEFINE_EXP(name, floats, ints) \
    HT_INLINE floats name(floats x) \
    { \
        const floats top = (floats){0} + 87.0f; \
        ints over = x > top; \
        x = (floats)((over & (ints)top) | (~over & (ints)x)); \
        ints under = x < -top; \
        x = (floats)((under & (ints) - top) | (~under & (ints)x)); \
        const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */ \
        floats shifted = x * 1.44269504f + magic; \
        floats n = shifted - magic; \
        floats r = x - n * 0.693359375f; \
        r = r - n * -2.12194440e-4f; \
        floats p = r * 1.9875691500e-4f + 1.3981999507e-3f; \
        p = p * r + 8.3334519073e-3f; \
        p = p * r + 4.1665795894e-2f; \
        p = p * r + 1.6666665459e-1f; \
        p = p * r + 5.0000001201e-1f; \
        p = p * (r * r) + r + 1.0f; \
        /* The low bits of `shifted` hold n: move them to the exponent. */ \
        return (floats)((ints)p + ((ints)shifted << 23)); \
    }

/* Expands to name_baseline, name_avx2 or name_avx512, by the build of the file. */
#define HT_PASTE2(a, b) a##_##b
#define HT_PASTE(a, b) HT_PASTE2(a, b)
#define HT_ISA_SYMBOL(name) HT_PASTE(name, HT_ISA)

#ifdef HT_ISA

#if defined(__SSE2__)
#include <immintrin.h>
#endif
#pragma GCC diagnostic ignored "-Wpsabi" /* lanes are only passed to inlined code */

typedef float ht_f32x16_t __attribute__((vector_size(64)));
typedef int32_t ht_i32x16_t __attribute__((vector_size(64)));
typedef float ht_f32x16u_t __attribute__((vector_size(64), aligned(4), may_alias));

HT_INLINE ht_f32x16_t ht_lanes_load(const float *p)
{
    return *(const ht_f32x16u_t *)p;
}

/* Loads the first n values, n in 1..16; the other lanes are 0. */
HT_INLINE ht_f32x16_t ht_lanes_load_first(const float *p, int n)
{
#if defined(__AVX512F__)
    return (ht_f32x16_t)_mm512_maskz_loadu_ps((__mmask16)(0xffffu >> (16 - n)), p);
#else
    float buffer[HT_LANES] = {0};
    const volatile float *each = p; /* else the compiler calls memcpy, which may tear */
#pragma GCC unroll 1 /* a tail: sixteen copies of it in every kernel are not worth it */
    for (int k = 0; k < n; k++)
        buffer[k] = each[k];
    return ht_lanes_load(buffer);
#endif
}

/* Loads every stride-th value, n of them (1..16); the other lanes are 0.  stride is constant
 * where this is inlined. */
HT_INLINE ht_f32x16_t ht_lanes_load_every(const float *p, int n, int stride)
{
    if (stride == 1 && n == HT_LANES)
        return ht_lanes_load(p);
    if (stride == 1)
        return ht_lanes_load_first(p, n);
    float buffer[HT_LANES] = {0};
    if (n == HT_LANES) /* of constant length: the compiler makes shuffles of it */
        for (int k = 0; k < HT_LANES; k++)
            buffer[k] = p[stride * k];
    else
#pragma GCC unroll 1
        for (int k = 0; k < n; k++)
            buffer[k] = ((const volatile float *)p)[stride * k];
    return ht_lanes_load(buffer);
}

HT_INLINE void ht_lanes_store(float *p, ht_f32x16_t lanes)
{
    *(ht_f32x16u_t *)p = lanes;
}

/* Stores the first n lanes (1..16) to every stride-th value. */
HT_INLINE void ht_lanes_store_every(float *p, int n, int stride, ht_f32x16_t lanes)
{
    if (stride == 1 && n == HT_LANES) {
        ht_lanes_store(p, lanes);
        return;
    }
#if defined(__AVX512F__)
    if (stride == 1) {
        _mm512_mask_storeu_ps(p, (__mmask16)(0xffffu >> (16 - n)), (__m512)lanes);
        return;
    }
#endif
    float buffer[HT_LANES];
    volatile float *each = p; /* as above */
    ht_lanes_store(buffer, lanes);
    if (n == HT_LANES)
        for (int k = 0; k < HT_LANES; k++)
            p[stride * k] = buffer[k];
    else
#pragma GCC unroll 1
        for (int k = 0; k < n; k++)
            each[stride * k] = buffer[k];
}

HT_INLINE ht_f32x16_t ht_lanes_set(float value)
{
    return (ht_f32x16_t){0} + value;
}

HT_INLINE ht_f32x16_t ht_lanes_sqrt(ht_f32x16_t a)
{
#if defined(__AVX512F__)
    return (ht_f32x16_t)_mm512_sqrt_ps((__m512)a);
#else
    float buffer[HT_LANES]; /* the compiler vectorises this loop, not one over lanes */
    ht_lanes_store(buffer, a);
    for (int k = 0; k < HT_LANES; k++)
        buffer[k] = __builtin_sqrtf(buffer[k]);
    return ht_lanes_load(buffer);
#endif
}

/* Returns the sum of the lanes by the fixed tree: halves are added, 16 -> 8 -> 4 -> 2 -> 1. */
HT_INLINE float ht_lanes_sum(ht_f32x16_t a)
{
#if defined(__AVX512F__)
    __m256 h =
        _mm256_add_ps(_mm512_castps512_ps256((__m512)a), _mm512_extractf32x8_ps((__m512)a, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
#else
    float b[HT_LANES];
    ht_lanes_store(b, a);
    for (int width = HT_LANES / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++)
            b[k] += b[k + width];
    return b[0];
#endif
}

/* Gathers base[stride * index[k]] to lane k for k in first .. n-1 (n in 1..16); the other lanes
 * keep their value in `rest`.  stride is 1, 2 or 4 and constant where this is inlined. */
HT_INLINE ht_f32x16_t ht_lanes_gather(const float *base, const int32_t *index, int first, int n,
                                      int stride, ht_f32x16_t rest)
{
#if defined(__AVX512F__)
    __mmask16 mask = (__mmask16)((0xffffu >> (16 - n)) & (0xffffu << first));
    __m512i i = _mm512_maskz_loadu_epi32(mask, index);
    if (stride == 4)
        i = _mm512_slli_epi32(i, 1);
    if (stride == 1)
        return (ht_f32x16_t)_mm512_mask_i32gather_ps((__m512)rest, mask, i, base, 4);
    return (ht_f32x16_t)_mm512_mask_i32gather_ps((__m512)rest, mask, i, base, 8);
#elif defined(__AVX2__)
    if (first == 0 && n == HT_LANES) {
        ht_f32x16_t r;
        for (int half = 0; half < 2; half++) {
            __m256i i = _mm256_loadu_si256((const __m256i *)(const void *)(index + 8 * half));
            if (stride == 4)
                i = _mm256_slli_epi32(i, 1);
            __m256 g =
                stride == 1 ? _mm256_i32gather_ps(base, i, 4) : _mm256_i32gather_ps(base, i, 8);
            _mm256_storeu_ps((float *)&r + 8 * half, g);
        }
        return r;
    }
    for (int k = first; k < n; k++)
        rest[k] = base[(ptrdiff_t)stride * index[k]];
    return rest;
#else
    for (int k = first; k < n; k++)
        rest[k] = base[(ptrdiff_t)stride * index[k]];
    return rest;
#endif
}

/* ---- vectors of one register ---------------------------------------------------- */

#if defined(__AVX512F__)
#define HT_NATIVE 16 /* floats in a register: divides HT_LANES */
#elif defined(__AVX2__)
#define HT_NATIVE 8
#else
#define HT_NATIVE 4
#endif

/* For sums in which each element has a lane of its own: there, the width of a vector changes no
 * bits, and the compiler keeps such vectors in registers. */
typedef float ht_native_t __attribute__((vector_size(4 * HT_NATIVE)));
typedef float ht_native_unaligned_t
    __attribute__((vector_size(4 * HT_NATIVE), aligned(4), may_alias));

HT_INLINE ht_native_t ht_native_load(const float *p)
{
    return *(const ht_native_unaligned_t *)p;
}

HT_INLINE void ht_native_store(float *p, ht_native_t vector)
{
    *(ht_native_unaligned_t *)p = vector;
}

#endif /* HT_ISA */
#endif

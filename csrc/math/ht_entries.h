/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_entries: neighbouring entries of 1, 2 or 4 floats, in lanes.
 *
 * Layer L2: may include L0 and L1.  For files that are compiled once per instruction set
 * (ht_vector.h).  Entries are loaded and stored in pieces of at least 8 bytes: where other threads
 * store entries at the same time, the two floats of a pair, which is aligned to 8 bytes, are always
 * of one store.
 */
#ifndef HT_ENTRIES_H
#define HT_ENTRIES_H

#include <string.h>

#include "base/ht_vector.h"

#define HT_ENTRY_FLOATS 4 /* at most */

/* 16 neighbouring entries: float k of each. */
typedef struct {
    ht_f32x16_t floats[HT_ENTRY_FLOATS];
} ht_entries_t;

typedef uint64_t ht_piece_t __attribute__((may_alias, aligned(4)));

/* Copies n pieces, each at once. */
HT_INLINE void ht_pieces_copy(float *to, const float *from, int n)
{
    volatile ht_piece_t *out = (volatile ht_piece_t *)to;
    const volatile ht_piece_t *in = (const volatile ht_piece_t *)from;
#pragma GCC unroll 1
    for (int k = 0; k < n; k++)
        out[k] = in[k];
}

HT_INLINE ht_entries_t ht_entries_load16(const float *p, int stride)
{
    ht_entries_t r = {{{0}}};
#if defined(__AVX512F__)
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    __m512 v[HT_ENTRY_FLOATS];
    for (int k = 0; k < stride; k++)
        v[k] = _mm512_loadu_ps(p + HT_LANES * k);
    if (stride == 2) {
        r.floats[0] = (ht_f32x16_t)_mm512_permutex2var_ps(v[0], even, v[1]);
        r.floats[1] = (ht_f32x16_t)_mm512_permutex2var_ps(v[0], odd, v[1]);
        return r;
    }
    __m512 w_m[2], v_c[2]; /* floats 0 and 1, floats 2 and 3, of 8 entries each */
    for (int k = 0; k < 2; k++) {
        w_m[k] = _mm512_permutex2var_ps(v[2 * k], even, v[2 * k + 1]);
        v_c[k] = _mm512_permutex2var_ps(v[2 * k], odd, v[2 * k + 1]);
    }
    /* even holds floats 0 and 2 in turn, odd floats 1 and 3 */
    r.floats[0] = (ht_f32x16_t)_mm512_permutex2var_ps(w_m[0], even, w_m[1]);
    r.floats[2] = (ht_f32x16_t)_mm512_permutex2var_ps(w_m[0], odd, w_m[1]);
    r.floats[1] = (ht_f32x16_t)_mm512_permutex2var_ps(v_c[0], even, v_c[1]);
    r.floats[3] = (ht_f32x16_t)_mm512_permutex2var_ps(v_c[0], odd, v_c[1]);
#elif defined(__SSE2__)
    float *out = (float *)&r;
    for (int q = 0; q < HT_LANES; q += 4) {
        __m128 v[HT_ENTRY_FLOATS];
        for (int k = 0; k < stride; k++)
            v[k] = _mm_loadu_ps(p + stride * q + 4 * k);
        if (stride == 2) {
            _mm_storeu_ps(out + q, _mm_shuffle_ps(v[0], v[1], 0x88));
            _mm_storeu_ps(out + HT_LANES + q, _mm_shuffle_ps(v[0], v[1], 0xdd));
            continue;
        }
        _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
        for (int k = 0; k < HT_ENTRY_FLOATS; k++)
            _mm_storeu_ps(out + HT_LANES * k + q, v[k]);
    }
#else
    float whole[HT_ENTRY_FLOATS * HT_LANES];
    ht_pieces_copy(whole, p, stride * HT_LANES / 2);
    for (int k = 0; k < stride; k++)
        r.floats[k] = ht_lanes_load_every(whole + k, HT_LANES, stride);
#endif
    return r;
}

HT_INLINE void ht_entries_store16(float *p, int stride, const ht_entries_t *r)
{
#if defined(__AVX512F__)
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    __m512 v[HT_ENTRY_FLOATS];
    for (int k = 0; k < stride; k++)
        v[k] = (__m512)r->floats[k];
    if (stride == 2) {
        _mm512_storeu_ps(p, _mm512_permutex2var_ps(v[0], low, v[1]));
        _mm512_storeu_ps(p + HT_LANES, _mm512_permutex2var_ps(v[0], high, v[1]));
        return;
    }
    __m512 even[2] = {_mm512_permutex2var_ps(v[0], low, v[2]),
                      _mm512_permutex2var_ps(v[0], high, v[2])};
    __m512 odd[2] = {_mm512_permutex2var_ps(v[1], low, v[3]),
                     _mm512_permutex2var_ps(v[1], high, v[3])};
    for (int k = 0; k < 2; k++) {
        _mm512_storeu_ps(p + 2 * HT_LANES * k, _mm512_permutex2var_ps(even[k], low, odd[k]));
        _mm512_storeu_ps(p + 2 * HT_LANES * k + HT_LANES,
                         _mm512_permutex2var_ps(even[k], high, odd[k]));
    }
#elif defined(__SSE2__)
    const float *in = (const float *)r;
    for (int q = 0; q < HT_LANES; q += 4) {
        __m128 v[HT_ENTRY_FLOATS];
        for (int k = 0; k < stride; k++)
            v[k] = _mm_loadu_ps(in + HT_LANES * k + q);
        if (stride == 2) {
            _mm_storeu_ps(p + 2 * q, _mm_unpacklo_ps(v[0], v[1]));
            _mm_storeu_ps(p + 2 * q + 4, _mm_unpackhi_ps(v[0], v[1]));
            continue;
        }
        _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
        for (int k = 0; k < HT_ENTRY_FLOATS; k++)
            _mm_storeu_ps(p + 4 * q + 4 * k, v[k]);
    }
#else
    float whole[HT_ENTRY_FLOATS * HT_LANES];
    for (int k = 0; k < stride; k++)
        ht_lanes_store_every(whole + k, HT_LANES, stride, r->floats[k]);
    ht_pieces_copy(p, whole, stride * HT_LANES / 2);
#endif
}

/* Loads the first n entries (1..16) of `stride` floats (1, 2 or 4, constant where this is inlined);
 * the other lanes are 0. */
HT_INLINE ht_entries_t ht_entries_load(const float *p, int n, int stride)
{
    if (stride == 1)
        return (ht_entries_t){{ht_lanes_load_every(p, n, 1)}};
    float whole[HT_ENTRY_FLOATS * HT_LANES];
    if (n < HT_LANES) {
        memset(whole, 0, sizeof whole);
        ht_pieces_copy(whole, p, stride * n / 2);
    }
    return ht_entries_load16(n < HT_LANES ? whole : p, stride);
}

/* Stores the first n entries (1..16). */
HT_INLINE void ht_entries_store(float *p, int n, int stride, const ht_entries_t *entries)
{
    if (stride == 1) {
        ht_lanes_store_every(p, n, 1, entries->floats[0]);
        return;
    }
    float whole[HT_ENTRY_FLOATS * HT_LANES];
    ht_entries_store16(n < HT_LANES ? whole : p, stride, entries);
    if (n < HT_LANES)
        ht_pieces_copy(p, whole, stride * n / 2);
}

#endif

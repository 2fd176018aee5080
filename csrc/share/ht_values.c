/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * Values and not differences: a value arrives as it was, so that a node which trains alone gets its
 * own bits back, and nodes that apply the same bodies have the same bits.
 *
 * Tests: tests/c/test_values.c.
 */
#include "share/ht_values.h"

#include <string.h>

static int64_t n_groups(int64_t n)
{
    return (n + HT_VALUES_GROUP - 1) / HT_VALUES_GROUP;
}

static size_t head_nbytes(int64_t n)
{
    return (size_t)((n_groups(n) + 31) / 32 * 4);
}

/* Returns the coordinates of a group. */
static size_t length(int64_t n, int64_t group)
{
    int64_t left = n - group * HT_VALUES_GROUP;
    return (size_t)(left < HT_VALUES_GROUP ? left : HT_VALUES_GROUP);
}

static int has_group(const uint8_t *body, int64_t group)
{
    return body[group / 8] >> (group % 8) & 1;
}

size_t ht_values_most_nbytes(int64_t n, int arrays)
{
    return head_nbytes(n) + sizeof(float) * (size_t)arrays * (size_t)n;
}

size_t ht_values_encode(const float *values, const float *base, int64_t n, int arrays,
                        int64_t stride, uint8_t *body)
{
    memset(body, 0, head_nbytes(n));
    uint8_t *at = body + head_nbytes(n);
    for (int64_t g = 0; g < n_groups(n); g++) {
        const size_t nbytes = sizeof(float) * length(n, g);
        const int64_t first = g * HT_VALUES_GROUP;
        int differs = 0;
        for (int k = 0; k < arrays; k++)
            differs |= memcmp(values + k * stride + first, base + k * stride + first, nbytes) != 0;
        if (!differs)
            continue;
        body[g / 8] |= (uint8_t)(1 << g % 8);
        for (int k = 0; k < arrays; k++, at += nbytes)
            memcpy(at, values + k * stride + first, nbytes);
    }
    return (size_t)(at - body);
}

int ht_values_is_body(const uint8_t *body, size_t nbytes, int64_t n, int arrays)
{
    size_t expected = head_nbytes(n);
    if (nbytes < expected)
        return 0;
    for (int64_t g = 0; g < n_groups(n); g++)
        expected += has_group(body, g) ? sizeof(float) * (size_t)arrays * length(n, g) : 0;
    for (int64_t g = n_groups(n); g < (int64_t)head_nbytes(n) * 8; g++)
        if (has_group(body, g))
            return 0;
    return nbytes == expected;
}

void ht_values_decode(const uint8_t *body, int64_t n, int arrays, int64_t stride, float *values)
{
    const uint8_t *at = body + head_nbytes(n);
    for (int64_t g = 0; g < n_groups(n); g++) {
        const size_t nbytes = sizeof(float) * length(n, g);
        for (int k = 0; k < arrays && has_group(body, g); k++, at += nbytes)
            memcpy(values + k * stride + g * HT_VALUES_GROUP, at, nbytes);
    }
}

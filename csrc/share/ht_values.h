/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_values: the values of a stretch of coordinates that have changed, as bytes.
 *
 * Layer L5.  Pure functions on the caller's arrays: any thread, any time.
 *
 * A stretch is n coordinates of some compact arrays, in groups of HT_VALUES_GROUP; the last one may
 * be short.  A body has a bit for each group, the lowest bit of a byte first, padded with zeros to
 * whole 4 bytes, and then of each marked group the values of one array after the other: float32,
 * little endian.
 */
#ifndef HT_VALUES_H
#define HT_VALUES_H

#include <stddef.h>
#include <stdint.h>

#define HT_VALUES_GROUP 8
#define HT_VALUES_MOST_ARRAYS 3

/* Returns the bytes of a body of n coordinates of which every group has changed: the most. */
size_t ht_values_most_nbytes(int64_t n, int arrays);

/* Writes the groups of which a bit differs from base, and returns the bytes of the body.  Each
 * array is `stride` floats after the one before. */
size_t ht_values_encode(const float *values, const float *base, int64_t n, int arrays,
                        int64_t stride, uint8_t *body);

/* Returns whether bytes, from whomever, are the body of such a stretch. */
int ht_values_is_body(const uint8_t *body, size_t nbytes, int64_t n, int arrays);

/* Writes the values of a body that was checked to the groups that it has. */
void ht_values_decode(const uint8_t *body, int64_t n, int arrays, int64_t stride, float *values);

#endif

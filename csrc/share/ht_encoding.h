/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_encoding: the sums of a stretch of coordinates as bytes: the shortest of three encodings.
 *
 * Layer L5.  Pure functions on the caller's arrays: any thread, any time.
 *
 * A stretch is a number of whole groups, each with 8 sums, which are 64-bit integers, and a mark:
 * whether the step touched it.  A group without a mark has no sums.  Marks arrive exactly as they
 * were: of some optimizers a group that was touched takes a step even if its sums are zero.
 *
 *   HT_BY_COORDINATES   each sum that is not zero, by its distance from the one before; of a marked
 *                    group without such a sum its first
 *   HT_BY_GROUPS        the sums of all marked groups, and a bit for each group
 *   HT_ALL_SUMS         all sums; every group is marked
 *
 * A body is a head, the sums, and then the distances or bits.  The head is the width of a sum in
 * bytes, 1 .. 8, three spare bytes, and the number of sums (4 bytes).  Sums are cut to the bytes
 * that the largest one needs, and stand in planes: of width 5 first the lower 4 bytes of all sums,
 * then the upper byte of all.  A distance is the number of coordinates that are passed over, in 2
 * bytes; 65,535 passes over so many and names none.  All numbers are little endian.
 */
#ifndef HT_ENCODING_H
#define HT_ENCODING_H

#include "share/ht_sums.h"

#define HT_ENCODING_MOST_GROUPS 65535 /* of a body: it fits a frame of 4 MB at any width */

enum { HT_BY_COORDINATES = 1, HT_BY_GROUPS = 2, HT_ALL_SUMS = 3 };

/* How a stretch is encoded. */
typedef struct {
    int encoding;
    uint32_t width;  /* bytes of a sum */
    uint32_t n_sums; /* in the body */
    uint32_t nbytes; /* of the body */
} ht_encoding_t;

/* Returns the shortest encoding of 0 .. HT_ENCODING_MOST_GROUPS groups: a function of their sums
 * and marks. */
ht_encoding_t ht_encoding_choose(const int64_t *sums, const uint8_t *marks, int64_t n_groups);

/* Writes the body, of `chosen.nbytes` bytes.  `chosen` is what ht_encoding_choose has returned for
 * this stretch. */
void ht_encoding_write(const ht_encoding_t *chosen, const int64_t *sums, const uint8_t *marks,
                       int64_t n_groups, uint8_t *body);

/* Returns NULL for an encoding of n_groups groups, and for any other bytes, from whomever, what
 * they should have. */
const char *ht_encoding_check(const uint8_t *body, size_t nbytes, int encoding, int64_t n_groups);

/* Adds the sums of a body that was checked to others, modulo 2^64, and sets the marks of its groups
 * to 1. */
void ht_encoding_add(const uint8_t *body, int encoding, int64_t n_groups, int64_t *sums,
                     uint8_t *marks);

/* Sets the sums of the marked groups, and their marks, to 0. */
void ht_encoding_clear(int64_t *sums, uint8_t *marks, int64_t n_groups);

#endif

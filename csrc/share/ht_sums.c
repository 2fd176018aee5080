/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * Equal bits for any number of workers need sums without an order, and waiting for an order would
 * make every worker as slow as the slowest.  Integers have none.  The unit is a power of two, so
 * that scaling is exact and the one rounding is that of the contribution; it is a function of the
 * step's bound and number of rows, never of the contributions met, so all workers find the same
 * one without talking.
 *
 *   largest < 2^of_largest and n * largest < 2^of_sum, hence with e from ht_sums_exponent
 *   |contribution| / 2^e < 2^HT_SUMS_BITS and |sum| / 2^e < 2^62, before rounding
 *
 * 51 bits are what a double rounds to an integer by adding a constant (ht_sums_round).  A
 * batch of sparse rows touches few coordinates: marks, a byte to a group, let merge and clear skip
 * the rest, eight groups a look.  A worker clears its own sums when it enters a step, never when a
 * step ends: others may still read them.  Tests: tests/c/test_sums.c, test_sums_add.c,
 * test_sums_merge.c, test_sums_outputs.c.
 */
#include <math.h>
#include <string.h>

#include "share/ht_sums_isa.h"

const ht_sums_kernels_t *ht_sums_kernels(ht_isa_t isa)
{
    static const ht_sums_kernels_t *const tables[HT_ISA_COUNT] = {
        [HT_BASELINE] = &ht_sums_kernels_baseline,
#ifdef HT_WITH_X86
        [HT_AVX2] = &ht_sums_kernels_avx2,
        [HT_AVX512] = &ht_sums_kernels_avx512,
#endif
    };
    return isa >= 0 && isa < HT_ISA_COUNT ? tables[isa] : NULL;
}

void ht_sums_clear(const ht_sums_t *sums, int64_t n, int is_exact)
{
    size_t nbytes = HT_SUMS_GROUP * (is_exact ? sizeof(int64_t) : sizeof(float));
    int64_t n_groups = (n + HT_SUMS_GROUP - 1) / HT_SUMS_GROUP;
    for (int64_t g = 0; g < n_groups; g += 8) {
        uint64_t eight; /* marks are padded to a multiple of 8 */
        memcpy(&eight, sums->marks + g, sizeof eight);
        if (eight == 0)
            continue;
        for (int64_t k = g; k < g + 8; k++)
            if (sums->marks[k])
                memset((char *)sums->sums + (size_t)k * nbytes, 0, nbytes);
        memset(sums->marks + g, 0, sizeof eight);
    }
}

void ht_sums_wipe(const ht_sums_t *sums, int64_t n, int is_exact)
{
    size_t n_groups = ((size_t)n + HT_SUMS_GROUP - 1) / HT_SUMS_GROUP;
    size_t nbytes = HT_SUMS_GROUP * (is_exact ? sizeof(int64_t) : sizeof(float));
    memset(sums->sums, 0, n_groups * nbytes);
    memset(sums->marks, 0, n_groups);
}

int ht_sums_exponent(double largest, uint64_t n)
{
    int of_largest, of_sum;
    (void)frexp(largest, &of_largest); /* largest < 2^of_largest */
    (void)frexp(largest * (double)n, &of_sum);
    int exponent = of_largest - HT_SUMS_BITS;
    return exponent > of_sum - 62 ? exponent : of_sum - 62;
}

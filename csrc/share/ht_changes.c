/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * Every coordinate of a replica is looked at: which ones its steps have changed is cheaper to see
 * than to note, as long as a replica makes many steps.
 *
 * A difference of two floats is taken in double, where it is exact or nearly so, and is a function
 * of the two: the one rounding that bits could depend on is that to the grid.
 *
 * With one replica a step's result is the replica itself.  The grid would lose the last bits of
 * coordinates that change much less than the others, and one replica that merges after every step
 * is plain minibatch SGD, bit for bit.  So its sums hold its values themselves.
 *
 * Tests: tests/c/test_changes.c.
 */
#include "share/ht_changes_isa.h"

const ht_changes_kernels_t *ht_changes_kernels(ht_isa_t isa)
{
    static const ht_changes_kernels_t *const tables[HT_ISA_COUNT] = {
        [HT_BASELINE] = &ht_changes_kernels_baseline,
#ifdef HT_WITH_X86
        [HT_AVX2] = &ht_changes_kernels_avx2,
        [HT_AVX512] = &ht_changes_kernels_avx512,
#endif
    };
    return isa >= 0 && isa < HT_ISA_COUNT ? tables[isa] : NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sums_isa: the tables of sums' kernels, one per instruction set.
 *
 * Layer L4, for ht_sums.c and ht_sums_racy.c only.
 */
#ifndef HT_SUMS_ISA_H
#define HT_SUMS_ISA_H

#include "share/ht_sums.h"

extern const ht_sums_kernels_t ht_sums_kernels_baseline;
#ifdef HT_WITH_X86
extern const ht_sums_kernels_t ht_sums_kernels_avx2;
extern const ht_sums_kernels_t ht_sums_kernels_avx512;
#endif

#endif

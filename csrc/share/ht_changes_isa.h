/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_changes_isa: the tables of changes' kernels, one per instruction set.
 *
 * Layer L5, for ht_changes.c and ht_changes_racy.c only.
 */
#ifndef HT_CHANGES_ISA_H
#define HT_CHANGES_ISA_H

#include "share/ht_changes.h"

extern const ht_changes_kernels_t ht_changes_kernels_baseline;
#ifdef HT_WITH_X86
extern const ht_changes_kernels_t ht_changes_kernels_avx2;
extern const ht_changes_kernels_t ht_changes_kernels_avx512;
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_hogwild_isa: the tables of racy kernels, one per instruction set.
 *
 * Layer L5, for ht_hogwild.c and ht_hogwild_racy.c only.
 */
#ifndef HT_HOGWILD_ISA_H
#define HT_HOGWILD_ISA_H

#include "ht_hogwild.h"

extern const ht_hogwild_kernels_t ht_hogwild_kernels_baseline;
#ifdef HT_WITH_X86
extern const ht_hogwild_kernels_t ht_hogwild_kernels_avx2;
extern const ht_hogwild_kernels_t ht_hogwild_kernels_avx512;
#endif

#endif

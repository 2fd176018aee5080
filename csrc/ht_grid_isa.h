/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_grid_isa: the tables of sums' kernels, one per instruction set.
 *
 * Layer L5, for ht_grid.c and ht_grid_racy.c only.
 */
#ifndef HT_GRID_ISA_H
#define HT_GRID_ISA_H

#include "ht_grid.h"

extern const ht_grid_kernels_t ht_grid_kernels_baseline;
#ifdef HT_WITH_X86
extern const ht_grid_kernels_t ht_grid_kernels_avx2;
extern const ht_grid_kernels_t ht_grid_kernels_avx512;
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_optimizer_isa: the tables of merges, one per instruction set.
 *
 * Layer L2, for ht_optimizer.c and ht_optimizer_isa.c only.  Index:
 * [optimizer][entries hold c].
 */
#ifndef HT_OPTIMIZER_ISA_H
#define HT_OPTIMIZER_ISA_H

#include "math/ht_optimizer.h"

typedef ht_merge_fn_t ht_merge_table_t[HT_OPTIMIZER_COUNT][2];

extern const ht_merge_table_t ht_optimizer_merges_baseline;
#ifdef HT_WITH_X86
extern const ht_merge_table_t ht_optimizer_merges_avx2;
extern const ht_merge_table_t ht_optimizer_merges_avx512;
#endif

#endif

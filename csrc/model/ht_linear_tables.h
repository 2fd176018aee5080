/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_linear_tables: the tables of racy kernels, one per instruction set and shape,
 * and the kernels that add and that sum, one per instruction set.
 *
 * Layer L6, for ht_linear_kernels.c and the files that define a table.
 */
#ifndef HT_LINEAR_TABLES_H
#define HT_LINEAR_TABLES_H

#include "model/ht_linear_kernels.h"

#define HT_DECLARE_TABLES(isa) \
    extern const ht_linear_kernels_t ht_linear_sparse_##isa; \
    extern const ht_linear_kernels_t ht_linear_dense_##isa; \
    extern const ht_linear_kernels_t ht_linear_outputs_##isa; \
    extern const ht_add_fn_t ht_linear_add_##isa[2]; \
    extern const ht_sum_fn_t ht_linear_sum_##isa;

HT_DECLARE_TABLES(baseline)
#ifdef HT_WITH_X86
HT_DECLARE_TABLES(avx2)
HT_DECLARE_TABLES(avx512)
#endif

#endif

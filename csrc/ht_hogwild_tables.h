/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_hogwild_tables: the tables of racy kernels, one per instruction set and shape.
 *
 * Layer L5, for ht_hogwild.c and the files that define a table.
 */
#ifndef HT_HOGWILD_TABLES_H
#define HT_HOGWILD_TABLES_H

#include "ht_hogwild.h"

#define HT_DECLARE_TABLES(isa) \
    extern const ht_hogwild_kernels_t ht_hogwild_sparse_##isa; \
    extern const ht_hogwild_kernels_t ht_hogwild_dense_##isa; \
    extern const ht_hogwild_kernels_t ht_hogwild_outputs_##isa;

HT_DECLARE_TABLES(baseline)
#ifdef HT_WITH_X86
HT_DECLARE_TABLES(avx2)
HT_DECLARE_TABLES(avx512)
#endif

#endif

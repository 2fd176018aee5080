/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "base/ht_vector.h"
#include "support/check.h"

static void instruction_sets_have_names(void)
{
    CHECK(strcmp(ht_vector_isa_name(HT_BASELINE), "baseline") == 0);
    CHECK(strcmp(ht_vector_isa_name(HT_AVX2), "avx2") == 0);
    CHECK(strcmp(ht_vector_isa_name(HT_AVX512), "avx512") == 0);
    CHECK(ht_vector_isa_name(HT_ISA_COUNT) == NULL);
    CHECK(ht_vector_isa_name((ht_isa_t)17) == NULL);
}

static void the_best_one_is_in_the_build(void)
{
    ht_isa_t best = ht_vector_best_isa();
    CHECK(best < HT_ISA_COUNT);
#ifndef HT_WITH_X86
    CHECK(best == HT_BASELINE);
#endif
}

int main(void)
{
    instruction_sets_have_names();
    the_best_one_is_in_the_build();
    FINISH();
}

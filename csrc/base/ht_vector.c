/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/ht_vector.h"

ht_isa_t ht_vector_best_isa(void)
{
#if defined(HT_WITH_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        return HT_AVX512;
    if (__builtin_cpu_supports("avx2"))
        return HT_AVX2;
#endif
    return HT_BASELINE;
}

int ht_vector_has_isa(ht_isa_t isa)
{
    int number = (int)isa; /* the compiler may take the enumeration for unsigned, or not */
    return number >= 0 && number <= (int)ht_vector_best_isa();
}

const char *ht_vector_isa_name(ht_isa_t isa)
{
    switch (isa) {
    case HT_BASELINE:
        return "baseline";
    case HT_AVX2:
        return "avx2";
    case HT_AVX512:
        return "avx512";
    case HT_ISA_COUNT:
        break;
    }
    return NULL;
}

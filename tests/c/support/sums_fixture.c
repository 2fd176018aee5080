/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/sums_fixture.h"

#include <string.h>

#include "support/delay.h"

sums_memory_t sums_memories[N_SUMS];
float sums_gradients[N_ROWS];

ht_sums_t sums_in(sums_memory_t *memory, int is_exact)
{
    return (ht_sums_t){is_exact ? (void *)memory->exact : (void *)memory->plain, memory->marks};
}

int sums_has(ht_isa_t isa)
{
    return ht_sums_kernels(isa) != NULL && isa <= ht_vector_best_isa();
}

void sums_draw(uint64_t seed, float size)
{
    uint64_t random = seed;
    for (int r = 0; r < N_ROWS; r++)
        sums_gradients[r] = size * (float)(2.0 * delay_uniform(&random) - 1.0);
    sums_gradients[0] = size;
    sums_gradients[1] = -size;
    sums_gradients[2] = 0.0f;
}

void sums_add_all(const sums_setting_t *setting, ht_isa_t isa, int is_exact, int n_sums,
                  uint64_t seed)
{
    uint64_t random = seed;
    int64_t ids[N_ROWS];
    float of_row[N_ROWS];
    memset(sums_memories, 0, sizeof sums_memories);
    for (int64_t r = 0; r < N_ROWS; r++)
        ids[r] = r;
    for (int r = N_ROWS - 1; seed != 1 && r > 0; r--) {
        int other = (int)(delay_random(&random) % (uint64_t)(r + 1));
        int64_t id = ids[r];
        ids[r] = ids[other];
        ids[other] = id;
    }
    for (int r = 0; r < N_ROWS; r++)
        of_row[r] = sums_gradients[ids[r]];
    for (int r = 0; r < N_ROWS;) {
        int n = 1 + (int)((delay_random(&random) >> 20) % 16);
        n = N_ROWS - r < n ? N_ROWS - r : n;
        ht_sums_t sums =
            sums_in(&sums_memories[(delay_random(&random) >> 20) % (uint64_t)n_sums], is_exact);
        ht_linear_add(isa, is_exact)(&sums, &setting->problem->rows, ids + r, n, of_row + r, 1,
                                     setting->intercept, setting->inverse_unit, setting->scales);
        r += n;
    }
}

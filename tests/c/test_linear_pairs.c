/* SPDX-License-Identifier: BSD-3-Clause */
/* The z and n of an entry are of one step, whenever another thread looks: each instruction set,
 * each shape of dense rows, whole lanes and tails. */
#include <stdlib.h>
#include <string.h>

#include "base/ht_atomic.h"
#include "model/ht_linear_kernels.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/delay.h"

enum { FEATURES = 20, STEPS = 20000, MOST_OUTPUTS = HT_LANES, STRIDE = 2 };

typedef struct {
    HT_ALIGNED float cold[(FEATURES + 1) * MOST_OUTPUTS * STRIDE]; /* the intercept is first */
    float z_of[STEPS + 1]; /* the z beside each n: n counts the steps */
    ht_step_fn_t step;
    int64_t outputs;
    ht_word32_t done;
} shared_t;

static void step_once(shared_t *s)
{
    static const float ones[FEATURES] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                         1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const int64_t id = 0;
    float gradient[MOST_OUTPUTS];
    for (int o = 0; o < MOST_OUTPUTS; o++)
        gradient[o] = 1.0f;
    const ht_rows_t rows = {.n_rows = 1, .n_features = FEATURES, .values = ones};
    const ht_step_t step = {.lr = 0.1f, .beta = 1.0f};
    const ht_view_t view = {
        .cold = s->cold + STRIDE * s->outputs, .intercept = s->cold, .outputs = s->outputs};
    s->step(&rows, &id, 1, &view, gradient, &step);
}

static void *write_steps(void *argument)
{
    shared_t *s = *(shared_t **)argument;
    for (int k = 0; k < STEPS; k++)
        step_once(s);
    ht_store_relaxed(&s->done, 1);
    return NULL;
}

HT_RACY static void read_pairs(shared_t *s, uint64_t *random)
{
    int64_t n_entries = (FEATURES + 1) * s->outputs;
    while (ht_load_relaxed(&s->done) == 0) {
        int64_t at = (int64_t)((delay_random(random) >> 8) % (uint64_t)n_entries);
        uint64_t both = *(volatile const uint64_t *)(const void *)(s->cold + STRIDE * at);
        float pair[STRIDE]; /* z, n */
        memcpy(pair, &both, sizeof pair);
        CHECK(pair[0] == s->z_of[(int)pair[1]]);
    }
}

static void *read_steps(void *argument)
{
    uint64_t random = 1;
    read_pairs(*(shared_t **)argument, &random);
    return NULL;
}

static void pairs_are_whole(ht_isa_t isa, int64_t outputs)
{
    const ht_rows_t rows = {.n_rows = 1, .n_features = FEATURES};
    shared_t *s = aligned_alloc(HT_LINE, (sizeof *s + HT_LINE - 1) / HT_LINE * HT_LINE);
    REQUIRE(s != NULL);
    memset(s, 0, sizeof *s);
    s->step = ht_linear_kernels(isa, ht_linear_shape(&rows, outputs))->step_racy[HT_FTRL][0];
    s->outputs = outputs;
    for (int k = 0; k < STEPS; k++) {
        step_once(s);
        REQUIRE(s->cold[1] == (float)(k + 1));
        s->z_of[k + 1] = s->cold[0];
    }
    memset(s->cold, 0, sizeof s->cold);
    crew_t writer, reader;
    crew_start(&writer, 1, write_steps, &s, sizeof s);
    crew_start(&reader, 1, read_steps, &s, sizeof s);
    crew_join(&writer);
    crew_join(&reader);
    for (int64_t i = 0; i < (FEATURES + 1) * outputs; i++)
        CHECK(s->cold[STRIDE * i + 1] == (float)STEPS && s->cold[STRIDE * i] == s->z_of[STEPS]);
    free(s);
}

int main(void)
{
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++) {
        pairs_are_whole(isa, 1);
        pairs_are_whole(isa, MOST_OUTPUTS);
    }
    FINISH();
}

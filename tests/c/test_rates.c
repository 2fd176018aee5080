/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rates: those of a stretch, and outside of it those of the nearest epoch.
 */
#include "share/ht_rates.h"

#include <stdlib.h>

#include "support/check.h"

static void a_stretch_has_the_rates_of_its_epochs(void)
{
    const float first[] = {1.0f, 2.0f, 3.0f, 4.0f}, next[] = {5.0f, 6.0f, 7.0f, 8.0f};
    ht_rates_t *rates = malloc(ht_rates_nbytes(2, 2));
    REQUIRE(rates != NULL);
    ht_rates_init(rates, 2, 2, first);
    for (uint64_t k = 0; k < 4; k++)
        CHECK(ht_rates_at(rates, k / 2, k % 2) == first[k]);
    CHECK(ht_rates_at(rates, 2, 0) == 3.0f);
    CHECK(ht_rates_at(rates, UINT64_MAX, 1) == 4.0f);
    ht_rates_write(rates, 7, next);
    for (uint64_t k = 0; k < 4; k++)
        CHECK(ht_rates_at(rates, 7 + k / 2, k % 2) == next[k]);
    CHECK(ht_rates_at(rates, 0, 1) == 6.0f); /* a worker that is late gets any rate */
    free(rates);
}

int main(void)
{
    a_stretch_has_the_rates_of_its_epochs();
    FINISH();
}

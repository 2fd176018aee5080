/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "base/ht_random.h"
#include "support/check.h"

static void numbers_are_those_of_splitmix64(void)
{
    /* The first outputs of the published generator for seeds 0 and 1234567. */
    const uint64_t seed_0[] = {UINT64_C(0xE220A8397B1DCDAF), UINT64_C(0x6E789E6AA1B965F4),
                               UINT64_C(0x06C45D188009454F)};
    const uint64_t seed_1234567[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                     UINT64_C(9817491932198370423), UINT64_C(4593380528125082431),
                                     UINT64_C(16408922859458223821)};
    for (uint64_t i = 0; i < 3; i++)
        CHECK(ht_random_u64(0, i) == seed_0[i]);
    for (uint64_t i = 0; i < 5; i++)
        CHECK(ht_random_u64(1234567, i) == seed_1234567[i]);
}

/* Every number below n is the image of exactly one number below n. */
static void check_bijection(uint64_t key, uint64_t n)
{
    unsigned char *seen = calloc(n + 1, 1);
    REQUIRE(seen != NULL);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t image = ht_random_permute(key, n, i);
        CHECK(image < n);
        if (image < n)
            seen[image]++;
    }
    for (uint64_t i = 0; i < n; i++)
        CHECK(seen[i] == 1);
    free(seen);
}

static void permute_is_a_bijection(void)
{
    for (uint64_t n = 1; n <= 300; n++)
        for (uint64_t key = 0; key < 3; key++)
            check_bijection(key * UINT64_C(0x9E3779B97F4A7C15), n);
    check_bijection(5, 1000);
    for (unsigned k = 9; k <= 17; k++)
        for (uint64_t n = ((uint64_t)1 << k) - 1; n <= ((uint64_t)1 << k) + 1; n++)
            check_bijection(k, n);
}

static void permute_of_fewer_than_two_is_the_identity(void)
{
    CHECK(ht_random_permute(1, 0, 0) == 0);
    CHECK(ht_random_permute(1, 1, 0) == 0);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void large_permutations_stay_in_range_and_do_not_collide(void)
{
    enum { N_SAMPLES = 2000 };
    const uint64_t sizes[] = {(UINT64_C(1) << 33) + 1, UINT64_C(1) << 40, (UINT64_C(1) << 62) - 1,
                              UINT64_C(1) << 62};
    static uint64_t images[2 * N_SAMPLES];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (uint64_t i = 0; i < N_SAMPLES; i++) {
            images[2 * i] = ht_random_permute(s, sizes[s], i);
            images[2 * i + 1] = ht_random_permute(s, sizes[s], sizes[s] - 1 - i);
        }
        qsort(images, 2 * N_SAMPLES, sizeof *images, by_value);
        CHECK(images[2 * N_SAMPLES - 1] < sizes[s]);
        for (size_t i = 1; i < 2 * N_SAMPLES; i++)
            CHECK(images[i - 1] < images[i]);
    }
}

static void permutations_look_random_and_depend_on_the_key(void)
{
    const uint64_t n = 1 << 14;
    double distance = 0.0;
    uint64_t same_place = 0, same_as_other_key = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t image = ht_random_permute(7, n, i);
        distance += (double)(image > i ? image - i : i - image) / (double)n;
        same_place += image == i;
        same_as_other_key += image == ht_random_permute(8, n, i);
    }
    /* A random permutation moves by n/3 on average and has one fixed point. */
    CHECK_CLOSE(distance / (double)n, 1.0 / 3.0, 0.02);
    CHECK(same_place < 10);
    CHECK(same_as_other_key < 10);
}

int main(void)
{
    numbers_are_those_of_splitmix64();
    permute_is_a_bijection();
    permute_of_fewer_than_two_is_the_identity();
    large_permutations_stay_in_range_and_do_not_collide();
    permutations_look_random_and_depend_on_the_key();
    FINISH();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Values as bytes: those that differ arrive bit for bit; bodies from whomever are checked. */
#include "share/ht_values.h"

#include <stdlib.h>
#include <string.h>

#include "base/ht_random.h"
#include "support/check.h"

enum { MOST = 300, STRIDE = MOST + 20, ROOM = 4 * MOST * HT_VALUES_MOST_ARRAYS + 64 };

static float values[HT_VALUES_MOST_ARRAYS * STRIDE], base[HT_VALUES_MOST_ARRAYS * STRIDE],
    found[HT_VALUES_MOST_ARRAYS * STRIDE];

/* Any bits: NaN, infinities and -0 as well. */
static void fill(float *array, uint64_t seed)
{
    for (uint64_t i = 0; i < HT_VALUES_MOST_ARRAYS * STRIDE; i++) {
        uint32_t bits = (uint32_t)ht_random_u64(seed, i);
        memcpy(array + i, &bits, sizeof bits);
    }
}

/* Changes one value in so many of them. */
static void change(int64_t n, int arrays, uint64_t one_in, uint64_t seed)
{
    memcpy(values, base, sizeof base);
    for (int k = 0; k < arrays; k++)
        for (int64_t i = 0; i < n; i++)
            if (ht_random_u64(seed, (uint64_t)(k * STRIDE + i)) % one_in == 0)
                values[k * STRIDE + i] = (float)i + 0.5f * (float)k;
}

/* Returns a body in memory of its own size, so that a sanitizer sees what is read beyond it. */
static uint8_t *cut_to(const uint8_t *body, size_t nbytes)
{
    uint8_t *copy = malloc(nbytes > 0 ? nbytes : 1);
    REQUIRE(copy != NULL);
    memcpy(copy, body, nbytes);
    return copy;
}

static void what_differs_arrives_bit_for_bit(int64_t n, int arrays, uint64_t one_in)
{
    static uint8_t body[ROOM];
    fill(base, (uint64_t)n);
    change(n, arrays, one_in, 7 * (uint64_t)n + one_in);
    memset(body, 0xff, sizeof body);
    size_t nbytes = ht_values_encode(values, base, n, arrays, STRIDE, body);
    CHECK(nbytes <= ht_values_most_nbytes(n, arrays));
    CHECK(one_in > 1 || nbytes == ht_values_most_nbytes(n, arrays));
    CHECK(body[ht_values_most_nbytes(n, arrays)] == 0xff); /* nothing is written beyond it */
    uint8_t *whole = cut_to(body, nbytes);
    REQUIRE(ht_values_is_body(whole, nbytes, n, arrays));
    memcpy(found, base, sizeof base);
    ht_values_decode(whole, n, arrays, STRIDE, found);
    CHECK(memcmp(found, values, sizeof found) == 0);
    free(whole);
}

static void equal_values_are_no_bytes_but_the_head(int64_t n)
{
    uint8_t body[ROOM];
    fill(base, 3);
    CHECK(ht_values_encode(base, base, n, 3, STRIDE, body) == ht_values_most_nbytes(n, 0));
}

/* 0 and -0 are equal, and differ in a bit. */
static void the_sign_of_zero_is_a_change(void)
{
    uint8_t body[ROOM];
    float zero[HT_VALUES_GROUP] = {0.0f}, negative[HT_VALUES_GROUP] = {0.0f};
    negative[3] = -0.0f;
    size_t nbytes = ht_values_encode(negative, zero, HT_VALUES_GROUP, 1, HT_VALUES_GROUP, body);
    CHECK(nbytes == ht_values_most_nbytes(HT_VALUES_GROUP, 1));
    ht_values_decode(body, HT_VALUES_GROUP, 1, HT_VALUES_GROUP, zero);
    CHECK(memcmp(zero, negative, sizeof zero) == 0);
}

static void other_bodies_are_refused(int64_t n, int arrays)
{
    static uint8_t body[ROOM];
    fill(base, 5);
    change(n, arrays, 3, (uint64_t)n);
    size_t nbytes = ht_values_encode(values, base, n, arrays, STRIDE, body);
    for (size_t shorter = 0; shorter < nbytes; shorter++) {
        uint8_t *cut = cut_to(body, shorter);
        CHECK(!ht_values_is_body(cut, shorter, n, arrays));
        free(cut);
    }
    body[nbytes] = 0;
    CHECK(!ht_values_is_body(body, nbytes + 1, n, arrays));
    /* A bit more or less than there are values; also beyond the last group. */
    int64_t n_bits = 8 * (int64_t)ht_values_most_nbytes(n, 0);
    for (int64_t bit = 0; bit < n_bits; bit++) {
        uint8_t *wrong = cut_to(body, nbytes);
        wrong[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!ht_values_is_body(wrong, nbytes, n, arrays));
        free(wrong);
    }
}

static void a_body_of_nothing_is_empty(void)
{
    uint8_t body[4] = {0};
    CHECK(ht_values_encode(values, base, 0, 2, STRIDE, body) == 0);
    CHECK(ht_values_is_body(body, 0, 0, 2));
    CHECK(!ht_values_is_body(body, 4, 0, 2));
}

int main(void)
{
    for (int arrays = 1; arrays <= HT_VALUES_MOST_ARRAYS; arrays++)
        for (int64_t n = 1; n <= MOST; n++) {
            for (uint64_t one_in = 1; one_in <= 64; one_in *= 4)
                what_differs_arrives_bit_for_bit(n, arrays, one_in);
            if (n % 37 < 3)
                other_bodies_are_refused(n, arrays);
        }
    for (int64_t n = 1; n <= MOST; n += 13)
        equal_values_are_no_bytes_but_the_head(n);
    the_sign_of_zero_is_a_change();
    a_body_of_nothing_is_empty();
    FINISH();
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "share/ht_segment.h"
#include "support/check.h"

static int is_zero(const unsigned char *p, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++)
        if (p[i] != 0)
            return 0;
    return 1;
}

static void a_header_stands_at_the_start(void)
{
    ht_segment_t *segment = NULL;
    REQUIRE(ht_segment_create(1000, &segment) == HT_OK);
    CHECK(segment->magic == HT_SEGMENT_MAGIC);
    CHECK(segment->layout == HT_SEGMENT_LAYOUT);
    CHECK(segment->nbytes >= segment->used + 1000);
    ht_segment_detach(segment);
}

static void carved_memory_is_aligned_zeroed_and_disjoint(void)
{
    const size_t sizes[] = {1, 127, 128, 129, 4096, 3 << 20, 7, 0, 64};
    enum { N = sizeof sizes / sizeof *sizes };
    size_t total = 0;
    for (int i = 0; i < N; i++) {
        CHECK(ht_segment_carved_nbytes(sizes[i]) >= sizes[i]);
        CHECK(ht_segment_carved_nbytes(sizes[i]) < sizes[i] + HT_LINE);
        CHECK(ht_segment_carved_nbytes(sizes[i]) % HT_LINE == 0);
        total += ht_segment_carved_nbytes(sizes[i]);
    }
    ht_segment_t *segment = NULL;
    REQUIRE(ht_segment_create(total, &segment) == HT_OK);
    unsigned char *carved[N];
    for (int i = 0; i < N; i++) {
        carved[i] = ht_segment_carve(segment, sizes[i]);
        REQUIRE(carved[i] != NULL);
        CHECK((uintptr_t)carved[i] % HT_LINE == 0);
        CHECK(is_zero(carved[i], sizes[i]));
        memset(carved[i], i + 1, sizes[i]);
    }
    /* What was written to one piece is still there: none overlaps. */
    for (int i = 0; i < N; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            if (carved[i][k] != i + 1) {
                CHECK_NEVER("carved pieces overlap");
                break;
            }
    CHECK(segment->magic == HT_SEGMENT_MAGIC);
    ht_segment_detach(segment);
}

static void a_full_segment_gives_null(void)
{
    ht_segment_t *segment = NULL;
    REQUIRE(ht_segment_create(1, &segment) == HT_OK);
    uint64_t left = segment->nbytes - segment->used;
    CHECK(ht_segment_carve(segment, left + 1) == NULL);
    CHECK(ht_segment_carve(segment, left - HT_LINE) != NULL);
    CHECK(ht_segment_carve(segment, HT_LINE + 1) == NULL);
    CHECK(ht_segment_carve(segment, HT_LINE) != NULL);
    CHECK(ht_segment_carve(segment, 1) == NULL);
    ht_segment_detach(segment);
}

static void an_overflowing_size_gives_null_and_changes_nothing(void)
{
    ht_segment_t *segment = NULL;
    REQUIRE(ht_segment_create(1000, &segment) == HT_OK);
    uint64_t used = segment->used;
    for (size_t less = 0; less < 2 * HT_LINE; less++)
        CHECK(ht_segment_carve(segment, SIZE_MAX - less) == NULL);
    CHECK(ht_segment_carve(segment, segment->nbytes) == NULL);
    CHECK(segment->used == used);
    CHECK(ht_segment_carve(segment, 1000) != NULL);
    ht_segment_detach(segment);
}

static void what_is_too_big_is_refused(void)
{
    ht_segment_t *segment = NULL;
    CHECK(ht_segment_create(SIZE_MAX, &segment) != HT_OK);
    CHECK(ht_segment_create(SIZE_MAX - HT_LINE, &segment) != HT_OK);
    CHECK(ht_segment_create(SIZE_MAX / 2 + 1, &segment) != HT_OK);
    CHECK(ht_segment_create((size_t)1 << 61, &segment) == -ENOMEM);
    CHECK(segment == NULL);
    ht_segment_detach(segment);
}

int main(void)
{
    a_header_stands_at_the_start();
    carved_memory_is_aligned_zeroed_and_disjoint();
    a_full_segment_gives_null();
    an_overflowing_size_gives_null_and_changes_nothing();
    what_is_too_big_is_refused();
    FINISH();
}

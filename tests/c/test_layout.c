/* SPDX-License-Identifier: BSD-3-Clause */
/* Layouts: parts are aligned, apart from each other and within the segment. */
#include "share/ht_layout.h"

#include <string.h>

#include "support/check.h"

enum { TINY, ABSENT, MANY, NONE, LARGE, N_PARTS };

static const ht_part_t parts[N_PARTS] = {
    [TINY] = {1, 1, 0},  [ABSENT] = {0, 7, 0},      [MANY] = {129, 5, 0},
    [NONE] = {64, 0, 0}, [LARGE] = {3 << 20, 2, 0},
};

static void fill(unsigned char *piece, size_t nbytes, unsigned char with)
{
    CHECK((uintptr_t)piece % HT_LINE == 0);
    for (size_t k = 0; k < nbytes; k++)
        CHECK(piece[k] == 0);
    memset(piece, with, nbytes);
}

static void pieces_are_aligned_zeroed_and_disjoint(void)
{
    ht_layout_t layout;
    ht_segment_t *segment = NULL;
    int32_t fd;
    ht_layout_init(&layout, parts, N_PARTS);
    REQUIRE(ht_segment_create(layout.nbytes, 0, "", 0, &fd, &segment) == HT_OK);
    unsigned char number = 0;
    for (int p = 0; p < N_PARTS; p++)
        for (size_t i = 0; parts[p].nbytes > 0 && i < parts[p].count; i++)
            fill(ht_layout_at(&layout, segment, p, i), parts[p].nbytes, ++number);
    CHECK(number == 1 + 5 + 2);
    number = 0;
    for (int p = 0; p < N_PARTS; p++)
        for (size_t i = 0; parts[p].nbytes > 0 && i < parts[p].count; i++) {
            const unsigned char *piece = ht_layout_at(&layout, segment, p, i);
            number++;
            CHECK(piece[0] == number && piece[parts[p].nbytes - 1] == number);
        }
    CHECK(segment->magic == HT_SEGMENT_MAGIC);
    ht_segment_detach(segment, fd);
}

static void the_size_is_that_of_header_and_whole_lines(void)
{
    ht_layout_t layout;
    ht_layout_init(&layout, parts, N_PARTS);
    CHECK(layout.nbytes == HT_SEGMENT_HEADER_NBYTES + HT_LINE * (1 + 5 * 2) + 2 * (3 << 20));
    ht_layout_init(&layout, parts, 0);
    CHECK(layout.nbytes == HT_SEGMENT_HEADER_NBYTES);
}

static void a_part_that_a_run_does_not_have_is_nowhere(void)
{
    ht_layout_t layout;
    ht_segment_t segment;
    ht_layout_init(&layout, parts, N_PARTS);
    CHECK(ht_layout_at(&layout, &segment, ABSENT, 0) == NULL);
    CHECK(ht_layout_at(&layout, &segment, ABSENT, 6) == NULL);
}

int main(void)
{
    pieces_are_aligned_zeroed_and_disjoint();
    the_size_is_that_of_header_and_whole_lines();
    a_part_that_a_run_does_not_have_is_nowhere();
    FINISH();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments: their header, and what is refused. */
#include "share/ht_segment.h"

#include <errno.h>
#include <string.h>

#include "base/ht_build.h"
#include "support/check.h"

static const char record[] = "a record";
enum { NBYTES = 3 << 20 }; /* of parts and header */

static ht_segment_t *create(size_t nbytes)
{
    ht_segment_t *segment = NULL;
    REQUIRE(ht_segment_create(nbytes, 0, record, sizeof record, &segment) == HT_OK);
    return segment;
}

static void a_header_stands_before_zeroed_memory(void)
{
    ht_segment_t *segment = create(NBYTES);
    CHECK((uintptr_t)segment % HT_LINE == 0);
    CHECK(segment->magic == HT_SEGMENT_MAGIC);
    CHECK(segment->layout == HT_SEGMENT_LAYOUT);
    CHECK(segment->build == ht_build_id());
    CHECK(segment->nbytes == ht_segment_mapped_nbytes(NBYTES) && segment->nbytes >= NBYTES);
    const unsigned char *bytes = (const unsigned char *)segment;
    size_t n_written = 0;
    for (size_t i = sizeof *segment; i < NBYTES; i++)
        n_written += bytes[i] != 0;
    CHECK(n_written == 0);
    ht_segment_detach(segment);
}

static void a_build_has_a_number_that_does_not_change(void)
{
    CHECK(ht_build_id() != 0); /* the linkers that we test with write one */
    CHECK(ht_build_id() == ht_build_id());
}

static void the_record_comes_back(void)
{
    ht_segment_t *segment = create(NBYTES);
    char copy[sizeof record] = {0};
    CHECK(ht_segment_check(segment, segment->nbytes, copy, sizeof copy) == HT_OK);
    CHECK(memcmp(copy, record, sizeof record) == 0);
    ht_segment_detach(segment);
}

static void a_segment_of_another_kind_is_refused(void)
{
    ht_segment_t *segment = create(NBYTES);
    const ht_segment_t sound = *segment;
    char copy[sizeof record + 1] = {0};
    CHECK(ht_segment_check(segment, segment->nbytes, copy, sizeof record - 1) == HT_EINVAL);
    CHECK(ht_segment_check(segment, segment->nbytes, copy, sizeof record + 1) == HT_EINVAL);
    CHECK(ht_segment_check(segment, 0, copy, sizeof record) == HT_EINVAL);
    CHECK(ht_segment_check(segment, segment->nbytes - 1, copy, sizeof record) == HT_EINVAL);
    CHECK(ht_segment_check(segment, segment->nbytes + 1, copy, sizeof record) == HT_EINVAL);
    segment->magic++;
    CHECK(ht_segment_check(segment, sound.nbytes, copy, sizeof record) == HT_EINVAL);
    *segment = sound;
    segment->layout--;
    CHECK(ht_segment_check(segment, sound.nbytes, copy, sizeof record) == HT_EINVAL);
    *segment = sound;
    segment->build ^= 1;
    CHECK(ht_segment_check(segment, sound.nbytes, copy, sizeof record) == HT_EINVAL);
    *segment = sound;
    CHECK(copy[0] == 0); /* nothing was copied */
    CHECK(ht_segment_check(segment, sound.nbytes, copy, sizeof record) == HT_OK);
    ht_segment_detach(segment);
}

static void what_is_too_big_or_too_small_is_refused(void)
{
    static const char large[HT_SEGMENT_RECORD + 1];
    const size_t nbytes[] = {0, HT_SEGMENT_HEADER_NBYTES - 1, SIZE_MAX, SIZE_MAX / 2 + 1};
    ht_segment_t *segment = NULL;
    for (size_t i = 0; i < sizeof nbytes / sizeof *nbytes; i++)
        CHECK(ht_segment_create(nbytes[i], 0, record, sizeof record, &segment) == HT_EINVAL);
    CHECK(ht_segment_create(NBYTES, 0, large, sizeof large, &segment) == HT_EINVAL);
    CHECK(ht_segment_create((size_t)1 << 61, 0, record, sizeof record, &segment) == -ENOMEM);
    CHECK(segment == NULL);
    ht_segment_detach(segment);
    CHECK(ht_segment_create(NBYTES, 0, large, HT_SEGMENT_RECORD, &segment) == HT_OK);
    ht_segment_detach(segment);
}

int main(void)
{
    a_header_stands_before_zeroed_memory();
    a_build_has_a_number_that_does_not_change();
    the_record_comes_back();
    a_segment_of_another_kind_is_refused();
    what_is_too_big_or_too_small_is_refused();
    FINISH();
}

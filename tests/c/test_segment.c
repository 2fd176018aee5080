/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments: their header, other processes that attach, and what is refused. */
#define _GNU_SOURCE
#include "share/ht_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ht_build.h"
#include "base/ht_memfd.h"
#include "support/check.h"

static const char record[] = "a record";
enum { NBYTES = 3 << 20 }; /* of parts and header */

/* Returns how many descriptors are open, of the first few. */
static int n_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 64; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static ht_segment_t *create(size_t nbytes)
{
    ht_segment_t *segment = NULL;
    int32_t fd;
    REQUIRE(ht_segment_create(nbytes, 0, record, sizeof record, &fd, &segment) == HT_OK);
    CHECK(fd == -1);
    return segment;
}

/* Returns how many bytes behind the header are not 0. */
static size_t n_written_behind(const ht_segment_t *segment)
{
    const unsigned char *bytes = (const unsigned char *)segment;
    size_t n = 0;
    for (size_t i = sizeof *segment; i < segment->nbytes; i++)
        n += bytes[i] != 0;
    return n;
}

static void a_header_stands_before_zeroed_memory(void)
{
    ht_segment_t *segment = create(NBYTES);
    CHECK((uintptr_t)segment % HT_LINE == 0);
    CHECK(segment->magic == HT_SEGMENT_MAGIC);
    CHECK(segment->layout == HT_SEGMENT_LAYOUT);
    CHECK(segment->build == ht_build_id());
    CHECK(segment->nbytes == ht_segment_mapped_nbytes(NBYTES) && segment->nbytes >= NBYTES);
    CHECK(n_written_behind(segment) == 0);
    ht_segment_detach(segment, -1);
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
    ht_segment_detach(segment, -1);
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
    ht_segment_detach(segment, -1);
}

static void what_is_too_big_or_too_small_is_refused(void)
{
    static const char large[HT_SEGMENT_RECORD + 1];
    const size_t nbytes[] = {0, HT_SEGMENT_HEADER_NBYTES - 1, SIZE_MAX, SIZE_MAX / 2 + 1};
    ht_segment_t *segment = NULL;
    int32_t fd;
    for (size_t i = 0; i < sizeof nbytes / sizeof *nbytes; i++)
        CHECK(ht_segment_create(nbytes[i], 0, record, sizeof record, &fd, &segment) == HT_EINVAL);
    CHECK(ht_segment_create(NBYTES, 0, large, sizeof large, &fd, &segment) == HT_EINVAL);
    CHECK(ht_segment_create((size_t)1 << 61, 0, record, sizeof record, &fd, &segment) == -ENOMEM);
    int before = n_descriptors();
    CHECK(ht_segment_create((size_t)1 << 61, 1, record, sizeof record, &fd, &segment) == -ENOMEM);
    CHECK(n_descriptors() == before);
    CHECK(segment == NULL);
    ht_segment_detach(segment, -1);
    CHECK(ht_segment_create(NBYTES, 0, large, HT_SEGMENT_RECORD, &fd, &segment) == HT_OK);
    ht_segment_detach(segment, -1);
}

/* ---- shared with other processes ------------------------------------------- */

static ht_segment_t *create_shared(int32_t *fd)
{
    ht_segment_t *segment = NULL;
    REQUIRE(ht_segment_create(NBYTES, 1, record, sizeof record, fd, &segment) == HT_OK);
    REQUIRE(*fd > 2);
    return segment;
}

static void a_shared_segment_is_sealed_and_goes_with_its_descriptor(void)
{
    int32_t fd;
    int before = n_descriptors();
    ht_segment_t *segment = create_shared(&fd);
    CHECK((uintptr_t)segment % HT_MEMFD_PAGE == 0 && n_descriptors() == before + 1);
    CHECK(n_written_behind(segment) == 0);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(ftruncate(fd, NBYTES / 2) != 0 && errno == EPERM);
    CHECK(ftruncate(fd, 16 * NBYTES) != 0 && errno == EPERM);
    ht_segment_detach(segment, fd);
    CHECK(n_descriptors() == before && fcntl(fd, F_GETFD) == -1);
}

/* Attaches in another process, which adds 1 to the byte behind the header; returns its exit
 * status. */
static int attach_elsewhere(int32_t fd)
{
    pid_t child = fork();
    if (child == 0) {
        ht_segment_t *there = NULL;
        char copy[sizeof record] = {0};
        ht_err_t err = ht_segment_attach(fd, &there);
        if (err != HT_OK)
            _exit(err);
        (void)ht_segment_check(there, there->nbytes, copy, sizeof copy);
        if (memcmp(copy, record, sizeof copy) != 0)
            _exit(100);
        ((unsigned char *)there)[HT_SEGMENT_HEADER_NBYTES]++;
        _exit(0);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void another_process_attaches_and_shares_the_memory(void)
{
    int32_t fd;
    ht_segment_t *segment = create_shared(&fd), *second = NULL;
    CHECK(attach_elsewhere(fd) == 0);
    CHECK(((unsigned char *)segment)[HT_SEGMENT_HEADER_NBYTES] == 1);
    REQUIRE(ht_segment_attach(fd, &second) == HT_OK);
    CHECK(second != segment && (uintptr_t)second % HT_MEMFD_PAGE == 0);
    CHECK(((unsigned char *)second)[HT_SEGMENT_HEADER_NBYTES] == 1);
    ht_segment_detach(second, -1);
    ht_segment_detach(segment, fd);
}

static void what_is_no_sound_segment_is_not_attached(void)
{
    int32_t fd;
    ht_segment_t *segment = create_shared(&fd), *second = NULL;
    struct {
        uint64_t *field;
        uint64_t change;
    } changes[] = {{&segment->magic, 1},
                   {&segment->layout, 1},
                   {&segment->build, 1},
                   {&segment->nbytes, 4096}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        *changes[i].field += changes[i].change;
        CHECK(ht_segment_attach(fd, &second) == HT_EINVAL);
        CHECK(attach_elsewhere(fd) == HT_EINVAL);
        *changes[i].field -= changes[i].change;
    }
    CHECK(ht_segment_attach(-1, &second) == HT_EINVAL);
    int plain = memfd_create("test", MFD_ALLOW_SEALING);
    REQUIRE(plain >= 0 && ftruncate(plain, NBYTES) == 0);
    CHECK(write(plain, segment, HT_SEGMENT_HEADER_NBYTES) == HT_SEGMENT_HEADER_NBYTES);
    CHECK(ht_segment_attach(plain, &second) == HT_EINVAL); /* its size can change */
    CHECK(fcntl(plain, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    CHECK(ht_segment_attach(plain, &second) == HT_EINVAL);
    CHECK(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW) == 0);
    CHECK(ht_segment_attach(plain, &second) == HT_EINVAL); /* it is shorter than its header says */
    close(plain);
    CHECK(second == NULL);
    CHECK(attach_elsewhere(fd) == 0);
    ht_segment_detach(segment, fd);
}

static void another_clock_is_refused_until_the_segment_is_stamped(void)
{
    int32_t fd;
    ht_segment_t *segment = create_shared(&fd);
    const int64_t off_ns[] = {-3600000000000, -1500000000, 1500000000, 3600000000000};
    for (size_t i = 0; i < sizeof off_ns / sizeof *off_ns; i++) {
        ht_add_relaxed(&segment->stamp, (uint64_t)off_ns[i]);
        CHECK(attach_elsewhere(fd) == HT_EINVAL);
        ht_segment_stamp(segment);
        CHECK(attach_elsewhere(fd) == 0);
    }
    ht_add_relaxed(&segment->stamp, 500000000u);
    CHECK(attach_elsewhere(fd) == 0);
    ht_segment_detach(segment, fd);
}

int main(void)
{
    a_header_stands_before_zeroed_memory();
    a_build_has_a_number_that_does_not_change();
    the_record_comes_back();
    a_segment_of_another_kind_is_refused();
    what_is_too_big_or_too_small_is_refused();
    a_shared_segment_is_sealed_and_goes_with_its_descriptor();
    another_process_attaches_and_shares_the_memory();
    what_is_no_sound_segment_is_not_attached();
    another_clock_is_refused_until_the_segment_is_stamped();
    FINISH();
}

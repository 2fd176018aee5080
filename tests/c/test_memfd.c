/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory by descriptors: seals, what is written, mappings, and what is refused. */
#define _GNU_SOURCE
#include "base/ht_memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/check.h"

enum { NBYTES = 5000 };

static int32_t create(size_t nbytes)
{
    int32_t fd = -1;
    REQUIRE(ht_memfd_create("test", nbytes, &fd) == HT_OK && fd > 2);
    return fd;
}

static char *map(int32_t fd, size_t nbytes, int is_writable)
{
    void *memory = NULL;
    REQUIRE(ht_memfd_map(fd, 0, nbytes, is_writable, &memory) == HT_OK);
    CHECK((uintptr_t)memory % HT_MEMFD_PAGE == 0);
    return memory;
}

/* Returns whether a page of this process is mapped. */
static int is_mapped(const char *at)
{
    unsigned char in_core;
    return mincore((void *)(uintptr_t)at, 1, &in_core) == 0;
}

static void memory_is_zeroed_shared_and_of_a_fixed_size(void)
{
    int32_t fd = create(NBYTES);
    size_t nbytes = 0;
    CHECK(ht_memfd_check(fd, &nbytes) == HT_OK && nbytes == NBYTES);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(ftruncate(fd, NBYTES - 1) != 0 && errno == EPERM);
    CHECK(ftruncate(fd, NBYTES + 1) != 0 && errno == EPERM);
    char *first = map(fd, NBYTES, 1), *second = map(fd, NBYTES, 0);
    int n_written = 0;
    for (int i = 0; i < NBYTES; i++)
        n_written += second[i] != 0;
    CHECK(n_written == 0);
    first[NBYTES - 1] = 7;
    CHECK(second[NBYTES - 1] == 7);
    munmap(first, NBYTES);
    munmap(second, NBYTES);
    close(fd);
}

static void nothing_of_the_reservation_stays(void)
{
    int32_t fd = create(NBYTES);
    char *memory = map(fd, NBYTES, 1);
    CHECK(is_mapped(memory) && is_mapped(memory + 4096));
    CHECK(!is_mapped(memory + 8192));
    munmap(memory, NBYTES);
    CHECK(!is_mapped(memory) && !is_mapped(memory + 4096));
    close(fd);
}

/* Returns the signal that ended a process which stored to memory. */
static int store_elsewhere(char *memory)
{
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)memory = 1;
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void frozen_memory_can_be_read_and_not_written(void)
{
    static const char text[] = "rows";
    int32_t fd = create(NBYTES);
    CHECK(ht_memfd_write(fd, text, sizeof text, 4090) == HT_OK);
    char *writable = map(fd, NBYTES, 1);
    CHECK(ht_memfd_freeze(fd) == -EBUSY);
    munmap(writable, NBYTES);
    CHECK(ht_memfd_freeze(fd) == HT_OK);
    void *memory = NULL;
    CHECK(ht_memfd_map(fd, 0, NBYTES, 1, &memory) == -EPERM && memory == NULL);
    CHECK(ht_memfd_write(fd, text, sizeof text, 0) == -EPERM);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) != 0); /* the seals are sealed */
    char *readable = map(fd, NBYTES, 0);
    CHECK(memcmp(readable + 4090, text, sizeof text) == 0);
    CHECK(store_elsewhere(readable) == SIGSEGV);
    munmap(readable, NBYTES);
    close(fd);
}

static void a_part_is_mapped_from_a_huge_page_on(void)
{
    static const char text[] = "behind";
    int32_t fd = create(2 * HT_MEMFD_PAGE);
    CHECK(ht_memfd_write(fd, text, sizeof text, HT_MEMFD_PAGE) == HT_OK);
    void *memory = NULL;
    REQUIRE(ht_memfd_map(fd, HT_MEMFD_PAGE, sizeof text, 0, &memory) == HT_OK);
    CHECK(memcmp(memory, text, sizeof text) == 0);
    munmap(memory, sizeof text);
    memory = NULL;
    CHECK(ht_memfd_map(fd, 4096, sizeof text, 0, &memory) == HT_EINVAL);
    CHECK(ht_memfd_map(fd, 0, 0, 0, &memory) == HT_EINVAL);
    CHECK(ht_memfd_map(fd, 0, SIZE_MAX, 0, &memory) == HT_EINVAL);
    CHECK(ht_memfd_map(fd, 0, (size_t)1 << 61, 0, &memory) == -ENOMEM);
    CHECK(ht_memfd_map(-1, 0, NBYTES, 0, &memory) == -EBADF);
    CHECK(memory == NULL);
    close(fd);
}

static void memory_that_is_taken_is_there_and_zeroed(void)
{
    const size_t nbytes = 3 * HT_MEMFD_PAGE + NBYTES;
    int32_t fd = create(nbytes);
    struct stat status;
    ht_memfd_commit(fd, nbytes);
    REQUIRE(fstat(fd, &status) == 0);
    CHECK((size_t)status.st_blocks * 512 >= nbytes);
    char *memory = map(fd, nbytes, 0);
    size_t n_written = 0;
    for (size_t i = 0; i < nbytes; i++)
        n_written += memory[i] != 0;
    CHECK(n_written == 0);
    munmap(memory, nbytes);
    close(fd);
}

/* Stores in a process that was forked while memory was taken and filled do no harm. */
static void a_fork_keeps_no_memory_from_being_frozen(void)
{
    int ends[2];
    int32_t fd = create(NBYTES);
    REQUIRE(pipe(ends) == 0);
    ht_memfd_commit(fd, NBYTES);
    CHECK(ht_memfd_write(fd, "x", 1, 0) == HT_OK);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        _exit(read(ends[0], &byte, 1) == 1 ? 0 : 1);
    }
    CHECK(ht_memfd_freeze(fd) == HT_OK);
    int status = -1;
    CHECK(write(ends[1], "x", 1) == 1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(ends[0]);
    close(ends[1]);
    close(fd);
}

static void other_descriptors_are_told_apart(void)
{
    size_t nbytes = 0;
    int ends[2], plain = memfd_create("test", MFD_ALLOW_SEALING);
    REQUIRE(plain >= 0 && pipe(ends) == 0);
    CHECK(ht_memfd_check(plain, &nbytes) == HT_EINVAL);
    CHECK(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW) == 0);
    CHECK(ht_memfd_check(plain, &nbytes) == HT_EINVAL);
    CHECK(ht_memfd_check(ends[0], &nbytes) == HT_EINVAL);
    CHECK(ht_memfd_check(-1, &nbytes) == HT_EINVAL);
    CHECK(nbytes == 0);
    CHECK(ht_memfd_freeze(ends[1]) < 0);
    CHECK(ht_memfd_write(-1, "", 1, 0) == -EBADF);
    close(ends[0]);
    close(ends[1]);
    close(plain);
}

/* A program without standard streams does not print into the memory. */
static void descriptors_of_the_standard_streams_are_not_used(void)
{
    int32_t fd = -1;
    int saved = dup(0);
    close(0);
    fd = create(NBYTES);
    CHECK(fcntl(0, F_GETFD) == -1);
    CHECK(dup2(saved, 0) == 0);
    close(saved);
    close(fd);
}

static void a_refusal_leaves_no_descriptor(void)
{
    int32_t fd = -1;
    int next = dup(0);
    close(next);
    CHECK(ht_memfd_create("test", SIZE_MAX, &fd) == -EINVAL); /* a negative size */
    struct rlimit limit, none;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(ht_memfd_create("test", NBYTES, &fd) == -EMFILE);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(fd == -1);
    int after = dup(0);
    CHECK(after == next);
    close(after);
}

int main(void)
{
    memory_is_zeroed_shared_and_of_a_fixed_size();
    nothing_of_the_reservation_stays();
    frozen_memory_can_be_read_and_not_written();
    a_part_is_mapped_from_a_huge_page_on();
    memory_that_is_taken_is_there_and_zeroed();
    a_fork_keeps_no_memory_from_being_frozen();
    other_descriptors_are_told_apart();
    descriptors_of_the_standard_streams_are_not_used();
    a_refusal_leaves_no_descriptor();
    FINISH();
}

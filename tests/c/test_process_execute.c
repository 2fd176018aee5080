/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs as children: what they have, and how they end.  The program is this one: with arguments
 * it is the child.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ht_atomic.h"
#include "base/ht_futex.h"
#include "base/ht_memfd.h"
#include "base/ht_process.h"
#include "support/check.h"

enum { SECOND_NS = 1000000000 };

/* What a child has found; in memory that it gets by a descriptor. */
typedef struct {
    ht_word32_t word;   /* 1: the rest is there */
    ht_word32_t n_open; /* descriptors */
    ht_word32_t is_interrupt_ignored;
    ht_word32_t n_blocked; /* signals */
    ht_word32_t variable;
    ht_word32_t is_named;
    ht_word32_t n_left; /* descriptors, once all are closed */
    ht_word32_t signal_of_parents_end, signal_when_it_outlives;
} found_t;

static found_t *found;
static int32_t found_fd;

/* ---- the child ------------------------------------------------------------ */

static uint32_t n_open(void)
{
    uint32_t n = 0;
    for (int fd = 0; fd < 64; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static uint32_t is_named(void)
{
    char name[32] = {0};
    FILE *file = fopen("/proc/self/comm", "r");
    if (file == NULL || fgets(name, sizeof name, file) == NULL)
        return 0;
    (void)fclose(file);
    return strcmp(name, "ht-worker\n") == 0;
}

/* Arguments: the parent, the descriptor of a found_t or -1. */
static int be_child(char **arguments)
{
    int32_t parent = (int32_t)atol(arguments[0]), fd = (int32_t)atol(arguments[1]);
    void *memory = NULL;
    if (fd < 0) {
        ht_process_adopt(parent);
        for (;;)
            pause();
    }
    uint32_t n = n_open();
    if (ht_memfd_map(fd, 0, sizeof(found_t), 1, &memory) != HT_OK)
        return 2;
    found_t *f = memory;
    ht_store_relaxed(&f->n_open, n);
    struct sigaction action;
    (void)sigaction(SIGINT, NULL, &action);
    ht_store_relaxed(&f->is_interrupt_ignored, action.sa_handler == SIG_IGN);
    sigset_t blocked;
    (void)sigprocmask(SIG_SETMASK, NULL, &blocked);
    n = 0;
    for (int number = 1; number < 32; number++)
        n += sigismember(&blocked, number) == 1;
    ht_store_relaxed(&f->n_blocked, n);
    const char *variable = getenv("HT_TEST");
    ht_store_relaxed(&f->variable, variable == NULL ? 0u : (uint32_t)atol(variable));
    ht_process_adopt(parent);
    ht_store_relaxed(&f->is_named, is_named());
    int on_end = -1;
    (void)prctl(PR_GET_PDEATHSIG, &on_end);
    ht_store_relaxed(&f->signal_of_parents_end, (uint32_t)on_end);
    ht_process_outlive();
    (void)prctl(PR_GET_PDEATHSIG, &on_end);
    ht_store_relaxed(&f->signal_when_it_outlives, (uint32_t)on_end);
    ht_process_close_all();
    ht_store_relaxed(&f->n_left, n_open());
    ht_store_relaxed(&f->word, 1u);
    ht_futex_wake(&f->word);
    for (;;)
        pause();
}

/* ---- the parent ----------------------------------------------------------- */

static char self[] = "/proc/self/exe";

static ht_process_t execute(char *path, pid_t parent, int32_t fd)
{
    char words[2][16], variable[] = "HT_TEST=7";
    (void)snprintf(words[0], sizeof words[0], "%d", (int)parent);
    (void)snprintf(words[1], sizeof words[1], "%d", (int)fd);
    char *const argv[] = {path, words[0], words[1], NULL}, *const environment[] = {variable, NULL};
    const ht_program_t program = {
        .argv = argv, .environment = environment, .kept = &fd, .n_kept = fd < 0 ? 0 : 1};
    ht_process_t process = {0};
    REQUIRE(ht_process_execute(&program, &process) == HT_OK);
    CHECK(process.pid > 0 && process.pidfd >= 0);
    return process;
}

static ht_process_t execute_self(void)
{
    ht_store_relaxed(&found->word, 0u);
    ht_process_t process = execute(self, getpid(), found_fd);
    uint64_t deadline = ht_now_ns() + 20ull * SECOND_NS;
    while (ht_load_relaxed(&found->word) == 0)
        REQUIRE(ht_futex_wait(&found->word, 0, deadline) != HT_ETIMEOUT);
    return process;
}

static ht_fate_t reap(ht_process_t *process, int32_t *detail)
{
    ht_fate_t fate = HT_RUNNING;
    ht_err_t err;
    do
        err = ht_process_reap(process, 20000, &fate, detail);
    while (err == HT_EINTR);
    REQUIRE(err == HT_OK);
    return fate;
}

static void end(ht_process_t *process)
{
    int32_t detail = -1;
    ht_process_signal(process, SIGKILL);
    CHECK(reap(process, &detail) == HT_KILLED && detail == SIGKILL);
}

static void a_program_has_what_it_is_given_alone(void)
{
    sigset_t all;
    sigfillset(&all);
    int other = open("/dev/null", O_RDONLY); /* not closed on execution */
    REQUIRE(other >= 0 && sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    ht_process_t process = execute_self();
    CHECK(ht_load_relaxed(&found->n_open) == 1);
    CHECK(ht_load_relaxed(&found->is_interrupt_ignored) == 1);
    CHECK(ht_load_relaxed(&found->n_blocked) == 0);
    CHECK(ht_load_relaxed(&found->variable) == 7);
    CHECK(ht_load_relaxed(&found->is_named) == 1);
    CHECK(ht_load_relaxed(&found->n_left) == 0);
    CHECK(ht_load_relaxed(&found->signal_of_parents_end) == SIGKILL);
    CHECK(ht_load_relaxed(&found->signal_when_it_outlives) == 0);
    sigemptyset(&all);
    CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
    close(other);
    end(&process);
}

static void a_program_is_watched_as_a_fork_is(void)
{
    int32_t detail = -1;
    ht_fate_t fate;
    ht_process_t process = execute_self();
    ht_process_signal(&process, SIGINT); /* ignored */
    CHECK(ht_process_reap(&process, 20, &fate, &detail) == HT_ETIMEOUT);
    ht_process_signal(&process, SIGSTOP);
    int n_looks = 0;
    while (ht_process_look(&process) != HT_STOPPED && n_looks++ < 1000)
        usleep(1000);
    CHECK(n_looks < 1000);
    end(&process);
}

static void a_program_that_is_not_there_ends_with_127(void)
{
    int32_t detail = -1;
    char nowhere[] = "/nowhere/at/all";
    ht_process_t process = execute(nowhere, getpid(), -1);
    CHECK(reap(&process, &detail) == HT_EXITED && detail == 127);
}

static void a_program_ends_when_its_parent_is_another_one(void)
{
    int32_t detail = -1;
    ht_process_t process = execute(self, getpid() + 1, -1);
    CHECK(reap(&process, &detail) == HT_EXITED && detail == 1);
}

static void who_waits_for_any_child_may_be_told_first(void)
{
    int32_t detail = -1;
    ht_process_t process = execute_self();
    ht_process_signal(&process, SIGKILL);
    CHECK(waitpid(-1, NULL, 0) == process.pid);
    CHECK(reap(&process, &detail) == HT_UNKNOWN && detail == 0);
}

static void execute_and_report(void *argument, uint32_t worker)
{
    (void)worker;
    found_t *f = argument;
    ht_process_t process = execute(self, getpid(), -1);
    ht_store_relaxed(&f->word, (uint32_t)process.pid);
    ht_futex_wake(&f->word);
    for (;;)
        pause();
}

static int runs(pid_t pid)
{
    char path[64], state = 'Z';
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    (void)fscanf(file, "%*d (%*[^)]) %c", &state);
    (void)fclose(file);
    return state != 'Z' && state != 'X';
}

/* A parent that is killed leaves no program, neither before nor after the program has begun. */
static void a_program_does_not_outlive_its_parent(void)
{
    for (useconds_t wait = 0; wait <= 100000; wait += 50000) {
        int32_t detail = -1;
        ht_process_t parent = {0};
        ht_store_relaxed(&found->word, 0u);
        REQUIRE(ht_process_start(execute_and_report, found, 0, &parent) == HT_OK);
        uint64_t deadline = ht_now_ns() + 20ull * SECOND_NS;
        while (ht_load_relaxed(&found->word) == 0)
            REQUIRE(ht_futex_wait(&found->word, 0, deadline) != HT_ETIMEOUT);
        pid_t child = (pid_t)ht_load_relaxed(&found->word);
        usleep(wait);
        CHECK(runs(child));
        ht_process_signal(&parent, SIGKILL);
        CHECK(reap(&parent, &detail) == HT_KILLED);
        int n_looks = 0;
        while (runs(child) && n_looks++ < 5000)
            usleep(1000);
        CHECK(n_looks < 5000);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return be_child(argv + 1);
    void *memory = NULL;
    REQUIRE(ht_memfd_create("found", sizeof(found_t), &found_fd) == HT_OK);
    REQUIRE(ht_memfd_map(found_fd, 0, sizeof(found_t), 1, &memory) == HT_OK);
    found = memory;
    a_program_has_what_it_is_given_alone();
    a_program_is_watched_as_a_fork_is();
    a_program_that_is_not_there_ends_with_127();
    a_program_ends_when_its_parent_is_another_one();
    who_waits_for_any_child_may_be_told_first();
    a_program_does_not_outlive_its_parent();
    FINISH();
}

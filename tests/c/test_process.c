/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes of the core: what a child inherits, and how the parent learns of its end. */
#define _GNU_SOURCE
#include "base/ht_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ht_atomic.h"
#include "base/ht_futex.h"
#include "support/check.h"

enum { SECOND_NS = 1000000000 };

typedef struct {
    ht_word32_t word;
    ht_word32_t worker;
    ht_word32_t pid;
    ht_word32_t n_open;
} shared_t;

static shared_t *shared;

static void note(void *argument, uint32_t worker)
{
    shared_t *s = argument;
    uint32_t n = 0;
    for (int fd = 0; fd < 64; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    ht_store_relaxed(&s->n_open, n);
    ht_store_relaxed(&s->worker, worker);
    ht_store_relaxed(&s->pid, (uint32_t)getpid());
    ht_store_relaxed(&s->word, 1u);
    ht_futex_wake(&s->word);
}

static void stay(void *argument, uint32_t worker)
{
    note(argument, worker);
    for (;;)
        pause();
}

static void crash(void *argument, uint32_t worker)
{
    (void)argument;
    (void)worker;
    raise(SIGSEGV);
}

static ht_process_t start(void (*work)(void *, uint32_t), uint32_t worker)
{
    ht_process_t process = {0};
    ht_store_relaxed(&shared->word, 0u);
    REQUIRE(ht_process_start(work, shared, worker, &process) == HT_OK);
    CHECK(process.pid > 0 && process.pidfd >= 0);
    return process;
}

static void await_note(void)
{
    uint64_t deadline = ht_now_ns() + 10ull * SECOND_NS;
    while (ht_load_relaxed(&shared->word) == 0)
        REQUIRE(ht_futex_wait(&shared->word, 0, deadline) != HT_ETIMEOUT);
}

static ht_fate_t reap(ht_process_t *process, int32_t *detail)
{
    ht_fate_t fate = HT_RUNNING;
    ht_err_t err;
    do
        err = ht_process_reap(process, 10000, &fate, detail);
    while (err == HT_EINTR);
    REQUIRE(err == HT_OK);
    CHECK(process->pidfd == -1);
    return fate;
}

static void a_child_works_and_ends(void)
{
    int32_t detail = -1;
    ht_process_t process = start(note, 7);
    CHECK(reap(&process, &detail) == HT_EXITED && detail == 0);
    CHECK(ht_load_relaxed(&shared->worker) == 7);
    CHECK(ht_load_relaxed(&shared->pid) == (uint32_t)process.pid);
    CHECK(ht_load_relaxed(&shared->n_open) == 0);
}

static void a_crash_is_named(void)
{
    int32_t detail = -1;
    ht_process_t process = start(crash, 0);
    CHECK(reap(&process, &detail) == HT_KILLED && detail == SIGSEGV);
}

static void signals_stop_continue_and_kill(void)
{
    int32_t detail = -1;
    ht_fate_t fate;
    ht_process_t process = start(stay, 0);
    await_note();
    CHECK(ht_process_look(&process) == HT_RUNNING);
    ht_process_signal(&process, SIGINT); /* ignored */
    CHECK(ht_process_reap(&process, 20, &fate, &detail) == HT_ETIMEOUT);
    ht_process_signal(&process, SIGSTOP);
    int n_looks = 0;
    while (ht_process_look(&process) != HT_STOPPED && n_looks++ < 1000)
        usleep(1000);
    CHECK(n_looks < 1000);
    CHECK(ht_process_look(&process) == HT_RUNNING); /* told once */
    ht_process_signal(&process, SIGKILL);
    CHECK(reap(&process, &detail) == HT_KILLED && detail == SIGKILL);
    ht_process_signal(&process, SIGKILL); /* gone: nothing happens */
}

static int n_handled;

static void handle(int number)
{
    (void)number;
    n_handled++;
}

/* A program that collects its children, or counts them, does not see ours. */
static void the_users_own_waits_do_not_see_a_child(void)
{
    int32_t detail = -1;
    signal(SIGCHLD, handle);
    ht_process_t process = start(stay, 0);
    await_note();
    ht_process_signal(&process, SIGKILL);
    usleep(20000);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHECK(reap(&process, &detail) == HT_KILLED && detail == SIGKILL);
    CHECK(n_handled == 0);
    signal(SIGCHLD, SIG_DFL);
}

static void start_and_report(void *argument, uint32_t worker)
{
    (void)worker;
    ht_process_t process;
    if (ht_process_start(stay, argument, 0, &process) != HT_OK)
        _exit(1);
    for (;;)
        pause();
}

/* Returns whether a process runs; one that nobody has reaped yet does not. */
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

/* A parent that is killed leaves no child. */
static void a_child_does_not_outlive_its_parent(void)
{
    int32_t detail = -1;
    ht_process_t parent = start(start_and_report, 0);
    await_note();
    pid_t child = (pid_t)ht_load_relaxed(&shared->pid);
    CHECK(child > 0 && child != parent.pid && runs(child));
    ht_process_signal(&parent, SIGKILL);
    CHECK(reap(&parent, &detail) == HT_KILLED);
    int n_looks = 0;
    while (runs(child) && n_looks++ < 1000)
        usleep(1000);
    CHECK(n_looks < 1000);
}

int main(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    shared = memory;
    a_child_works_and_ends();
    a_crash_is_named();
    signals_stop_continue_and_kill();
    the_users_own_waits_do_not_see_a_child();
    a_child_does_not_outlive_its_parent();
    FINISH();
}

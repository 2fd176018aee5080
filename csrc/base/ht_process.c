/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Design notes.
 *
 * The child is cloned by the system call itself, so that no handler of pthread_atfork runs: those
 * of Python and of BLAS libraries take locks.  It is not announced by SIGCHLD: a handler or a
 * waitpid(-1) of the user's program neither sees it nor takes its status away (waiting needs
 * __WALL).
 *
 * A pidfd is readable when all threads of the process are gone: from then on it stores nothing.
 * The death signal is bound to the thread that forked: a parent that is killed leaves no child.
 * The parent may have gone before the child asked for the signal, so the child looks at its parent.
 * The signal outlasts an execution, but not that of a program with capabilities: so it is asked for
 * a second time.
 *
 * The system announces a child that has executed a program by SIGCHLD, whatever it was cloned with.
 *
 * Tests: tests/c/test_process.c, test_process_execute.c.
 */
#define _GNU_SOURCE
#include "base/ht_process.h"

#include <errno.h>

#ifdef __linux__
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef __WALL
#define __WALL 0x40000000
#endif
#define HT_P_PIDFD 3 /* idtype of waitid, Linux 5.4; missing in older C libraries */

enum { MOST_SIGNALS = 64, MOST_FDS = 1 << 16, NOT_EXECUTED = 127 };

static void close_range_of(uint32_t first, uint32_t last)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, last, 0u) == 0)
        return;
#endif
    for (uint32_t fd = first; fd <= last && fd < MOST_FDS; fd++)
        (void)syscall(SYS_close, fd);
}

/* Closes all descriptors but `kept`, in increasing order, which a program is to have. */
static void close_all_but(const int32_t *kept, int32_t n_kept)
{
    uint32_t first = 0;
    for (int32_t i = 0; i < n_kept; i++) {
        uint32_t fd = (uint32_t)kept[i];
        if (fd > first)
            close_range_of(first, fd - 1);
        (void)fcntl(kept[i], F_SETFD, 0);
        first = fd + 1;
    }
    close_range_of(first, ~0u);
}

void ht_process_close_all(void)
{
    close_all_but(NULL, 0);
}

/* Sets the actions of signals; the C library hides two that it uses itself. */
static void reset_signals(void)
{
    for (int number = 1; number <= MOST_SIGNALS; number++) {
        int is_parents = number == SIGINT || number == SIGTERM || number == SIGHUP;
        struct sigaction action = {.sa_handler = is_parents ? SIG_IGN : SIG_DFL};
        (void)sigaction(number, &action, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void ht_process_adopt(int32_t parent)
{
    reset_signals();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if ((pid_t)syscall(SYS_getppid) != parent)
        _exit(1);
    (void)prctl(PR_SET_NAME, "ht-worker");
}

void ht_process_outlive(void)
{
    (void)prctl(PR_SET_PDEATHSIG, 0);
}

/* What a child does: it calls `work`, or executes `program`. */
typedef struct {
    ht_process_work_t work;
    void *argument;
    uint32_t worker;
    const ht_program_t *program;
} task_t;

_Noreturn static void be_child(const task_t *task, pid_t parent)
{
    ht_process_adopt(parent);
    const ht_program_t *program = task->program;
    if (program != NULL) {
        close_all_but(program->kept, program->n_kept);
        (void)execve(program->argv[0], program->argv, program->environment);
        _exit(NOT_EXECUTED);
    }
    ht_process_close_all();
    task->work(task->argument, task->worker);
    _exit(0);
}

static ht_err_t start(const task_t *task, ht_process_t *process)
{
    pid_t parent = (pid_t)syscall(SYS_getpid);
    int pidfd = -1;
    /* A signal's handler of the parent must not run in the child. */
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    /* No stack: the child goes on with a copy of this one, as after fork. */
    long pid = syscall(SYS_clone, (unsigned long)CLONE_PIDFD, NULL, &pidfd, NULL, NULL);
    if (pid == 0)
        be_child(task, parent);
    int error = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return -error;
    *process = (ht_process_t){.pid = (int32_t)pid, .pidfd = pidfd};
    return HT_OK;
}

ht_err_t ht_process_start(ht_process_work_t work, void *argument, uint32_t worker,
                          ht_process_t *process)
{
    const task_t task = {.work = work, .argument = argument, .worker = worker};
    return start(&task, process);
}

ht_err_t ht_process_execute(const ht_program_t *program, ht_process_t *process)
{
    const task_t task = {.program = program};
    return start(&task, process);
}

ht_err_t ht_process_reap(ht_process_t *process, int32_t milliseconds, ht_fate_t *fate,
                         int32_t *detail)
{
    struct pollfd fd = {.fd = process->pidfd, .events = POLLIN};
    int n = poll(&fd, 1, milliseconds);
    if (n < 0)
        return HT_EINTR;
    if (n == 0)
        return HT_ETIMEOUT;
    siginfo_t info = {0};
    int rc = waitid((idtype_t)HT_P_PIDFD, (id_t)process->pidfd, &info, WEXITED | __WALL);
    if (rc != 0 && errno == EINTR)
        return HT_EINTR;
    *fate = HT_UNKNOWN;
    *detail = 0;
    if (rc == 0) {
        *fate = info.si_code == CLD_EXITED ? HT_EXITED : HT_KILLED;
        *detail = info.si_status;
    }
    (void)close(process->pidfd);
    process->pidfd = -1;
    return HT_OK;
}

ht_fate_t ht_process_look(const ht_process_t *process)
{
    siginfo_t info = {0};
    int rc = waitid((idtype_t)HT_P_PIDFD, (id_t)process->pidfd, &info, WSTOPPED | WNOHANG | __WALL);
    return rc == 0 && info.si_pid != 0 && info.si_code == CLD_STOPPED ? HT_STOPPED : HT_RUNNING;
}

void ht_process_signal(const ht_process_t *process, int number)
{
    if (process->pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, process->pidfd, number, NULL, 0);
}
#else
ht_err_t ht_process_start(ht_process_work_t work, void *argument, uint32_t worker,
                          ht_process_t *process)
{
    (void)work;
    (void)argument;
    (void)worker;
    (void)process;
    return -ENOSYS;
}

ht_err_t ht_process_execute(const ht_program_t *program, ht_process_t *process)
{
    (void)program;
    (void)process;
    return -ENOSYS;
}

void ht_process_adopt(int32_t parent)
{
    (void)parent;
}

void ht_process_outlive(void)
{
}

void ht_process_close_all(void)
{
}

ht_err_t ht_process_reap(ht_process_t *process, int32_t milliseconds, ht_fate_t *fate,
                         int32_t *detail)
{
    (void)process;
    (void)milliseconds;
    *fate = HT_UNKNOWN;
    *detail = 0;
    return HT_OK;
}

ht_fate_t ht_process_look(const ht_process_t *process)
{
    (void)process;
    return HT_RUNNING;
}

void ht_process_signal(const ht_process_t *process, int number)
{
    (void)process;
    (void)number;
}
#endif

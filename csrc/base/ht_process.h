/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_process: processes that are forked to run one function of the core, or to execute a program.
 *
 * Layer L1: may include L0.  A forked child has a copy of the parent's memory, so that nothing is
 * handed over.  The parent may have threads, whose locks the child finds as they were: it must make
 * async-signal-safe calls alone (no malloc, no stdio), and the core is linked without lazy binding.
 * An executed program begins anew, and has the descriptors that it is given.
 * Any thread may start processes; the other calls on one process are one thread's, in turn.
 */
#ifndef HT_PROCESS_H
#define HT_PROCESS_H

#include "base/ht_base.h"

/* A child.
 *
 *   pidfd >= 0   readable once the child is gone, with all of its stores done
 *   pidfd == -1  ht_process_reap has returned HT_OK
 */
typedef struct {
    int32_t pid;
    int32_t pidfd;
} ht_process_t;

/* What a child does. */
typedef void (*ht_process_work_t)(void *argument, uint32_t worker);

/* Starts a child that calls work(argument, worker) and ends.  It has no open descriptor, ignores
 * SIGINT, SIGTERM and SIGHUP, which are for its parent, and takes the default action of every other
 * signal.  It is killed when the thread that called this ends.  -errno when the system refuses:
 * -ENOSYS before Linux 5.4, and elsewhere. */
ht_err_t ht_process_start(ht_process_work_t work, void *argument, uint32_t worker,
                          ht_process_t *process);

/* A program that a child executes. */
typedef struct {
    char *const *argv;        /* its path, then its arguments; ends with NULL */
    char *const *environment; /* ends with NULL */
    const int32_t *kept;      /* the descriptors that it has, in increasing order */
    int32_t n_kept;
} ht_program_t;

/* Starts a child that executes a program, with the signals and the end of ht_process_start.  The
 * system makes it an ordinary child: it sends SIGCHLD, and any wait of the parent sees it.  A
 * program that cannot be executed ends with status 127.  Errors are those of ht_process_start. */
ht_err_t ht_process_execute(const ht_program_t *program, ht_process_t *process);

/* Makes an executed program what a forked child is: named, without handlers of signals, and killed
 * with the thread that started it.  Ends the process if its parent is gone. */
void ht_process_adopt(int32_t parent);

/* Lets this process live on when its parent ends: from now on it must look for that itself. */
void ht_process_outlive(void);

/* Closes all descriptors of this process. */
void ht_process_close_all(void);

/* How a child stands. */
typedef enum { HT_RUNNING = 0, HT_STOPPED, HT_EXITED, HT_KILLED, HT_UNKNOWN } ht_fate_t;

/* Waits until a child is gone, at most so many milliseconds, and frees what the system keeps of it.
 * *fate is how it ended, *detail its exit status or the signal. HT_UNKNOWN: somebody else has asked
 * the system first.  HT_OK, HT_EINTR (call again) or HT_ETIMEOUT. */
ht_err_t ht_process_reap(ht_process_t *process, int32_t milliseconds, ht_fate_t *fate,
                         int32_t *detail);

/* Returns HT_STOPPED once after a child was stopped by a signal, else HT_RUNNING. */
ht_fate_t ht_process_look(const ht_process_t *process);

/* Sends a signal to a child that was not reaped; nothing happens if it is gone. */
void ht_process_signal(const ht_process_t *process, int signal);

#endif

# SPDX-License-Identifier: BSD-3-Clause
"""Child processes: of the core's own functions, and of programs."""

from cpython.bytes cimport PyBytes_AsString
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, uint32_t

from hybridtrain._core.base cimport HT_ETIMEOUT, HT_OK, ht_err_t
from hybridtrain._core.check cimport check
from hybridtrain._core.process cimport (
    HT_EXITED,
    HT_KILLED,
    HT_RUNNING,
    HT_STOPPED,
    ht_fate_t,
    ht_process_execute,
    ht_process_look,
    ht_process_reap,
    ht_process_signal,
    ht_process_start,
    ht_process_work_t,
    ht_program_t,
)

cdef enum:
    MOST_KEPT = 16  # descriptors of a program

cdef char **pointers_to(list words) except NULL:
    """Return the addresses of byte strings, and NULL; PyMem_Free them."""
    cdef Py_ssize_t n = len(words)
    cdef char **pointers = <char **>PyMem_Malloc((n + 1) * sizeof(char *))
    if pointers == NULL:
        raise MemoryError()
    for i in range(n):
        pointers[i] = PyBytes_AsString(words[i])
    pointers[n] = NULL
    return pointers


cdef class Process:
    """A child; see ht_process.h. Runs start them; one thread watches over a process."""

    def __cinit__(self):
        self._process.pid = 0
        self._process.pidfd = -1

    cdef int start(self, ht_process_work_t work, void *argument, uint32_t worker) except -1:
        check(ht_process_start(work, argument, worker, &self._process))
        return 0

    def execute(self, list argv, list environment, list kept) -> None:
        """Start a program as this child, which was not started before.

        Parameters
        ----------
        argv, environment : list of bytes
            The path of the program, then its arguments; "name=value".
        kept : list of int
            The descriptors that it has, in increasing order, at most MOST_KEPT.

        Raises
        ------
        OSError
            When the system refuses a process.
        """
        cdef int32_t fds[MOST_KEPT]
        cdef int32_t n = <int32_t>len(kept)
        if self._process.pid != 0 or n > MOST_KEPT:
            raise ValueError("the process was started before, or has too many descriptors")
        for i in range(n):
            fds[i] = kept[i]
        cdef char **arguments = NULL
        cdef char **variables = NULL
        cdef ht_program_t program
        try:
            arguments = pointers_to(argv)
            variables = pointers_to(environment)
            program.argv = arguments
            program.environment = variables
            program.kept = fds
            program.n_kept = n
            check(ht_process_execute(&program, &self._process))
        finally:
            PyMem_Free(arguments)
            PyMem_Free(variables)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def fileno(self) -> int:
        """Return a descriptor that is readable once the process is gone; -1 after `reap`."""
        return self._process.pidfd

    def reap(self, double seconds) -> tuple[str, int] | None:
        """Wait until the process is gone, and free what the system keeps of it.

        Returns
        -------
        (str, int) or None
            ("exited", status), ("killed", signal) or ("unknown", 0); None: it still runs.
        """
        cdef ht_fate_t fate = HT_RUNNING
        cdef int32_t detail = 0
        cdef ht_err_t err
        if self._process.pidfd < 0:
            raise ValueError("there is no process")
        cdef int32_t milliseconds = <int32_t>min(1000.0 * seconds, 1e9)
        while True:
            with nogil:
                err = ht_process_reap(&self._process, milliseconds, &fate, &detail)
            if err == HT_ETIMEOUT:
                return None
            if err == HT_OK:
                break
            check(err)
        if fate == HT_EXITED:
            return "exited", detail
        return ("killed", detail) if fate == HT_KILLED else ("unknown", 0)

    def was_stopped(self) -> bool:
        """Return True once after a signal has stopped the process."""
        return self._process.pidfd >= 0 and ht_process_look(&self._process) == HT_STOPPED

    def signal(self, int number) -> None:
        """Send a signal; nothing happens if the process is gone."""
        ht_process_signal(&self._process, number)

# SPDX-License-Identifier: BSD-3-Clause
"""A process that was forked to run one function of the core."""

from libc.stdint cimport int32_t, uint32_t

from hybridtrain._core.base cimport HT_ETIMEOUT, HT_OK, ht_err_t
from hybridtrain._core.check cimport check
from hybridtrain._core.process cimport (
    HT_EXITED,
    HT_KILLED,
    HT_RUNNING,
    HT_STOPPED,
    ht_fate_t,
    ht_process_look,
    ht_process_reap,
    ht_process_signal,
    ht_process_start,
    ht_process_work_t,
)


cdef class Process:
    """A child; see ht_process.h. Runs start them; one thread watches over a process."""

    def __cinit__(self):
        self._process.pid = 0
        self._process.pidfd = -1

    cdef int start(self, ht_process_work_t work, void *argument, uint32_t worker) except -1:
        check(ht_process_start(work, argument, worker, &self._process))
        return 0

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

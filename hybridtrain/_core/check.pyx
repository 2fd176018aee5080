# SPDX-License-Identifier: BSD-3-Clause
"""Turn codes of the C core into exceptions: the only place that does."""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport ENOMEM, ENOSYS
from libc.stdint cimport uint64_t

import os

from hybridtrain._core.base cimport (
    HT_ECHANGED,
    HT_EINTR,
    HT_EINVAL,
    HT_ERR_COUNT,
    HT_ETIMEOUT,
    HT_OK,
    ht_err_text,
)
from hybridtrain._core.futex cimport ht_now_ns
from hybridtrain.errors import (
    CoreError, CoreTimeoutError, DataChangedError, InvalidSettingError, OutOfMemoryError,
)

CHANGED_REMEDY = (
    "they are those of a mapped file that something writes to: train on files that nothing "
    "changes, or on a copy in memory"
)
NO_PROCESSES = 'backend="processes" needs Linux 5.4 or newer; use backend="threads"'


cdef int check(ht_err_t err) except -1:
    """Raise for a failure; on HT_EINTR run the signal handlers and return 1."""
    if err == HT_OK:
        return 0
    if err == HT_EINTR:
        PyErr_CheckSignals()
        return 1
    if err == -ENOMEM:
        raise OutOfMemoryError(
            "the system refused memory; choose fewer workers, fewer features or fewer rows"
        )
    if err < 0:
        raise OSError(-err, os.strerror(-err))
    text = ht_err_text(err).decode("ascii")
    if err == HT_ETIMEOUT:
        raise CoreTimeoutError(text)
    if err == HT_EINVAL:
        raise ValueError(text)
    if err == HT_ECHANGED:
        raise DataChangedError(f"X: {text}; {CHANGED_REMEDY}")
    raise CoreError(text)


cdef str size_text(object nbytes):
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if nbytes >= 1 << power:
            return f"{nbytes / (1 << power):.4g} {unit}"
    return f"{nbytes} bytes"


cdef int require_memory(size_t nbytes, object available, str remedy) except -1:
    """Raise when a run that maps nbytes does not fit; available None: unknown."""
    if available is not None and nbytes > available:
        raise OutOfMemoryError(
            f"the run needs {size_text(nbytes)} of memory, there are {size_text(available)}; "
            f"{remedy}",
            needed=nbytes,
            available=available,
        )
    return 0


cdef int check_mapped(ht_err_t err, size_t nbytes, str remedy) except -1:
    """Check what opening a run that maps nbytes has returned."""
    if err == -ENOMEM:
        raise OutOfMemoryError(
            f"the run needs {size_text(nbytes)} of memory, which the system refused; {remedy}",
            needed=nbytes,
        )
    if err == -ENOSYS:  # no memory that processes share
        raise InvalidSettingError(NO_PROCESSES)
    return check(err)


cdef uint64_t deadline_in(double seconds) except? 0:
    """Return the core's time in so many seconds; far ahead, where it is many years."""
    if seconds != seconds:
        raise ValueError("seconds: a number expected, got nan")
    return ht_now_ns() + <uint64_t>(min(max(seconds, 0.0), 1e9) * 1e9)


def raise_for(err: int) -> int:
    """Raise what `check` raises for a code; for tests.

    Parameters
    ----------
    err : int
        A code of ht_base.h, or a negative errno.

    Returns
    -------
    int
        0 for success, 1 for an interrupted wait.

    Raises
    ------
    OSError, CoreTimeoutError, OutOfMemoryError, ValueError, CoreError
        By code.
    """
    return check(err)


def codes() -> list[str]:
    """Return the texts of all codes, indexed by code.

    Returns
    -------
    list of str
    """
    return [ht_err_text(code).decode("ascii") for code in range(HT_ERR_COUNT)]

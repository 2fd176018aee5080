# SPDX-License-Identifier: BSD-3-Clause
"""Workers that are executed programs: memory by descriptors, and the work on another's run."""

from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t, uint32_t
from posix.mman cimport munmap
from posix.unistd cimport _exit, close

from hybridtrain._core.attached cimport ht_attached_open, ht_attached_t, ht_attached_work
from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.check cimport check
from hybridtrain._core.linear cimport ht_linear_init, ht_linear_t
from hybridtrain._core.loss cimport ht_loss_kind_t, ht_loss_t
from hybridtrain._core.memfd cimport (
    HT_MEMFD_PAGE, ht_memfd_commit, ht_memfd_create, ht_memfd_freeze, ht_memfd_map,
    ht_memfd_write,
)
from hybridtrain._core.process cimport ht_process_adopt, ht_process_close_all, ht_process_outlive
from hybridtrain._core.rows cimport Rows
from hybridtrain._core.segment cimport ht_segment_attach, ht_segment_t


cdef class MemoryFile:
    """Memory of a fixed size that other processes map by its descriptor; see ht_memfd.h.

    `close` may be called twice.
    """

    cdef int32_t _fd
    cdef readonly size_t nbytes

    def __cinit__(self, size_t nbytes):
        self._fd = -1
        self.nbytes = nbytes
        check(ht_memfd_create("hybridtrain-rows", nbytes, &self._fd))
        with nogil:
            ht_memfd_commit(self._fd, nbytes)

    def __dealloc__(self):
        self.close()

    def fileno(self) -> int:
        """Return the descriptor; -1 after `close`."""
        return self._fd

    def write(self, object contents, size_t offset) -> None:
        """Write the bytes of a buffer at an offset."""
        cdef ht_err_t err
        cdef Py_buffer buffer
        PyObject_GetBuffer(contents, &buffer, PyBUF_SIMPLE)
        try:
            if offset > self.nbytes or <size_t>buffer.len > self.nbytes - offset:
                raise ValueError("contents within the memory expected")
            with nogil:
                err = ht_memfd_write(self._fd, buffer.buf, buffer.len, offset)
            check(err)
        finally:
            PyBuffer_Release(&buffer)

    def freeze(self) -> None:
        """Make the memory read-only for every process."""
        check(ht_memfd_freeze(self._fd))

    def close(self) -> None:
        """Close the descriptor; the memory lives as long as somebody has mapped it."""
        if self._fd >= 0:
            close(self._fd)
        self._fd = -1


cdef class Mapping:
    """A part of a file, at least one byte, as a read-only buffer, until the object is freed."""

    cdef void *_memory
    cdef size_t _before  # bytes that are mapped before the part
    cdef size_t _nbytes

    def __cinit__(self, int32_t fd, size_t offset, size_t nbytes):
        self._before = offset % HT_MEMFD_PAGE
        self._nbytes = nbytes
        check(ht_memfd_map(fd, offset - self._before, self._before + nbytes, 0, &self._memory))

    def __dealloc__(self):
        if self._memory != NULL:
            munmap(self._memory, self._before + self._nbytes)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <char *>self._memory + self._before, self._nbytes, 1, flags)


def adopt(int32_t parent) -> None:
    """Make this process a worker of its parent, and end with it; see ht_process_adopt."""
    ht_process_adopt(parent)


def outlive() -> None:
    """Let this process live on when its parent ends; see ht_process_outlive."""
    ht_process_outlive()


def work(int32_t segment_fd, Rows rows not None, *, uint32_t worker, int loss,
         float loss_parameter, int64_t n_classes) -> None:
    """Be a worker of the run in a segment until the supervisor calls the workers away.

    The process then ends: this does not return. It has closed all descriptors before it begins.

    Parameters
    ----------
    segment_fd : int
        The segment's descriptor.
    rows : Rows
        Those that the run was opened with.
    worker : int
        A number below the run's number of workers.
    loss, loss_parameter, n_classes : int, float, int
        The model that the run was opened with.

    Raises
    ------
    ValueError
        When the segment is none of this build of the core, or of other rows or another model.
    """
    cdef ht_linear_t linear
    cdef ht_segment_t *segment = NULL
    cdef ht_attached_t attached
    check(ht_linear_init(&linear, ht_loss_t(<ht_loss_kind_t>loss, loss_parameter), n_classes))
    check(ht_segment_attach(segment_fd, &segment))
    check(ht_attached_open(segment, &linear.model, &rows.view, &attached))
    ht_process_close_all()
    with nogil:
        ht_attached_work(&attached, worker)
        _exit(0)

# The declarations of csrc/base/ht_process.h.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from hybridtrain._core.base cimport ht_err_t

cdef extern from "base/ht_process.h" nogil:
    ctypedef struct ht_process_t:
        int32_t pid
        int32_t pidfd
    ctypedef enum ht_fate_t:
        HT_RUNNING
        HT_STOPPED
        HT_EXITED
        HT_KILLED
        HT_UNKNOWN
    ctypedef void (*ht_process_work_t)(void *argument, uint32_t worker) noexcept
    ht_err_t ht_process_start(ht_process_work_t work, void *argument, uint32_t worker,
                              ht_process_t *process)
    ctypedef struct ht_program_t:
        char **argv
        char **environment
        const int32_t *kept
        int32_t n_kept
    ht_err_t ht_process_execute(const ht_program_t *program, ht_process_t *process)
    void ht_process_adopt(int32_t parent)
    void ht_process_outlive()
    void ht_process_close_all()
    ht_err_t ht_process_reap(ht_process_t *process, int32_t milliseconds, ht_fate_t *fate,
                             int32_t *detail)
    ht_fate_t ht_process_look(const ht_process_t *process)
    void ht_process_signal(const ht_process_t *process, int signal)

cdef class Process:
    cdef ht_process_t _process
    cdef int start(self, ht_process_work_t work, void *argument, uint32_t worker) except -1

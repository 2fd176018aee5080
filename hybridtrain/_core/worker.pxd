# The declarations of csrc/run/ht_worker.h.
from libc.stdint cimport uint32_t

from hybridtrain._core.stream cimport ht_stream_t
from hybridtrain._core.sync cimport ht_sync_t

cdef extern from "run/ht_worker.h" nogil:
    void ht_worker_epochs(ht_stream_t *stream, uint32_t worker)
    void ht_worker_round(ht_sync_t *sync, uint32_t worker)

# The declarations of csrc/run/ht_snapshot.h.
from libc.stdint cimport uint32_t

from hybridtrain._core.stream cimport ht_stream_t

cdef extern from "run/ht_snapshot.h" nogil:
    size_t ht_snapshot_nbytes(const ht_stream_t *stream)
    void ht_snapshot_take(ht_stream_t *stream, uint32_t worker, unsigned char *snapshot)

# The declarations of csrc/run/ht_stream_guest.h and csrc/share/ht_values.h.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from hybridtrain._core.stream cimport ht_stream_t

cdef extern from "share/ht_claims.h" nogil:
    ctypedef enum ht_chunk_state_t:
        HT_CHUNK_OPEN
        HT_CHUNK_TAKEN
        HT_CHUNK_DONE
        HT_CHUNK_AWAY

cdef extern from "run/ht_stream_guest.h" nogil:
    int64_t ht_stream_n_coordinates(const ht_stream_t *stream)
    void ht_stream_chunks(const ht_stream_t *stream, uint64_t first, uint64_t last,
                          uint8_t *states)
    void ht_stream_set_chunks(ht_stream_t *stream, uint64_t first, uint64_t last,
                              ht_chunk_state_t state)
    void ht_stream_offer(ht_stream_t *stream, uint64_t first, uint64_t last)
    float ht_stream_pace(const ht_stream_t *stream)
    void ht_stream_look(const ht_stream_t *stream, const int64_t *order, float *arrays,
                        int64_t stride)
    void ht_stream_put(ht_stream_t *stream, const int64_t *order, const float *arrays,
                       int64_t stride, uint64_t rows)
    ctypedef struct ht_stream_merge_t:
        int64_t first
        int64_t last
        int64_t stride
        const float *own
        const float *base
        const float *shared
        const float *curvature
        float *merged
        float pace
        uint64_t rows
        uint64_t others
        uint64_t epoch_rows
    void ht_stream_merge(const ht_stream_t *stream, const ht_stream_merge_t *merge)

cdef extern from "share/ht_values.h" nogil:
    enum:
        HT_VALUES_GROUP
    size_t ht_values_most_nbytes(int64_t n, int arrays)
    size_t ht_values_encode(const float *values, const float *base, int64_t n, int arrays,
                            int64_t stride, uint8_t *body)
    int ht_values_is_body(const uint8_t *body, size_t nbytes, int64_t n, int arrays)
    void ht_values_decode(const uint8_t *body, int64_t n, int arrays, int64_t stride,
                          float *values)

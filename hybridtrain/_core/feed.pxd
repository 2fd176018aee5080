# The declarations of csrc/rows/ht_feed.h.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from hybridtrain._core.base cimport ht_err_t

cdef extern from "rows/ht_feed.h" nogil:
    enum:
        HT_CHUNK_ROWS
        HT_FEED_STRIPS
    ctypedef struct ht_feed_t:
        uint64_t n_rows
        uint64_t seed
        uint64_t n_strips
        uint64_t n_chunks
        uint32_t strip_rows
        uint32_t strips
        uint32_t epoch
    ht_err_t ht_feed_init(ht_feed_t *feed, uint64_t n_rows, uint64_t seed, uint32_t strips)
    void ht_feed_begin(ht_feed_t *feed, uint32_t epoch)
    ht_err_t ht_feed_claim(ht_feed_t *feed, uint64_t *position)
    int ht_feed_rows(const ht_feed_t *feed, uint64_t position, int64_t *rows)
    int ht_feed_n_rows(const ht_feed_t *feed, uint64_t position)

# The declarations of csrc/run/ht_sync_guest.h and csrc/share/ht_encoding.h.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.sync cimport HT_CHANGES_ARRAYS, ht_sync_saved_t, ht_sync_t

cdef extern from "run/ht_sync_guest.h" nogil:
    enum:
        HT_SHARES
    ctypedef struct ht_share_t:
        uint32_t first
        uint32_t last
    ctypedef struct ht_sync_total_t:
        int64_t loss
        double largest
        uint64_t rows
        double changes[HT_CHANGES_ARRAYS]
    ht_err_t ht_sync_set_share(ht_sync_t *sync, ht_share_t share)
    ht_err_t ht_sync_await_exchange(ht_sync_t *sync, uint32_t *step, uint64_t deadline_ns)
    int ht_sync_is_merging(ht_sync_t *sync)
    int64_t ht_sync_n_sums(const ht_sync_t *sync)
    uint64_t ht_sync_applied(ht_sync_t *sync)
    void ht_sync_collect(ht_sync_t *sync, int64_t first, int64_t last, int64_t *sums,
                         uint8_t *marks)
    ht_sync_total_t ht_sync_tally(ht_sync_t *sync)
    void ht_sync_put(ht_sync_t *sync, int64_t first, int64_t last, const uint8_t *body,
                     int encoding)
    ht_err_t ht_sync_merge(ht_sync_t *sync, const ht_sync_total_t *total)
    ht_err_t ht_sync_repeat(ht_sync_t *sync, ht_share_t share)
    ht_err_t ht_sync_replace(ht_sync_t *sync, const ht_sync_saved_t *saved, const float *arrays,
                             ht_share_t share)

cdef extern from "share/ht_encoding.h" nogil:
    enum:
        HT_ENCODING_MOST_GROUPS
        HT_SUMS_GROUP
        HT_BY_COORDINATES
        HT_BY_GROUPS
        HT_ALL_SUMS
    ctypedef struct ht_encoding_t:
        int encoding
        uint32_t nbytes
    ht_encoding_t ht_encoding_choose(const int64_t *sums, const uint8_t *marks, int64_t n_groups)
    void ht_encoding_write(const ht_encoding_t *chosen, const int64_t *sums, const uint8_t *marks,
                           int64_t n_groups, uint8_t *body)
    const char *ht_encoding_check(const uint8_t *body, size_t nbytes, int encoding,
                                  int64_t n_groups)
    void ht_encoding_add(const uint8_t *body, int encoding, int64_t n_groups, int64_t *sums,
                         uint8_t *marks)
    void ht_encoding_clear(int64_t *sums, uint8_t *marks, int64_t n_groups)

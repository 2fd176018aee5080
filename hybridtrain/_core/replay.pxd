# The declarations of csrc/run/ht_replay.h.
from libc.stdint cimport uint32_t, uint64_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.log cimport ht_log_t
from hybridtrain._core.stream cimport ht_stream_t

cdef extern from "run/ht_replay.h" nogil:
    ctypedef struct ht_replay_t:
        pass
    ht_log_t *ht_stream_log(ht_stream_t *stream, uint32_t worker)
    ht_err_t ht_replay_open(ht_stream_t *stream, ht_replay_t **out)
    void ht_replay_close(ht_replay_t *replay)
    void ht_replay_set_entries(ht_replay_t *replay, uint32_t worker, const uint64_t *entries,
                               size_t n)
    void ht_replay_set_snapshots(ht_replay_t *replay, const unsigned char *snapshots, size_t n)
    uint64_t ht_replay_rows(ht_replay_t *replay)
    double ht_replay_open_loss(const ht_replay_t *replay)
    ht_err_t ht_replay_go_on(ht_replay_t *replay, uint64_t rows)

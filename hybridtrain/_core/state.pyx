# SPDX-License-Identifier: BSD-3-Clause
"""What a run remembers between two steps, out of its segment and into another one."""

from libc.stdint cimport uint32_t, uint64_t

from hybridtrain._core.average cimport ht_average_share, ht_average_weight
from hybridtrain._core.check cimport check
from hybridtrain._core.feed cimport ht_feed_n_rows, ht_feed_t
from hybridtrain._core.guest cimport ht_share_t, ht_sync_replace
from hybridtrain._core.stream cimport (
    Stream, ht_stream_feed, ht_stream_n_arrays, ht_stream_restore, ht_stream_save,
    ht_stream_saved_t,
)
from hybridtrain._core.sync cimport (
    HT_CHANGES_ARRAYS, SyncRun, ht_sync_n_arrays, ht_sync_restore, ht_sync_save, ht_sync_saved_t,
    ht_sync_steps_per_epoch,
)


def sizes(run) -> tuple[int, int]:
    """Return how many arrays of `run.n_parameters` a run saves, and bytes of chunks."""
    if isinstance(run, SyncRun):
        return ht_sync_n_arrays((<SyncRun>run)._open()), 0
    (<Stream?>run)._roster()
    return ht_stream_n_arrays((<Stream>run)._stream), (<Stream>run).n_chunks()


cdef int _check(run, Py_ssize_t n_arrays, Py_ssize_t n, Py_ssize_t n_chunks) except -1:
    most, chunks = sizes(run)
    if n_arrays != most or n != run.n_parameters or n_chunks != chunks:
        raise ValueError("the arrays are not those of such a run")
    return 0


def average_weight(uint64_t n_iterates) -> float:
    """Return the weight of the first iterates in the average of all, at least 1 of them."""
    return ht_average_weight(n_iterates) / ht_average_share(n_iterates)


def save(run, float[:, ::1] arrays not None, unsigned char[::1] done not None) -> dict[str, float]:
    """Write the arrays of a run, and which chunks are done; return its numbers. At rest."""
    _check(run, arrays.shape[0], arrays.shape[1], done.shape[0])
    if isinstance(run, SyncRun):
        return _save_sync(run, arrays)
    return _save_stream(run, arrays, done)


def restore(run, dict numbers, const float[:, ::1] arrays not None,
            const unsigned char[::1] done not None) -> None:
    """Make a run that was just opened go on where another one was saved.

    Numbers, arrays and chunks are those of `save`. ``numbers["is_open"]`` says whether `resume`
    goes on with the saved epoch. ValueError for what no such run has saved.
    """
    _check(run, arrays.shape[0], arrays.shape[1], done.shape[0])
    if isinstance(run, SyncRun):
        _restore_sync(run, numbers, arrays)
    else:
        _restore_stream(run, numbers, arrays, done)


cdef dict _save_sync(SyncRun run, float[:, ::1] arrays):
    cdef ht_sync_saved_t saved = ht_sync_save(run._open(), &arrays[0, 0])
    return {
        "epoch": run.opened,
        "batches": saved.batches,
        "refused": saved.refused,
        "loss": saved.loss,
        "bound": saved.bound,
        "together": saved.together,
        "first_loss": run.first_loss,
        "last_loss": run.last_loss,
        **{f"change_{k}": saved.changes[k] for k in range(HT_CHANGES_ARRAYS)},
        "loss_before": run._loss,
    }


cdef ht_sync_saved_t _saved_sync(dict numbers) except *:
    cdef ht_sync_saved_t saved
    saved.batches = numbers["batches"]
    saved.refused = numbers["refused"]
    saved.loss = numbers["loss"]
    saved.bound = numbers["bound"]
    saved.together = numbers["together"]
    for k in range(HT_CHANGES_ARRAYS):
        saved.changes[k] = numbers[f"change_{k}"]
    return saved


def replace(SyncRun run not None, dict numbers, const float[:, ::1] arrays not None, *,
            uint32_t first, uint32_t last) -> None:
    """End the step that waits for its guest with the state that another node has saved.

    Numbers and arrays are those of `save`; first and last are the share of the next step.
    ValueError: no such run has saved them, or no step waits.
    """
    cdef ht_sync_saved_t saved = _saved_sync(numbers)
    _check(run, arrays.shape[0], arrays.shape[1], 0)
    check(ht_sync_replace(run._sync, &saved, &arrays[0, 0], ht_share_t(first, last)))


cdef int _restore_sync(SyncRun run, dict numbers, const float[:, ::1] arrays) except -1:
    cdef ht_sync_saved_t saved = _saved_sync(numbers)
    cdef uint64_t steps = ht_sync_steps_per_epoch(run._open())
    cdef uint64_t epoch = numbers["epoch"]
    if epoch < 1 or saved.batches > epoch * steps or saved.batches < (epoch - 1) * steps:
        raise ValueError("the steps are not those of the epoch")
    check(ht_sync_restore(run._sync, &saved, &arrays[0, 0]))
    run.opened = <uint32_t>epoch
    run._begun = (epoch - 1) * steps
    run._end = epoch * steps
    run._loss, run.together = numbers["loss_before"], saved.together
    run.first_loss, run.last_loss = numbers["first_loss"], numbers["last_loss"]
    return 0


cdef uint64_t _rows_of(Stream run, const unsigned char[::1] done) except? 0:
    cdef const ht_feed_t *feed = ht_stream_feed(run._stream)
    cdef uint64_t rows = 0
    for chunk in range(done.shape[0]):
        rows += ht_feed_n_rows(feed, chunk) if done[chunk] else 0
    return rows


cdef dict _save_stream(Stream run, float[:, ::1] arrays, unsigned char[::1] done):
    cdef ht_stream_saved_t saved
    report = run.epoch_report()
    saved = ht_stream_save(run._stream, &arrays[0, 0], &done[0])
    # A dead worker may have left a part of a chunk, which will be trained from its start.
    cdef uint64_t trained = _rows_of(run, done)
    return {
        "epoch": run.opened,
        "rows": saved.rows,
        "average_last": saved.average_last,
        "hot_weight": saved.hot_weight,
        "cold_weight": saved.cold_weight,
        "repeated": min(report["repeated"] + report["trained"] - trained, trained),
        "loss": report["loss"],
        "staleness": run.staleness.save(run.staleness_of_epoch()),
    }


cdef int _restore_stream(Stream run, dict numbers, const float[:, ::1] arrays,
                         const unsigned char[::1] done) except -1:
    cdef ht_stream_saved_t saved
    saved.rows = numbers["rows"]
    saved.average_last = numbers["average_last"]
    saved.hot_weight = numbers["hot_weight"]
    saved.cold_weight = numbers["cold_weight"]
    cdef uint64_t repeated = numbers["repeated"]
    if numbers["epoch"] < 1:
        raise ValueError("no epoch was saved")
    run.staleness.restore(numbers["staleness"])
    ht_stream_restore(run._stream, &saved, &arrays[0, 0], numbers["epoch"], &done[0])
    run.opened = numbers["epoch"]
    run._rows_before = _rows_of(run, done)  # the epoch decides which chunk has fewer rows
    if repeated > run._rows_before:
        raise ValueError("more rows were repeated than trained")
    run._repeated_before = repeated
    run._loss_before = numbers["loss"]
    return 0

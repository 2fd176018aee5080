/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a worker does until its supervisor asks it to leave.
 */
#include "run/ht_worker.h"

void ht_worker_epochs(ht_stream_t *stream, uint32_t worker)
{
    ht_roster_t *roster = ht_stream_roster(stream);
    ht_err_t err = HT_OK;
    while (err != HT_ESTOPPED) {
        err = ht_roster_await_epoch(roster, worker);
        if (err == HT_OK) {
            ht_worker_stream(stream, worker);
            ht_roster_rest(roster, worker);
        }
    }
}

void ht_worker_round(ht_sync_t *sync, uint32_t worker)
{
    uint32_t task;
    while (ht_sync_await(sync, worker, UINT64_MAX) != HT_ESTOPPED) {
        while (ht_sync_claim(sync, worker, &task) == HT_OK) {
            (void)ht_sync_compute(sync, worker, task); /* the task is claimed: never refused */
            (void)ht_sync_commit(sync, worker);        /* HT_EBUSY: another worker was first */
        }
        /* ends: the phase changes when no block is left. */
        while (ht_sync_merge_next(sync, worker) == HT_OK)
            ;
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "run/ht_attached.h"

#include <string.h>

#include "share/ht_record.h"

ht_err_t ht_attached_open(ht_segment_t *segment, const ht_model_t *model, const ht_rows_t *rows,
                          ht_attached_t *attached)
{
    *attached = (ht_attached_t){0};
    ht_record_head_t head;
    memcpy(&head, segment->record, sizeof head);
    size_t nbytes = segment->nbytes;
    if (head.kind == HT_RUN_STREAM)
        return ht_stream_attach(segment, nbytes, model, rows, &attached->stream);
    return ht_sync_attach(segment, nbytes, model, rows, &attached->sync);
}

void ht_attached_work(const ht_attached_t *attached, uint32_t worker)
{
    if (attached->stream != NULL)
        ht_worker_epochs(attached->stream, worker);
    else
        ht_worker_round(attached->sync, worker);
}

void ht_attached_close(ht_attached_t *attached)
{
    ht_stream_close(attached->stream);
    ht_sync_close(attached->sync);
}

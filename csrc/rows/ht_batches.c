/* SPDX-License-Identifier: BSD-3-Clause */
#include "rows/ht_batches.h"

#include "base/ht_random.h"

void ht_batches_init(ht_batches_t *b)
{
    b->n_full = b->n_rows / b->strip_rows;
    b->n_strips = b->n_full + (b->n_rows % b->strip_rows != 0);
    b->steps_per_epoch = (b->n_strips + b->batch_strips - 1) / b->batch_strips;
}

uint64_t ht_batches_taken(const ht_batches_t *b, uint64_t batch, uint32_t together)
{
    uint64_t left = b->steps_per_epoch - batch % b->steps_per_epoch;
    return together < left ? together : left;
}

/* Writes the range of a step's strips, first .. last-1, in the order of the epoch. */
static void strips(const ht_batches_t *b, uint64_t batch, uint32_t together, uint64_t *first,
                   uint64_t *last)
{
    *first = batch % b->steps_per_epoch * b->batch_strips;
    *last = *first + together * (uint64_t)b->batch_strips;
    if (*last > b->n_strips)
        *last = b->n_strips;
}

uint32_t ht_batches_tasks(const ht_batches_t *b, uint64_t batch, uint32_t together)
{
    uint64_t first, last;
    strips(b, batch, together, &first, &last);
    uint64_t n = last - first;
    return (uint32_t)(b->n_shares == 0 || n < b->n_shares ? n : b->n_shares);
}

uint64_t ht_batches_rows(const ht_batches_t *b, uint64_t batch, uint32_t together)
{
    uint64_t first, last;
    strips(b, batch, together, &first, &last);
    uint64_t end = last * b->strip_rows;
    return (end < b->n_rows ? end : b->n_rows) - first * b->strip_rows;
}

uint64_t ht_batches_rows_until(const ht_batches_t *b, uint64_t batch)
{
    uint64_t rest = batch % b->steps_per_epoch; /* never the last, shorter batch */
    return b->n_rows * (batch / b->steps_per_epoch) + rest * b->batch_strips * b->strip_rows;
}

int ht_batches_task(const ht_batches_t *b, uint64_t batch, uint32_t together, uint32_t task,
                    int64_t *ids)
{
    uint64_t key = ht_random_u64(b->seed, batch / b->steps_per_epoch + 1);
    uint64_t first, last;
    strips(b, batch, together, &first, &last);
    uint64_t n_strips = last - first, n_tasks = ht_batches_tasks(b, batch, together);
    uint64_t from = first + n_strips * task / n_tasks;
    uint64_t to = first + n_strips * (task + 1) / n_tasks;
    int n = 0;
    for (uint64_t k = from; k < to; k++) {
        uint64_t strip = k < b->n_full ? ht_random_permute(key, b->n_full, k) : k;
        uint64_t row = strip * b->strip_rows;
        for (uint32_t i = 0; i < b->strip_rows && row < b->n_rows; i++)
            ids[n++] = (int64_t)row++;
    }
    return n;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sync_step: the constants of an optimizer's step in a run of the round.
 *
 * Layer L8.
 */
#ifndef HT_SYNC_STEP_H
#define HT_SYNC_STEP_H

#include "run/ht_sync_parts.h"

HT_INLINE float lr_at(const ht_sync_t *sync, uint64_t batches)
{
    uint64_t steps = sync->batches.steps_per_epoch;
    uint64_t share = batches % steps * sync->config.lrs_per_epoch / steps;
    return ht_rates_at(sync->rates, batches / steps, share);
}

/* Returns the batch whose rate a replica's step has, after `local` ones on the batches that follow
 * the first `batches`. */
HT_INLINE uint64_t batch_of_local(const ht_sync_t *sync, uint64_t batches, uint64_t local)
{
    uint64_t steps = sync->batches.steps_per_epoch, last = batches - batches % steps + steps - 1;
    uint64_t batch = batches + local / sync->config.every;
    return batch < last ? batch : last;
}

/* Returns the optimizer's steps on a batch: 1; of a replica with the mean number of its rows. */
HT_INLINE uint64_t steps_of(const ht_sync_t *sync, uint64_t batch)
{
    if (!has_replicas(sync))
        return 1;
    uint64_t each = (uint64_t)ht_batches_tasks(&sync->batches, batch, 1) * sync->config.local_rows;
    uint64_t steps = (ht_batches_rows(&sync->batches, batch, 1) + each - 1) / each;
    return steps < sync->config.every ? steps : sync->config.every;
}

/* Returns the optimizer's steps on the first `batches` batches. */
HT_INLINE uint64_t steps_until(const ht_sync_t *sync, uint64_t batches)
{
    uint64_t n = sync->batches.steps_per_epoch, full = steps_of(sync, 0);
    uint64_t of_epoch = (n - 1) * full + steps_of(sync, n - 1); /* the last batch may be shorter */
    return batches / n * of_epoch + batches % n * full;
}

/* Returns the constants of the step on the batch after the first `batches`; where there are
 * replicas, of the local step after the first `local` ones on it. */
HT_INLINE ht_step_t step_after(const ht_sync_t *sync, uint64_t batches, uint64_t local)
{
    ht_step_t step = sync->config.step;
    double steps = (double)(steps_until(sync, batches) + local);
    step.lr = lr_at(sync, local == 0 ? batches : batch_of_local(sync, batches, local));
    /* A step brings a mean gradient and one penalty. */
    step.l1_sum = (float)((double)step.l1 * steps);
    step.l2_sum = (float)((double)step.l2 * steps);
    step.power1 = (float)pow((double)step.decay1, steps);
    step.power2 = (float)pow((double)step.decay2, steps);
    ht_step_correct(&step);
    return step;
}

HT_INLINE ht_step_t step_at(const ht_sync_t *sync, uint64_t batches)
{
    return step_after(sync, batches, 0);
}

#endif

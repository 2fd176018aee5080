/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_rates: the learning rates of a stretch of epochs, in the segment.
 *
 * Layer L3: may include L0 to L2.  The supervisor writes while the workers
 * rest; the workers read.  A late worker of the round may read while the next
 * stretch is written: it gets a rate of either stretch, and its commit fails.
 */
#ifndef HT_RATES_H
#define HT_RATES_H

#include "base/ht_atomic.h"
#include "base/ht_base.h"

/* Written by the supervisor.  Relaxed throughout: handed over by the start of the epoch. */
typedef struct {
    ht_word64_t first;  /* the first epoch of the stretch, from 0 */
    uint32_t n_epochs;  /* >= 1; constant */
    uint32_t per_epoch; /* >= 1; constant */
    float lrs[];        /* n_epochs * per_epoch */
} ht_rates_t;

_Static_assert(sizeof(ht_rates_t) == 16, "the layout of the segment");

/* Returns the bytes of the rates of a stretch of n_epochs. */
HT_INLINE size_t ht_rates_nbytes(uint32_t n_epochs, uint32_t per_epoch)
{
    return sizeof(ht_rates_t) + sizeof(float) * n_epochs * per_epoch;
}

/* Copies the rates of the stretch that begins with epoch `first`, n_epochs * per_epoch values. */
HT_INLINE void ht_rates_write(ht_rates_t *rates, uint64_t first, const float *lrs)
{
    ht_store_relaxed(&rates->first, first);
    for (size_t k = 0; k < (size_t)rates->n_epochs * rates->per_epoch; k++)
        ht_store_relaxed_f32(&rates->lrs[k], lrs[k]);
}

/* Prepares rates, ht_rates_nbytes, with a stretch that begins with epoch 0. */
HT_INLINE void ht_rates_init(ht_rates_t *rates, uint32_t n_epochs, uint32_t per_epoch,
                             const float *lrs)
{
    rates->n_epochs = n_epochs;
    rates->per_epoch = per_epoch;
    ht_rates_write(rates, 0, lrs);
}

/* Returns the rate of a share, 0 .. per_epoch-1, of an epoch, counted from 0; an epoch
 * outside of the stretch has the rates of the nearest one in it. */
HT_INLINE float ht_rates_at(const ht_rates_t *rates, uint64_t epoch, uint64_t share)
{
    uint64_t first = ht_load_relaxed(&rates->first), most = rates->n_epochs - 1;
    uint64_t place = epoch < first ? 0 : epoch - first;
    return ht_load_relaxed_f32(
        &rates->lrs[(place < most ? place : most) * rates->per_epoch + share]);
}

#endif

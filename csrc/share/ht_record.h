/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_record: the settings of a run as its segment's header holds them.
 *
 * Layer L3: may include L0 to L2.  Fixed-width numbers without padding: written by the creator
 * of the segment, read by every handle that attaches.  A kind of run lists its settings once, as
 *
 *   X(type, name, place)   type and name in the record, place in the configuration
 *
 * and the macros below turn the list into a struct, its size, a write and a read.
 */
#ifndef HT_RECORD_H
#define HT_RECORD_H

#include "rows/ht_rows.h"

enum { HT_RUN_STREAM = 1, HT_RUN_SYNC = 2 };

/* Arrays that a run has: bits of ht_record_head_t.arrays. */
enum {
    HT_HAS_POINTERS = 1,
    HT_HAS_VALUES = 2,
    HT_HAS_WEIGHTS = 4,
    HT_HAS_HOT = 8,
    HT_HAS_SHARES = 16,    /* in the segment */
    HT_HAS_SCALES = 32,    /* in the segment */
    HT_HAS_L1_FACTOR = 64, /* in the segment */
    HT_HAS_REACH = 128,
};

/* Begins every record: the kind of run, its model, and the shape of its rows; model and rows stay
 * outside. */
typedef struct {
    uint32_t kind;
    uint32_t arrays;
    uint64_t model;                             /* its key (ht_model.h) */
    int64_t n_rows, n_features, n_hot, longest; /* as in ht_rows_t */
} ht_record_head_t;

_Static_assert(sizeof(ht_record_head_t) == 48, "no padding");

/* Returns the head for a kind of run of a model on these rows; own: the bits of the arrays that
 * are in the segment. */
HT_INLINE ht_record_head_t ht_record_head(uint32_t kind, uint64_t model, const ht_rows_t *rows,
                                          uint32_t own)
{
    uint32_t arrays = own;
    arrays |= rows->pointers != NULL ? HT_HAS_POINTERS : 0;
    arrays |= rows->values != NULL ? HT_HAS_VALUES : 0;
    arrays |= rows->weights != NULL ? HT_HAS_WEIGHTS : 0;
    arrays |= rows->hot != NULL ? HT_HAS_HOT : 0;
    arrays |= rows->reach != NULL ? HT_HAS_REACH : 0;
    return (ht_record_head_t){kind,        arrays,       model, rows->n_rows, rows->n_features,
                              rows->n_hot, rows->longest};
}

/* Settings that all kinds of runs have. */
#define HT_RECORD_COMMON(X) \
    X(uint64_t, seed, seed) \
    X(uint64_t, averages_per_epoch, averages_per_epoch) \
    X(uint32_t, optimizer, optimizer) \
    X(uint32_t, isa, isa) \
    X(float, l1, step.l1) \
    X(float, l2, step.l2) \
    X(float, decay1, step.decay1) \
    X(float, decay2, step.decay2) \
    X(float, beta, step.beta) \
    X(int32_t, intercept, intercept) \
    X(uint32_t, n_workers, n_workers) \
    X(uint32_t, lrs_per_epoch, lrs_per_epoch) \
    X(uint32_t, n_epochs, n_epochs)

#define HT_RECORD_FIELD(type, name, place) type name;
#define HT_RECORD_NBYTES(type, name, place) +sizeof(type)
#define HT_RECORD_WRITE(type, name, place) record.name = (type)config->place;
#define HT_RECORD_READ(type, name, place) config.place = record->name;

#endif

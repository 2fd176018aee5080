/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_view: where a worker reads and writes parameters.
 *
 * Layer L3: may include L0 to L2.  A view belongs to one worker.  Other workers may
 * change the shared vector that it points to while this worker reads it.
 */
#ifndef HT_VIEW_H
#define HT_VIEW_H

#include "base/ht_base.h"

/* Where the parameters are.  hot and cold point at the entries of feature 0; a feature has
 * `outputs` entries, one after the other. */
typedef struct {
    float *hot;       /* the worker's replica; unused when no element is hot */
    float *cold;      /* the shared vector; unused when every element is hot */
    float *intercept; /* the intercept's entries, in one of these; NULL: none */
    int64_t outputs;  /* 1, or a multiple of HT_LANES */
    /* c1 of feature 0 and the next ones (ht_optimizer.h); NULL: all 1, or in the entries. */
    const float *l1_factor;
} ht_view_t;

#endif

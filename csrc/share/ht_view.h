/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_view: where a worker reads and writes parameters.
 *
 * Layer L3: may include L0 to L2.  A view belongs to one worker; the shared vector
 * that it points to may change while the worker reads it.
 */
#ifndef HT_VIEW_H
#define HT_VIEW_H

#include "base/ht_base.h"

/* Where the parameters are: each pointer at the entries of feature 0, of which
 * there are `outputs`, one after the other. */
typedef struct {
    float *hot;       /* the worker's replica; unused when no element is hot */
    float *cold;      /* the shared vector; unused when every element is hot */
    float *intercept; /* its entries, in one of the two; NULL: no intercept */
    int64_t outputs;  /* 1, or a multiple of HT_LANES */
} ht_view_t;

#endif

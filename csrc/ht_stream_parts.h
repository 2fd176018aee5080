/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_stream_parts: the parts of a stream, for ht_stream.c and ht_worker.c only.
 *
 * Layer L7.
 */
#ifndef HT_STREAM_PARTS_H
#define HT_STREAM_PARTS_H

#include "ht_segment.h"
#include "ht_stream.h"

struct ht_stream {
    ht_stream_config_t config;
    ht_linear_t linear;
    ht_hot_t hot;
    ht_replica_t *replicas; /* n_workers; NULL when nothing is hot */
    ht_view_t *views;       /* n_workers */
    float *cold;            /* entries of all coordinates; NULL when all are hot */
    ht_roster_t *roster;
    ht_feed_t *feed;
    ht_segment_t *segment;
    uint32_t most_every; /* HT_LEAST_EXCHANGES exchanges a worker and epoch */
};

#endif

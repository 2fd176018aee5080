/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sync_guest: what one node brings to a step of several, and what it takes home.
 *
 * Layer L8.  Each node has a run of the round over its own segment, with equal settings and
 * parameters.  A step's tasks, strips of a batch or replicas, are shared out: a node's workers do
 * those of its share.  Then the step waits in its exchange for the guest, who adds up the sums and
 * tallies that count, sends them to the other nodes, writes the sums of all nodes in their place,
 * and opens the merge.  Every node merges the same integers, so all have the bits that one node
 * alone would have.
 *
 *   await_exchange -> collect, tally -> (other nodes) -> put -> merge
 *                                                    \-> repeat: the step counts for nothing
 *                                                    \-> replace: it was merged elsewhere
 *
 * A guest is one thread.  Its calls run beside all calls of workers and of the supervisor; collect,
 * tally, put, merge, repeat and replace belong to the exchange that await_exchange has found.
 */
#ifndef HT_SYNC_GUEST_H
#define HT_SYNC_GUEST_H

#include "run/ht_sync.h"

#define HT_SHARES 65536u /* of the tasks of a step */

/* The tasks of a node: of the T tasks of a step those from T * first / HT_SHARES, before
 * T * last / HT_SHARES, each rounded to the nearest.  first <= last <= HT_SHARES. */
typedef struct {
    uint32_t first, last;
} ht_share_t;

static const ht_share_t ht_whole = {0, HT_SHARES};

/* What tasks add up to beside their sums. */
typedef struct {
    int64_t loss;   /* in units of the loss's grid */
    double largest; /* |gradient|, infinite when one was not finite */
    uint64_t rows;
    double changes[HT_CHANGES_ARRAYS]; /* |change| of a replica, of each array; else 0 */
} ht_sync_total_t;

/* Sets this node's share of the first step; before any worker works. */
ht_err_t ht_sync_set_share(ht_sync_t *sync, ht_share_t share);

/* Waits until another step than *step (0: any) is in its exchange, not past deadline_ns, and writes
 * its number to *step.  HT_OK; HT_EINTR: call again; HT_ETIMEOUT; HT_ESTOPPED: the workers were
 * asked to leave. */
ht_err_t ht_sync_await_exchange(ht_sync_t *sync, uint32_t *step, uint64_t deadline_ns);

/* Returns whether a step is in its merge: else the arrays stay as they are until the guest opens
 * the next merge. */
int ht_sync_is_merging(ht_sync_t *sync);

/* Returns the number of sums of a step: one for each coordinate, and where there are replicas so
 * many for each of their arrays, one array after the other.  The sums of an array are padded to
 * whole groups. */
int64_t ht_sync_n_sums(const ht_sync_t *sync);

/* Returns how many steps of all nodes this node has merged or found refused since the start. */
uint64_t ht_sync_applied(ht_sync_t *sync);

/* Adds the sums first .. last - 1 over the workers that count to `sums`, and sets the marks of the
 * groups that hold any to 1.  first and last are multiples of HT_SUMS_GROUP. */
void ht_sync_collect(ht_sync_t *sync, int64_t first, int64_t last, int64_t *sums, uint8_t *marks);

/* Returns the total of the workers that count. */
ht_sync_total_t ht_sync_tally(ht_sync_t *sync);

/* Sets the sums first .. last - 1 of all nodes, as of ht_sync_collect: those of a body
 * (ht_encoding.h) that was checked for these groups. */
void ht_sync_put(ht_sync_t *sync, int64_t first, int64_t last, const uint8_t *body, int encoding);

/* Opens the merge of the sums that were put, with the total of all nodes.  HT_EBUSY: no step is in
 * its exchange. */
ht_err_t ht_sync_merge(ht_sync_t *sync, const ht_sync_total_t *total);

/* Makes the open step count for nothing; the next one takes the same batch, and this node does
 * `share` of its tasks.  HT_EBUSY: no step is in its exchange.  HT_EINVAL: a broken share. */
ht_err_t ht_sync_repeat(ht_sync_t *sync, ht_share_t share);

/* Puts another node's state in the place of this node's, and ends the open step with it: what the
 * other node has saved (ht_sync_save) after it had merged the step, or a later one.  HT_EBUSY: no
 * step is in its exchange.  HT_EINVAL: a broken share, or a number out of range. */
ht_err_t ht_sync_replace(ht_sync_t *sync, const ht_sync_saved_t *saved, const float *arrays,
                         ht_share_t share);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_replay: a recorded run of the stream, run again by one thread: the same bits.
 *
 * Layer L11.  The caller opens a stream with the settings of the recorded one, not recorded itself,
 * and begins and resumes its epochs as the supervisor did.  For each it gives the entries of all
 * logs (ht_log.h) until the next rest, and calls ht_replay_go_on until the entries are used up.
 * All calls on a replay, and on its stream, are made in turn.  No worker takes part.
 *
 * The order: of the workers whose next deed may come, the one goes on that has trained the fewest
 * rows since the last rest, and of those the first.  Rows may always come.  An exchange may come
 * once those with smaller sequences of its block were made.  A worker's deeds come in the order of
 * its log; the rows between two of them follow from the entries.
 *
 * A worker that was killed has left rows that no entry explains.  So the recorded run takes a
 * snapshot (ht_snapshot.h) of the place of each dead worker, and the replay goes on from it.
 */
#ifndef HT_REPLAY_H
#define HT_REPLAY_H

#include "run/ht_worker.h"

typedef struct ht_replay ht_replay_t;

/* Makes a replay of a stream whose features are all hot, at its beginning.  HT_EINVAL for another
 * stream; -ENOMEM. */
ht_err_t ht_replay_open(ht_stream_t *stream, ht_replay_t **out);

/* Frees the replay; NULL is allowed. */
void ht_replay_close(ht_replay_t *replay);

/* Sets what a worker did until the next rest: n entries, which must stay.  HT_LOG_DIED stands where
 * a snapshot was taken. */
void ht_replay_set_entries(ht_replay_t *replay, uint32_t worker, const uint64_t *entries, size_t n);

/* Sets the snapshots of all workers, one after the other, which must stay. */
void ht_replay_set_snapshots(ht_replay_t *replay, const unsigned char *snapshots, size_t n);

/* Returns the rows that all workers have trained, of all epochs. */
uint64_t ht_replay_rows(ht_replay_t *replay);

/* Returns the sum of the losses of the rows that are trained, of the chunks that are not: their
 * workers have not summed them yet. */
double ht_replay_open_loss(const ht_replay_t *replay);

/* Goes on until at least `rows` rows are trained, at the end of a group, or at a snapshot.  HT_OK:
 * they are, and there may be more.  HT_EEND: all entries are used up.  HT_EINVAL: the entries
 * contradict each other or the rows: no such stream has made them.  HT_ECHANGED: rows of a mapped
 * file changed. */
ht_err_t ht_replay_go_on(ht_replay_t *replay, uint64_t rows);

#endif

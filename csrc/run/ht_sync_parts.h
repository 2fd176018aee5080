/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_sync_parts: the parts of a run of the round, for ht_sync.c, ht_sync_open.c, ht_sync_work.c,
 * ht_sync_merge.c, ht_sync_guest_parts.h, ht_sync_local.c, ht_sync_local.h, ht_sync_step.h only.
 *
 * Layer L8.
 */
#ifndef HT_SYNC_PARTS_H
#define HT_SYNC_PARTS_H

#include <math.h>
#include <string.h>

#include "rows/ht_batches.h"
#include "run/ht_sync_guest.h"
#include "share/ht_layout.h"
#include "share/ht_rates.h"

enum { BLOCK = 2048 }; /* coordinates */

_Static_assert(BLOCK % HT_SUMS_SCALE == 0, "a scale is of one block");
_Static_assert(BLOCK % (8 * HT_SUMS_GROUP) == 0, "marks are padded to 8 bytes");

/* The parts of a run's segment, in this order. */
enum {
    ROUND,
    CONTROLS,
    TALLIES,
    CREDITS,
    RATES,
    WORDS,
    GUEST,      /* this and the next two: when there is a guest */
    GUEST_SUMS, /* of all nodes, lane after lane */
    GUEST_MARKS,
    SLOWED,
    SHARES,    /* of all coordinates; when the optimizer needs them */
    L1_FACTOR, /* of all coordinates; when it is not 1 */
    SCALES,    /* when there are any */
    ARRAYS,    /* w, state, outer velocity, average (ht_sums.h) */
    SUMS,      /* this and the next one: of each worker and lane */
    MARKS,
    REPORTS, /* this and all that follow: of each worker */
    VERDICTS,
    REDO,
    TOUCHED,
    IDS,
    GRADIENT,
    TASK_SUM, /* when the rows are dense */
    OUTPUTS,
    REPLICA,   /* this and the next three: when there are replicas */
    LOCAL_SUM, /* of the gradients of a local step */
    LOCAL_MARKS,
    LOCAL_LISTED,
    LOCAL_GROUPS,
    FETCHED, /* when the rows are those of a mapped file */
    N_PARTS
};
_Static_assert(N_PARTS <= HT_LAYOUT_PARTS, "the layout has room");

/* The state from which a step starts.  Step s reads controls[s % 2], and its merge writes the other
 * one, as one more block: the owner of that block's commit writes it.  A worker's verdict is its
 * redo slot of that block: the worker writes it before it commits the block, and the commit hands
 * the verdict to an heir.
 *
 *   step == 1 + batches + refused + repeats + (outcome == HT_ENONFINITE), without the steps
 *           before ht_sync_restore, and those that ht_sync_replace has skipped
 *
 * Relaxed throughout: handed over by the phase.  A worker that reads a control too late fails its
 * next compare-and-swap. */
typedef struct {
    HT_ALIGNED ht_word64_t batches; /* done, since the start */
    ht_word64_t together;           /* batches of a step; also set by the supervisor, at rest */
    ht_word64_t refused;            /* steps, since the start */
    ht_word64_t loss;               /* bits of a double: of all rows so far */
    ht_word64_t bound;              /* bits of a double > 0; of |gradient| in this step */
    ht_word64_t outcome;            /* HT_OK or HT_ENONFINITE */
    ht_word64_t changes[HT_CHANGES_ARRAYS]; /* bits of doubles > 0; of |change| of a replica */
    ht_word64_t repeats;                    /* steps that counted for nothing, since the start */
    ht_word64_t share;                      /* of this node in the step's tasks; see share_of */
} control_t;

/* The values of a control, outside of the segment. */
typedef struct {
    uint64_t batches, refused;
    uint32_t together;
    double loss, bound;
    ht_err_t outcome;
    double changes[HT_CHANGES_ARRAYS];
    uint64_t repeats;
    ht_share_t share;
} state_t;

/* Losses are summed on a grid as gradients are: its unit lies LOSS_BITS bits below the square of
 * the bound.  A task's loss is cut off at its share of LOSS_SUM_BITS bits: no sum overflows. */
enum { LOSS_BITS = 26, LOSS_SUM_BITS = 62 };

/* A worker's part of the totals of a step; written by that worker, 0 when it enters the step.
 * Relaxed: handed over with its sums, when the round counts them. */
typedef struct {
    HT_ALIGNED ht_word64_t loss; /* int64_t, in units of the loss's grid */
    ht_word64_t largest;         /* bits of a double: |gradient|, infinite when not finite */
    ht_word64_t rows;            /* added in this step */
    ht_word64_t changes[HT_CHANGES_ARRAYS]; /* bits of doubles: |change| of a replica */
} tally_t;

/* The rows that a worker's sums have brought into the parameters.  The worker that copies the
 * control of a step writes the credits of all workers, as part of the copy: relaxed as control_t.
 * `step` and `before` let an heir write a credit again.
 *
 *   rows == before + tally.rows of `step`
 *   sum of rows over all workers == rows of the batches that are done
 */
typedef struct {
    ht_word64_t rows;   /* of all steps up to `step` */
    ht_word64_t before; /* of all steps before it */
    ht_word64_t step;   /* the last one that counted */
} credit_t;

/* The statistics of a place; written by the place's worker alone, but for the generation.  Relaxed:
 * statistics, read at any time.  The next worker of the place adds to them. */
typedef struct {
    HT_ALIGNED ht_word64_t generation; /* of the place's worker; 0: the first; by the supervisor,
                                        * when the place is empty */
    ht_word64_t steps;                 /* entered */
    ht_word64_t compute_ns;
    ht_word64_t merge_ns;
    ht_word64_t wait_ns;
    ht_round_counts_t counts;
} report_t;

/* The words between the supervisor and the workers. */
typedef struct {
    HT_ALIGNED ht_word64_t allowed; /* batches since the start; by the supervisor */
    HT_ALIGNED ht_word32_t leaving; /* 0 or 1; by the supervisor */
    HT_ALIGNED ht_word32_t rested;  /* raised by a worker that opens a step that is not allowed */
    HT_ALIGNED ht_word32_t changed; /* 0 or 1; by a worker that met rows that had changed;
                                     * relaxed: read at rest */
    HT_ALIGNED ht_word32_t exchanging; /* raised by a worker that has ended the work of a step for
                                        * which there is a guest */
} words_t;

/* The delay of a worker's tasks, in thousandths of their time; for tests; by the supervisor. */
typedef struct {
    HT_ALIGNED ht_word32_t thousandths;
} slowed_t;

_Static_assert(sizeof(control_t) == HT_LINE, "the layout of the segment");
_Static_assert(sizeof(tally_t) == HT_LINE, "the layout of the segment");
_Static_assert(sizeof(credit_t) == 24, "the layout of the segment");
_Static_assert(sizeof(report_t) == HT_LINE, "the layout of the segment");
_Static_assert(sizeof(words_t) == 5 * HT_LINE, "the layout of the segment");
_Static_assert(sizeof(slowed_t) == HT_LINE, "the layout of the segment");

/* The result of the task in hand.  Of sparse rows it is the gradients, and each element of a row is
 * a contribution.  Of dense rows it is `sum`: a contribution is a task's gradient in a coordinate.
 */
typedef struct {
    int64_t *ids;
    float *gradient;
    float *sum; /* one per coordinate, padded by 0; NULL: the rows are sparse */
    int n_rows;
    int64_t loss;
    double largest;
} slot_t;

/* What a worker holds: nothing, a task that it claimed, or its result. */
typedef enum { HOLDS_NOTHING = 0, HOLDS_TASK, HOLDS_RESULT } hand_t;

typedef struct {
    ht_round_self_t self;
    state_t state; /* of self.step */
    slot_t slot;
    uint32_t task;
    hand_t hand;
    float *replica[HT_CHANGES_ARRAYS]; /* padded; NULL: there are no replicas, or no such array */
    ht_sums_t local;                   /* of the gradients of a local step */
    uint8_t *listed;                   /* of sparse rows, by groups: 1: it is one of `groups` */
    uint32_t *groups;                  /* those that a local step touches */
    int64_t n_groups;
    uint32_t idle_step; /* step and phase in which this worker last found nothing to do */
    ht_phase_t idle_phase;
    uint32_t judged;     /* the step to which the next four belong */
    state_t verdict;     /* the state after the step */
    int is_merging;      /* the step is neither refused nor broken */
    ht_sums_t *counting; /* the sums that count in the step; at most one for each task */
    uint32_t n_counting;
    float *z; /* outputs of a group of rows */
    float *redo;
    uint8_t *touched;
    const ht_rows_t *rows; /* all rows of the run; where a file is mapped, those of `fetched` */
    ht_fetched_t fetched;  /* the group in hand of mapped rows */
    report_t *report;
    uint64_t generation; /* for which the sums were cleared last; 0: the first */
} worker_t;

struct ht_sync {
    /* As it was opened, except for the numbers that `correct` changes, its arrays and its model:
     * rows are the caller's, scales are in the segment, and the other arrays and the model are
     * NULL, since the run has copies. */
    ht_sync_config_t config;
    ht_layout_t layout;
    ht_segment_t *segment;
    int is_creator;     /* else it is attached */
    int32_t segment_fd; /* of a creator; -1: the segment is not shared */
    ht_round_t *round;
    control_t *controls; /* 2 */
    control_t *verdicts; /* n_workers */
    tally_t *tallies;    /* n_workers */
    credit_t *credits;   /* n_workers */
    report_t *reports;   /* n_workers */
    ht_rates_t *rates;
    words_t *words;
    struct ht_sync_guest *guest;             /* NULL: there is none */
    ht_sums_t guest_sums[HT_CHANGES_ARRAYS]; /* of the lanes, one after the other; likewise */
    slowed_t *slowed;                        /* n_workers */
    float *shares;                           /* of all coordinates; NULL: all 1 */
    float *l1_factor;                        /* likewise */
    float *arrays[HT_SUMS_ARRAYS]; /* w, state, outer velocity, average (ht_sums.h); padded */
    ht_sums_t *sums;               /* [worker * n_lanes + lane] */
    worker_t *workers;
    ht_sums_t *counting;              /* the lists of all workers, one after the other */
    ht_model_t *model;                /* for sums */
    const ht_sums_kernels_t *kernels; /* of merges */
    const ht_changes_kernels_t *changes;
    ht_batches_t batches;
    int64_t n_coordinates;
    int n_arrays;
    uint32_t n_lanes;       /* sums per worker */
    uint32_t n_blocks;      /* of coordinates; the control is one more */
    uint32_t most_tasks;    /* in a step */
    uint32_t most_counting; /* sums in a step */
};

HT_INLINE int has_replicas(const ht_sync_t *sync)
{
    return sync->config.replicas > 0;
}

HT_INLINE uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

HT_INLINE double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A share in a word. */
HT_INLINE uint64_t word_of(ht_share_t share)
{
    return (uint64_t)share.first << 32 | share.last;
}

HT_INLINE ht_share_t share_of(uint64_t word)
{
    return (ht_share_t){(uint32_t)(word >> 32), (uint32_t)word};
}

HT_INLINE state_t read_state(const control_t *control)
{
    /* relaxed: see control_t. */
    state_t state = {
        .batches = ht_load_relaxed(&control->batches),
        .together = (uint32_t)ht_load_relaxed(&control->together),
        .refused = ht_load_relaxed(&control->refused),
        .loss = double_of(ht_load_relaxed(&control->loss)),
        .bound = double_of(ht_load_relaxed(&control->bound)),
        .outcome = (ht_err_t)ht_load_relaxed(&control->outcome),
        .repeats = ht_load_relaxed(&control->repeats),
        .share = share_of(ht_load_relaxed(&control->share)),
    };
    for (int k = 0; k < HT_CHANGES_ARRAYS; k++)
        state.changes[k] = double_of(ht_load_relaxed(&control->changes[k]));
    return state;
}

HT_INLINE void write_state(control_t *control, const state_t *state)
{
    /* relaxed: see control_t. */
    ht_store_relaxed(&control->batches, state->batches);
    ht_store_relaxed(&control->together, state->together);
    ht_store_relaxed(&control->refused, state->refused);
    ht_store_relaxed(&control->loss, bits_of(state->loss));
    ht_store_relaxed(&control->bound, bits_of(state->bound));
    ht_store_relaxed(&control->outcome, (uint64_t)state->outcome);
    ht_store_relaxed(&control->repeats, state->repeats);
    ht_store_relaxed(&control->share, word_of(state->share));
    for (int k = 0; k < HT_CHANGES_ARRAYS; k++)
        ht_store_relaxed(&control->changes[k], bits_of(state->changes[k]));
}

HT_INLINE state_t state_at(const ht_sync_t *sync, uint32_t step)
{
    return read_state(&sync->controls[step % 2]);
}

HT_INLINE uint64_t batches_after(const ht_sync_t *sync, const state_t *state)
{
    return state->batches + ht_batches_taken(&sync->batches, state->batches, state->together);
}

HT_INLINE uint64_t rows_of(const ht_sync_t *sync, const state_t *state)
{
    return ht_batches_rows(&sync->batches, state->batches, state->together);
}

HT_INLINE uint32_t tasks_of(const ht_sync_t *sync, const state_t *state)
{
    return ht_batches_tasks(&sync->batches, state->batches, state->together);
}

HT_INLINE uint64_t most_together(const ht_sync_t *sync)
{
    return has_replicas(sync) ? sync->config.most_together : 1;
}

/* Adds `more` to a word of the worker's own report. */
HT_INLINE void raise_own(ht_word64_t *word, uint64_t more)
{
    /* relaxed, both: see report_t. */
    ht_store_relaxed(word, ht_load_relaxed(word) + more);
}

HT_INLINE int is_allowed(ht_sync_t *sync, const state_t *state)
{
    /* relaxed: a worker that sees a change late works on, or is woken. */
    return state->outcome == HT_OK && state->batches < ht_load_relaxed(&sync->words->allowed);
}

HT_INLINE int has_average(const ht_sync_t *sync)
{
    return sync->config.averages_per_epoch > 0;
}

/* Returns the number of averages that were due in the first `batches` batches. */
HT_INLINE uint64_t averages_until(const ht_sync_t *sync, uint64_t batches)
{
    return batches * sync->config.averages_per_epoch / sync->batches.steps_per_epoch;
}

HT_INLINE ht_sums_t *sums_of(ht_sync_t *sync, uint32_t worker, uint32_t lane)
{
    return &sync->sums[(size_t)worker * sync->n_lanes + lane];
}

/* Returns the unit of the losses' grid, a power of two. */
HT_INLINE double loss_unit(const state_t *state)
{
    int exponent;
    (void)frexp(state->bound, &exponent);
    return ldexp(1.0, 2 * exponent - LOSS_BITS);
}

/* Returns the unit of the gradients' grid before scales, a power of two. */
HT_INLINE double unit_of(const ht_sync_t *sync, const state_t *state)
{
    double largest = state->bound * sync->config.largest_value;
    uint64_t n = rows_of(sync, state);
    if (!(largest > 0.0))
        largest = 1.0;
    if (ht_rows_is_dense(&sync->config.rows)) {
        /* Each task's sum is one contribution.  2: its additions round, at most upwards. */
        largest *= 2.0 * (double)sync->batches.strip_rows;
        n = tasks_of(sync, state);
    }
    return ldexp(1.0, ht_sums_exponent(largest, n));
}

HT_INLINE ht_err_t note_idle(worker_t *me)
{
    me->idle_step = me->self.step;
    me->idle_phase = me->self.phase;
    return HT_EEND;
}

/* Returns the state that was saved; HT_EINVAL for a number out of range. */
ht_err_t ht_sync_state_of(const ht_sync_t *sync, const ht_sync_saved_t *saved, state_t *state);

/* Takes part in the current step.  HT_EEND: the step is not allowed.  HT_EBUSY: the worker is
 * barred from it. */
ht_err_t ht_sync_enter(ht_sync_t *sync, worker_t *me);

#endif

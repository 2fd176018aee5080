/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the settings of a stream go together.
 *
 * Design notes.
 *
 * The kernels trust what is checked here, and Python has given the user a clear error before: a
 * broken configuration is HT_EINVAL, and nothing more.
 *
 * Tests: tests/c/test_stream_attach.c, test_team_stream.c and test_worker_breadth.c.
 */
#include "run/ht_stream_parts.h"

/* Returns whether shares are given where penalties need them, and only where entries can hold them,
 * and factors only where rows are dense.  Penalties reach the coordinates by shares, unless each
 * row holds all coordinates. */
static int has_what_penalties_need(const ht_stream_config_t *c)
{
    int has_penalty = c->step.l1 != 0.0f || c->step.l2 != 0.0f;
    int needs = !ht_rows_is_dense(&c->rows) && ht_optimizer_has_shares(c->optimizer);
    if (c->l1_factor != NULL && !ht_rows_is_dense(&c->rows))
        return 0;
    return c->inverse_share == NULL ? !(has_penalty && needs) : needs;
}

/* Returns whether the rows' hot elements fit n_hot: a kernel trusts them. */
static int has_sound_rows(const ht_stream_config_t *c)
{
    int64_t n_hot = c->n_hot > 0 ? c->n_hot - 1 : 0; /* features */
    if (ht_rows_is_dense(&c->rows))                  /* lanes must not depend on n_hot */
        return c->rows.values != NULL && c->rows.n_hot == n_hot &&
               (n_hot % HT_LANES == 0 || n_hot == c->rows.n_features);
    if (c->rows.hot != NULL) /* the columns were renumbered, so the rows are a copy */
        return c->n_hot > 0 && !ht_rows_is_mapped(&c->rows);
    return c->rows.n_hot == 0 ? c->n_hot == 0 : n_hot == c->rows.n_features;
}

/* Returns whether the teams are numbered in the order of their workers, and go with the run. */
static int has_sound_teams(const ht_stream_config_t *c)
{
    if (c->n_teams == 0)
        return c->team_of == NULL;
    if (c->team_of == NULL || c->is_recorded || c->n_hot == 0 ||
        ht_optimizer_is_dense(c->optimizer) || ht_optimizer_arrays(c->optimizer) > HT_TEAM_ARRAYS)
        return 0;
    uint32_t next = 0; /* team of the next worker, unless it is that of the last one */
    for (uint32_t w = 0; w < c->n_workers; w++) {
        if (c->team_of[w] != next && (w == 0 || c->team_of[w] != next - 1))
            return 0;
        next = c->team_of[w] + 1;
    }
    return next == c->n_teams;
}

int ht_stream_is_valid(const ht_stream_config_t *c)
{
    return c->n_workers >= 1 && c->n_workers <= HT_MAX_WORKERS && c->rows.n_rows >= 1 &&
           c->rows.targets != NULL && c->rows.n_features >= 1 &&
           c->rows.n_features < INT32_MAX / 4 && c->model != NULL && c->optimizer >= 0 &&
           c->optimizer < HT_OPTIMIZER_COUNT && c->rows_in_flight >= 1 &&
           c->rows_in_flight <= HT_GROUP_ROWS && c->n_hot >= 0 &&
           c->n_hot <= c->rows.n_features + 1 && has_sound_rows(c) &&
           (c->n_hot == 0 || c->curvature != NULL) && !(c->exact && c->n_hot != 0) &&
           c->adds >= HT_WEIGHTED && c->adds <= HT_COMPENSATED &&
           !(c->is_leased && (c->is_recorded || c->averages_per_epoch > 0)) &&
           (!(c->adds || c->is_recorded) || c->n_hot == c->rows.n_features + 1) &&
           !(ht_optimizer_is_dual(c->optimizer) && c->averages_per_epoch > 0) && c->lrs != NULL &&
           c->lrs_per_epoch >= 1 && c->n_epochs >= 1 && has_what_penalties_need(c) &&
           has_sound_teams(c);
}

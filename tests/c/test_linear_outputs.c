/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Row kernels of several outputs: every instruction set alike, dense as sparse,
 * each output as the formulas have it, and padding left at 0.
 */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "support/linear_fixture.h"
#include "support/problem.h"

enum { N_ROWS = 37, N_FEATURES = 19, LONGEST = 12 };
static const int64_t class_counts[] = {2, 16, 20};
static const int64_t n_hots[] = {0, 1, 7, N_FEATURES};
enum { N_CLASS_COUNTS = 3, N_HOTS = 4 };

static float first_all[STORE_MOST], all[STORE_MOST];
static store_t store;
static int has_factors; /* on l1; where entries hold no c */

/* Opens the store as the test wants it. */
static void open_store(const store_kind_t *kind, int64_t n_hot)
{
    store_open(&store, kind, n_hot);
    if (has_factors)
        store_factors(&store);
}

static void heat(problem_t *problem, int64_t n_hot)
{
    problem->rows.hot = NULL;
    problem->rows.n_hot = n_hot;
    if (!ht_rows_is_dense(&problem->rows) && n_hot > 0 && n_hot < N_FEATURES)
        problem_heat(problem, n_hot);
}

/* ---- dot ---------------------------------------------------------------------- */

static void check_dot_values(const problem_t *problem, const store_kind_t *kind,
                             const ht_step_t *step, const float *z)
{
    ht_step_t slow = naive_free(step, kind->optimizer, 0);
    (void)store_collect(&store, all);
    for (int64_t r = 0; r < N_ROWS; r++)
        for (int64_t o = 0; o < store.outputs; o++) {
            ht_row_t row = ht_row_at(&problem->rows, r);
            naive_entry_t entry = store_entry(&store, all, 0, o);
            double sum = kind->has_intercept ? naive_w(&entry, &slow, kind->optimizer) : 0.0;
            for (int64_t i = 0; i < row.n; i++) {
                int64_t j = ht_row_column(row, i);
                double c1 = has_factors ? (double)store.l1_factor[j] : 1.0;
                ht_step_t mine = naive_by_factor(step, c1);
                entry = store_entry(&store, all, j + 1, o);
                sum += naive_w(&entry, &mine, kind->optimizer) * (double)ht_row_value(row, i);
            }
            CHECK_CLOSE(z[r * store.outputs + o], sum, 1e-5);
            CHECK(o < kind->classes || z[r * store.outputs + o] == 0.0f);
        }
}

static void check_dot(problem_t *problem, const store_kind_t *kind)
{
    static float expected[N_ROWS * 32], z[N_ROWS * 32];
    const ht_step_t step = store_step_of(kind->optimizer, 2);
    int is_dual = ht_optimizer_is_dual(kind->optimizer);
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
        for (int h = 0; h < N_HOTS; h++) {
            int n = h % 2 ? HT_GROUP_ROWS : 5;
            heat(problem, n_hots[h]);
            open_store(kind, n_hots[h]);
            memset(z, 0x7f, sizeof z);
            store_dot(&store, &problem->rows, ht_linear_kernels(isa, HT_OUTPUTS)->dot_racy[is_dual],
                      n, is_dual ? &step : NULL, z);
            if (isa == HT_BASELINE && h == 0) {
                check_dot_values(problem, kind, &step, z);
                memcpy(expected, z, sizeof z);
            }
            CHECK(memcmp(z, expected, sizeof z) == 0);
        }
}

/* ---- step ---------------------------------------------------------------------- */

static void check_step(problem_t *problem, const store_kind_t *kind, const ht_step_t *step)
{
    static naive_entry_t expected[STORE_MOST];
    size_t n = 0;
    heat(problem, 0);
    open_store(kind, 0);
    store_step_naively(&store, &problem->rows, step, expected);
    for (ht_isa_t isa = HT_BASELINE; isa <= ht_vector_best_isa(); isa++)
        for (int h = 0; h < N_HOTS; h++) {
            heat(problem, n_hots[h]);
            open_store(kind, n_hots[h]);
            store_step(
                &store, &problem->rows,
                ht_linear_kernels(isa, HT_OUTPUTS)->step_racy[kind->optimizer][kind->has_shares],
                step);
            n = store_collect(&store, isa == HT_BASELINE && h == 0 ? first_all : all);
            if (isa == HT_BASELINE && h == 0)
                store_check(&store, first_all, expected);
            else
                CHECK(memcmp(all, first_all, sizeof *all * n) == 0);
        }
    ht_step_fn_t exact = ht_linear_step_exact(kind->optimizer, kind->has_shares);
    if (exact == NULL)
        return;
    heat(problem, 0);
    open_store(kind, 0);
    store_step(&store, &problem->rows, exact, step);
    (void)store_collect(&store, all);
    store_check(&store, all, expected);
    CHECK(memcmp(all, first_all, sizeof *all * n) == 0);
}

/* Hot entries hold the factor in the place of c, and no other bits. */
static void a_folded_penalty_has_the_same_bits(problem_t *problem)
{
    const store_kind_t kind = {HT_SGD, 1, N_FEATURES, 20, 1};
    ht_step_t step = store_step_of(HT_SGD, 1);
    ht_step_fn_t fn = ht_linear_kernels(ht_vector_best_isa(), HT_OUTPUTS)->step_racy[HT_SGD][1];
    for (int h = 1; h < N_HOTS; h++) {
        float c[N_FEATURES + 1];
        heat(problem, n_hots[h]);
        store_open(&store, &kind, n_hots[h]);
        for (int64_t row = 0; row <= n_hots[h]; row++)
            c[row] = store.hot[STORE_GUARD + 2 * store.outputs * row + 1];
        step.is_folded = 0;
        store_step(&store, &problem->rows, fn, &step);
        (void)store_collect(&store, first_all);
        store_open(&store, &kind, n_hots[h]);
        ht_optimizer_fold(store.hot + STORE_GUARD, c, (n_hots[h] + 1) * store.outputs,
                          (int)store.outputs, step.lr, step.l2);
        step.is_folded = 1;
        store_step(&store, &problem->rows, fn, &step);
        size_t n = store_collect(&store, all);
        for (size_t i = 0; i < n; i += 2)
            CHECK(memcmp(&all[i], &first_all[i], sizeof *all) == 0);
    }
}

/* Penalties of sparse rows without shares are for dual optimizers alone, whose w takes them. */
static int is_penalised(const ht_step_t *step)
{
    return step->l1 != 0.0f || step->l2 != 0.0f;
}

static void all_optimizers(problem_t *problem)
{
    const int is_dense = ht_rows_is_dense(&problem->rows);
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int k = 0; k < N_CLASS_COUNTS; k++)
            for (int has_intercept = 0; has_intercept < 2; has_intercept++) {
                int can_share = ht_optimizer_has_shares(o) && !is_dense;
                for (int option = 0; option < 2 + can_share; option++) {
                    const int shares = option == 2;
                    has_factors = option == 1;
                    const store_kind_t kind = {o, shares, N_FEATURES, class_counts[k],
                                               has_intercept};
                    check_dot(problem, &kind);
                    for (int s = 0; s < STORE_STEPS; s++) {
                        const ht_step_t step = store_step_of(o, s);
                        if (is_dense ||
                            (!ht_optimizer_is_dense(o) && (shares || !is_penalised(&step))))
                            check_step(problem, &kind, &step);
                    }
                }
                has_factors = 0;
            }
}

/* Dense rows and the same as sparse ones: intercepts apart whose rate is another there. */
static void dense_rows_have_the_bits_of_sparse_ones(const problem_t *problem)
{
    const ht_rows_t sparse = problem_as_sparse(problem);
    for (ht_optimizer_t o = 0; o < HT_OPTIMIZER_COUNT; o++)
        for (int s = 0; s < STORE_STEPS; s++) {
            const store_kind_t kind = {o, 0, N_FEATURES, 20, 1};
            const ht_step_t step = store_step_of(o, s);
            ht_step_fn_t fn = ht_linear_kernels(ht_vector_best_isa(), HT_OUTPUTS)->step_racy[o][0];
            if (ht_optimizer_is_dense(o) || is_penalised(&step))
                continue; /* no step on sparse rows */
            store_open(&store, &kind, 0);
            store_step(&store, &sparse, fn, &step);
            size_t n = store_collect(&store, first_all);
            store_open(&store, &kind, 0);
            store_step(&store, &problem->rows, fn, &step);
            (void)store_collect(&store, all);
            size_t size = (size_t)(store.stride * store.outputs);
            size_t first = ht_optimizer_intercept_rate(o, 0) != 1.0f ? size : 0;
            CHECK(memcmp(all + first, first_all + first, sizeof *all * (n - first)) == 0);
            CHECK((memcmp(all, first_all, sizeof *all * size) == 0) == (first == 0));
        }
}

int main(void)
{
    for (int has_values = 0; has_values < 2; has_values++) {
        problem_t problem;
        problem_open(&problem, 41, N_ROWS, N_FEATURES, LONGEST, has_values, !has_values);
        all_optimizers(&problem);
        if (has_values) /* without weights */
            a_folded_penalty_has_the_same_bits(&problem);
        problem_close(&problem);
    }
    for (int has_weights = 0; has_weights < 2; has_weights++) {
        problem_t problem;
        problem_open_dense(&problem, 44, N_ROWS, N_FEATURES, has_weights);
        dense_rows_have_the_bits_of_sparse_ones(&problem);
        all_optimizers(&problem);
        problem_close(&problem);
    }
    FINISH();
}

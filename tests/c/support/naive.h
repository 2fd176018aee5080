/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * naive: the formulas of ht_optimizer.h and ht_softmax.h in double, one
 * coordinate and one row at a time.
 */
#ifndef NAIVE_H
#define NAIVE_H

#include "model/ht_linear.h"

/* w, then the state: AdaGrad G; momentum m; Adam m v; FTRL z n; RMSProp v. */
typedef struct {
    double w, a, b;
} naive_entry_t;

/* Whether an array of an entry holds squared gradients. */
int naive_has_squares(ht_optimizer_t optimizer, int array);

/* One step with d = gradient * x; weight is the row's, c the inverse share. */
void naive_step(naive_entry_t *entry, double d, double c, double weight, const ht_step_t *step,
                ht_optimizer_t optimizer);

/* The parameter now: FTRL's depends on the penalties so far. */
double naive_w(const naive_entry_t *entry, const ht_step_t *step, ht_optimizer_t optimizer);

/* The step on an intercept: at its own rate, free of penalties. */
ht_step_t naive_free(const ht_step_t *step, ht_optimizer_t optimizer, int is_dense);

/* The step on a coordinate with the factor c1 on l1, and c1^2 on l2. */
ht_step_t naive_by_factor(const ht_step_t *step, double c1);

/* log(sum exp z) - z[target], and its derivatives. */
double naive_softmax(int64_t classes, const double *z, int64_t target, double *gradient);

/* k (k + 1) ... (k + 10), what iterate k counts in an average. */
double naive_average_weight(uint64_t k);

/* A linear model: entry j * outputs + o, row 0 the intercepts. */
typedef struct {
    const ht_rows_t *rows;
    ht_loss_t loss;
    int64_t classes; /* 0: one output */
    int64_t outputs; /* of a row of entries, padding included */
    ht_optimizer_t optimizer;
    int has_intercept;
    const float *c;         /* of each row of entries; NULL: 1 */
    const float *l1_factor; /* likewise, where c is NULL */
    naive_entry_t *entries;
} naive_model_t;

/* z and the gradient times the weight, for a row and each output (arrays of
 * model->outputs; padding is 0); returns the weighted loss. */
double naive_gradient(const naive_model_t *model, int64_t row, const ht_step_t *step,
                      double *gradient);

/* One step of every coordinate of the row, and of the intercepts. */
void naive_row(const naive_model_t *model, int64_t row, const double *gradient,
               const ht_step_t *step);

#endif

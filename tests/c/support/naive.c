/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/naive.h"

#include <math.h>

static double shrink(double w, double threshold)
{
    return copysign(fmax(0.0, fabs(w) - threshold), w);
}

int naive_has_squares(ht_optimizer_t optimizer, int array)
{
    ht_state_t state = ht_optimizer_traits(optimizer)->state[array];
    return state == HT_SUM_OF_SQUARES || state == HT_MEAN_OF_SQUARES;
}

double naive_w(const naive_entry_t *entry, const ht_step_t *step, ht_optimizer_t optimizer)
{
    if (optimizer != HT_FTRL)
        return entry->w;
    double divisor = ((double)step->beta + sqrt(entry->b)) / (double)step->lr;
    return -shrink(entry->a, step->l1_sum) / (divisor + (double)step->l2_sum);
}

void naive_step(naive_entry_t *entry, double d, double c, double weight, const ht_step_t *step,
                ht_optimizer_t optimizer)
{
    double size = step->lr, change = d;
    double decay1 = step->decay1, decay2 = step->decay2;
    if (optimizer == HT_FTRL) {
        double sum = entry->b + d * d;
        double sigma = (sqrt(sum) - sqrt(entry->b)) / (double)step->lr;
        entry->a += d - sigma * naive_w(entry, step, optimizer);
        entry->b = sum;
        entry->w = naive_w(entry, step, optimizer);
        return;
    }
    if (optimizer == HT_ADAGRAD) {
        entry->a += d * d;
        if (entry->a == 0.0)
            return;
        size /= sqrt(entry->a) + (double)HT_ROOT_EPS;
    }
    if (optimizer == HT_MOMENTUM)
        change = entry->a = decay1 * entry->a + d;
    if (optimizer == HT_ADAM) {
        entry->a = decay1 * entry->a + (1.0 - decay1) * d;
        entry->b = decay2 * entry->b + (1.0 - decay2) * d * d;
        change = entry->a / (1.0 - (double)step->power1 * decay1);
        size /= sqrt(entry->b / (1.0 - (double)step->power2 * decay2)) + (double)HT_ROOT_EPS;
    }
    if (optimizer == HT_RMSPROP) {
        entry->a = decay2 * entry->a + (1.0 - decay2) * d * d;
        size /= sqrt(entry->a) + (double)HT_ROOT_EPS;
    }
    entry->w -= size * change;
    if (optimizer == HT_MOMENTUM)
        size /= 1.0 - decay1;
    entry->w /= 1.0 + size * weight * (double)step->l2 * c;
    entry->w = shrink(entry->w, size * weight * (double)step->l1 * c);
}

ht_step_t naive_free(const ht_step_t *step, ht_optimizer_t optimizer, int is_dense)
{
    ht_step_t slow = *step;
    slow.lr *= ht_optimizer_intercept_rate(optimizer, is_dense);
    slow.l1 = slow.l2 = slow.l1_sum = slow.l2_sum = 0.0f;
    return slow;
}

ht_step_t naive_by_factor(const ht_step_t *step, double c1)
{
    ht_step_t mine = *step;
    mine.l1 = (float)(c1 * (double)step->l1);
    mine.l2 = (float)(c1 * c1 * (double)step->l2);
    mine.l1_sum = (float)(c1 * (double)step->l1_sum);
    mine.l2_sum = (float)(c1 * c1 * (double)step->l2_sum);
    return mine;
}

/* The step on row j of the entries, which is a feature's. */
static ht_step_t step_of(const naive_model_t *model, int64_t j, const ht_step_t *step)
{
    return naive_by_factor(step, model->l1_factor == NULL ? 1.0 : (double)model->l1_factor[j]);
}

double naive_average_weight(uint64_t k)
{
    return exp(lgamma((double)k + 11.0) - lgamma((double)k));
}

double naive_softmax(int64_t classes, const double *z, int64_t target, double *gradient)
{
    double largest = z[0], sum = 0.0;
    for (int64_t k = 1; k < classes; k++)
        largest = fmax(largest, z[k]);
    for (int64_t k = 0; k < classes; k++)
        sum += exp(z[k] - largest);
    for (int64_t k = 0; k < classes; k++)
        gradient[k] = exp(z[k] - largest) / sum - (k == target ? 1.0 : 0.0);
    return log(sum) + largest - z[target];
}

double naive_gradient(const naive_model_t *model, int64_t id, const ht_step_t *step,
                      double *gradient)
{
    ht_row_t row = ht_row_at(model->rows, id);
    ht_step_t slow = naive_free(step, model->optimizer, ht_rows_is_dense(model->rows));
    int64_t classes = model->classes == 0 ? 1 : model->classes;
    double z[HT_MOST_CLASSES] = {0.0}, y = model->rows->targets[id], loss;
    for (int64_t o = 0; o < classes; o++) {
        if (model->has_intercept)
            z[o] = naive_w(model->entries + o, &slow, model->optimizer);
        for (int64_t i = 0; i < row.n; i++) {
            int64_t j = ht_row_column(row, i) + 1;
            ht_step_t mine = step_of(model, j, step);
            z[o] += naive_w(model->entries + j * model->outputs + o, &mine, model->optimizer) *
                    (double)ht_row_value(row, i);
        }
    }
    for (int64_t o = 0; o < model->outputs; o++)
        gradient[o] = 0.0;
    if (model->classes != 0) {
        loss = naive_softmax(classes, z, (int64_t)y, gradient);
    } else if (model->loss.kind == HT_LOGISTIC) {
        gradient[0] = -y / (1.0 + exp(y * z[0]));
        loss = log1p(exp(-y * z[0]));
    } else {
        gradient[0] = z[0] - y;
        loss = gradient[0] * gradient[0] / 2.0;
    }
    double weight = model->rows->weights == NULL ? 1.0 : (double)model->rows->weights[id];
    for (int64_t o = 0; o < model->outputs; o++)
        gradient[o] *= weight;
    return loss * weight;
}

void naive_row(const naive_model_t *model, int64_t id, const double *gradient,
               const ht_step_t *step)
{
    ht_row_t row = ht_row_at(model->rows, id);
    ht_step_t slow = naive_free(step, model->optimizer, ht_rows_is_dense(model->rows));
    double weight = model->rows->weights == NULL ? 1.0 : (double)model->rows->weights[id];
    for (int64_t o = 0; o < model->outputs; o++) {
        for (int64_t i = 0; i < row.n; i++) {
            int64_t j = ht_row_column(row, i) + 1;
            ht_step_t mine = step_of(model, j, step);
            naive_step(
                model->entries + j * model->outputs + o, gradient[o] * (double)ht_row_value(row, i),
                model->c == NULL ? 1.0 : (double)model->c[j], weight, &mine, model->optimizer);
        }
        if (model->has_intercept)
            naive_step(model->entries + o, gradient[o], 0.0, weight, &slow, model->optimizer);
    }
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A round over several nodes, of batches or of replicas: each does its share of the tasks, and all
 * have the bits of one; a step can be made to count for nothing, and be done again with other
 * shares.
 */
#include <sched.h>
#include <string.h>

#include "base/ht_futex.h"
#include "model/ht_linear.h"
#include "run/ht_sync_guest.h"
#include "run/ht_worker.h"
#include "share/ht_encoding.h"
#include "support/check.h"
#include "support/crew.h"
#include "support/problem.h"

enum { N_ROWS = 1005, N_FEATURES = 3000, N = N_FEATURES + 1, PADDED = (N + 7) / 8 * 8 };
enum {
    MOST_NODES = 3,
    MOST_WORKERS = 2,
    MOST_ARRAYS = HT_SUMS_ARRAYS,
    MOST_SUMS = HT_CHANGES_ARRAYS * PADDED,
    N_EPOCHS = 2
};

/* What the nodes train. */
typedef struct {
    ht_optimizer_t optimizer;
    uint32_t batch_tasks, replicas;
    ht_outer_t outer;
} kind_t;

static const kind_t kinds[] = {
    {HT_ADAGRAD, 8, 0, {HT_OUTER_NONE, 0.0f, 0.0f}},
    /* The last batch of an epoch is one strip: of the only replica. */
    {HT_ADAGRAD, 31, 2, {HT_OUTER_NESTEROV, 0.7f, 0.5f}},
    {HT_FTRL, 31, 3, {HT_OUTER_NONE, 0.0f, 0.0f}},
};

static kind_t kind;
static uint64_t batches, refused; /* of its run */
static problem_t problem;
static ht_linear_t squared;
static float start[N], parameters[N], others[N], arrays[MOST_ARRAYS * N];
static int64_t sums[MOST_SUMS];
static uint8_t marks[MOST_SUMS / 8], body[9 * MOST_SUMS];
static const float lrs[] = {0.5f, 0.3f};

typedef struct {
    ht_sync_t *sync;
    uint32_t worker;
} part_t;

typedef struct {
    ht_sync_t *sync;
    uint32_t n_workers;
    part_t parts[MOST_WORKERS];
    crew_t crew;
} node_t;

static void *take_part(void *argument)
{
    part_t *part = argument;
    ht_worker_round(part->sync, part->worker);
    return NULL;
}

static ht_sync_config_t config_of(uint32_t n_workers, int has_guest)
{
    return (ht_sync_config_t){
        .rows = problem.rows,
        .model = &squared.model,
        .optimizer = kind.optimizer,
        .step = {.beta = 1.0f},
        .isa = ht_vector_best_isa(),
        .n_workers = n_workers,
        .is_exact = 1,
        .has_guest = has_guest,
        .intercept = 1,
        .seed = 5,
        .task_rows = 16,
        .batch_tasks = kind.batch_tasks,
        .replicas = kind.replicas,
        .every = 8,
        .most_together = 1,
        .local_rows = 16,
        .outer = kind.outer,
        .averages_per_epoch = ht_optimizer_is_dual(kind.optimizer) ? 0 : 2,
        .lrs_per_epoch = 1,
        .n_epochs = N_EPOCHS,
        .lrs = lrs,
        .largest_value = 4.0,
        .bound = 0.5f, /* so that steps are refused */
    };
}

static void open_node(node_t *node, uint32_t n_workers, int has_guest)
{
    ht_sync_config_t config = config_of(n_workers, has_guest);
    node->n_workers = n_workers;
    REQUIRE(ht_sync_open(&config, &node->sync) == HT_OK);
    ht_sync_load(node->sync, start);
}

static void start_node(node_t *node)
{
    for (uint32_t w = 0; w < node->n_workers; w++)
        node->parts[w] = (part_t){node->sync, w};
    crew_start(&node->crew, (int)node->n_workers, take_part, node->parts, sizeof node->parts[0]);
    ht_sync_allow(node->sync, batches);
}

static void end_node(node_t *node)
{
    ht_sync_leave(node->sync);
    crew_join(&node->crew);
    ht_sync_close(node->sync);
}

static int rests(node_t *node, uint64_t ns)
{
    ht_err_t err;
    uint64_t deadline = ht_now_ns() + ns;
    do
        err = ht_sync_await_rest(node->sync, deadline);
    while (err == HT_EINTR);
    return err == HT_OK;
}

static void await_exchange(node_t *node)
{
    ht_err_t err;
    uint32_t step = 0;
    do
        err = ht_sync_await_exchange(node->sync, &step, ht_now_ns() + UINT64_C(20000000000));
    while (err == HT_EINTR);
    REQUIRE(err == HT_OK);
    CHECK(step > 0);
    CHECK(ht_sync_await_exchange(node->sync, &step, ht_now_ns()) == HT_ETIMEOUT);
}

/* Adds up what all nodes have in the exchange, and lets the first n_merging of them merge it. */
static void put_all(node_t *nodes, int n_nodes, int n_merging)
{
    ht_sync_total_t total = {0};
    for (int i = 0; i < n_nodes; i++) {
        ht_sync_total_t tally = ht_sync_tally(nodes[i].sync);
        total.loss += tally.loss;
        total.rows += tally.rows;
        total.largest = tally.largest > total.largest ? tally.largest : total.largest;
        for (int k = 0; k < HT_CHANGES_ARRAYS; k++)
            if (tally.changes[k] > total.changes[k])
                total.changes[k] = tally.changes[k];
    }
    int64_t n_sums = ht_sync_n_sums(nodes[0].sync), edge = n_sums / 3 / 8 * 8; /* of two shards */
    for (int shard = 0; shard < 2; shard++) {
        int64_t first = shard * edge, last = shard == 0 ? edge : n_sums;
        memset(sums, 0, sizeof sums);
        memset(marks, 0, sizeof marks);
        for (int i = 0; i < n_nodes; i++)
            ht_sync_collect(nodes[i].sync, first, last, sums, marks);
        int64_t n_groups = (last - first) / 8;
        for (int64_t c = 0; c < last - first; c++)
            CHECK(sums[c] == 0 || marks[c / 8] == 1);
        ht_encoding_t chosen = ht_encoding_choose(sums, marks, n_groups);
        REQUIRE(chosen.nbytes <= sizeof body);
        ht_encoding_write(&chosen, sums, marks, n_groups, body);
        REQUIRE(ht_encoding_check(body, chosen.nbytes, chosen.encoding, n_groups) == NULL);
        for (int i = 0; i < n_merging; i++)
            ht_sync_put(nodes[i].sync, first, last, body, chosen.encoding);
    }
    for (int i = 0; i < n_merging; i++)
        REQUIRE(ht_sync_merge(nodes[i].sync, &total) == HT_OK);
}

static void exchange(node_t *nodes, int n_nodes)
{
    put_all(nodes, n_nodes, n_nodes);
}

/* Trains one node without a guest; leaves the result in `parameters`. */
static void train_alone(void)
{
    node_t alone;
    open_node(&alone, 2, 0);
    batches = ht_sync_steps_per_epoch(alone.sync) * N_EPOCHS;
    start_node(&alone);
    REQUIRE(rests(&alone, UINT64_C(60000000000)));
    ht_sync_progress_t progress = ht_sync_progress(alone.sync);
    CHECK(progress.batches == batches && progress.refused > 0);
    refused = progress.refused;
    ht_sync_store(alone.sync, parameters);
    end_node(&alone);
}

/* Bounds of the nodes' shares. */
static const uint32_t one[] = {0, HT_SHARES}, two[] = {0, 20000, HT_SHARES},
                      empty[] = {0, 0, 30000, HT_SHARES}, three[] = {0, 21845, 43690, HT_SHARES};

/* Trains on several nodes; at the steps of `repeated` (bits), all do the step again, with the
 * shares moved on by one node. */
static void several_nodes_have_the_bits_of_one(int n_nodes, uint32_t n_workers,
                                               const uint32_t *edges, uint32_t repeated)
{
    node_t nodes[MOST_NODES];
    for (int i = 0; i < n_nodes; i++) {
        open_node(&nodes[i], n_workers, 1);
        ht_share_t share = {edges[i], edges[i + 1]};
        REQUIRE(ht_sync_set_share(nodes[i].sync, share) == HT_OK);
        start_node(&nodes[i]);
    }
    uint64_t n_repeats = 0;
    for (uint64_t step = 0; step - n_repeats < batches + refused; step++) {
        for (int i = 0; i < n_nodes; i++) {
            await_exchange(&nodes[i]);
            CHECK(ht_sync_applied(nodes[i].sync) == step - n_repeats);
        }
        if (step >= 32 || (repeated >> step & 1) == 0) {
            exchange(nodes, n_nodes);
            continue;
        }
        n_repeats++;
        for (int i = 0; i < n_nodes; i++) {
            int k = (int)(((uint64_t)i + n_repeats) % (uint64_t)n_nodes);
            ht_share_t share = {edges[k], edges[k + 1]};
            REQUIRE(ht_sync_repeat(nodes[i].sync, share) == HT_OK);
        }
    }
    if (repeated != 0)
        CHECK(n_repeats >= 4);
    uint64_t rows = 0, all = ht_sync_rows_until(nodes[0].sync, batches);
    for (int i = 0; i < n_nodes; i++) {
        REQUIRE(rests(&nodes[i], UINT64_C(20000000000)));
        ht_sync_progress_t progress = ht_sync_progress(nodes[i].sync);
        CHECK(progress.batches == batches && progress.refused == refused);
        CHECK(progress.step == 1 + batches + refused + n_repeats);
        ht_sync_store(nodes[i].sync, others);
        CHECK(memcmp(parameters, others, sizeof others) == 0);
        uint64_t own = 0;
        for (uint32_t w = 0; w < n_workers; w++)
            own += ht_sync_rows(nodes[i].sync, w);
        if (kind.replicas == 3 && edges == three)
            CHECK(own > all / 4); /* a replica each */
        rows += own;
    }
    CHECK(rows == all);
    for (int i = 0; i < n_nodes; i++)
        end_node(&nodes[i]);
}

static void bits(void)
{
    for (uint32_t n_workers = 1; n_workers <= MOST_WORKERS; n_workers++) {
        several_nodes_have_the_bits_of_one(1, n_workers, one, 0);
        several_nodes_have_the_bits_of_one(2, n_workers, two, 0);
        several_nodes_have_the_bits_of_one(3, n_workers, three, 0);
        several_nodes_have_the_bits_of_one(3, n_workers, empty, 0);
    }
}

static void repeats(void)
{
    several_nodes_have_the_bits_of_one(2, 2, two, 1u << 0 | 1u << 3 | 1u << 4 | 1u << 8);
    several_nodes_have_the_bits_of_one(3, 1, empty, 0x5555);
}

/* A node that has missed the totals of a step takes the state of one that has merged them. */
static void a_node_takes_the_state_of_another(uint64_t when)
{
    static const ht_share_t shares[] = {{0, 20000}, {20000, HT_SHARES}};
    node_t nodes[2];
    for (int i = 0; i < 2; i++) {
        open_node(&nodes[i], 2, 1);
        REQUIRE(ht_sync_set_share(nodes[i].sync, shares[i]) == HT_OK);
        start_node(&nodes[i]);
    }
    for (uint64_t step = 0; step < batches + refused; step++) {
        await_exchange(&nodes[0]);
        await_exchange(&nodes[1]);
        if (step != when) {
            exchange(nodes, 2);
            continue;
        }
        put_all(nodes, 2, 1); /* only the first has the totals */
        for (uint64_t k = 0; ht_sync_applied(nodes[0].sync) == step; k++)
            (void)sched_yield();
        REQUIRE(ht_sync_n_arrays(nodes[0].sync) <= MOST_ARRAYS);
        ht_sync_saved_t saved = ht_sync_save(nodes[0].sync, arrays), broken = saved;
        broken.bound = 0.0;
        CHECK(ht_sync_replace(nodes[1].sync, &broken, arrays, shares[1]) == HT_EINVAL);
        REQUIRE(ht_sync_replace(nodes[1].sync, &saved, arrays, shares[1]) == HT_OK);
    }
    for (int i = 0; i < 2; i++) {
        REQUIRE(rests(&nodes[i], UINT64_C(20000000000)));
        CHECK(ht_sync_progress(nodes[i].sync).batches == batches);
        CHECK(ht_sync_progress(nodes[i].sync).refused == refused);
        ht_sync_store(nodes[i].sync, others);
        CHECK(memcmp(parameters, others, sizeof others) == 0);
        end_node(&nodes[i]);
    }
}

static void calls_at_the_wrong_time_are_refused(void)
{
    ht_sync_t *sync;
    ht_sync_config_t config = config_of(1, 1);
    config.is_exact = 0;
    CHECK(ht_sync_open(&config, &sync) == HT_EINVAL);
    node_t node;
    open_node(&node, 1, 1);
    ht_sync_total_t total = {0};
    CHECK(ht_sync_merge(node.sync, &total) == HT_EBUSY);
    CHECK(ht_sync_repeat(node.sync, ht_whole) == HT_EBUSY);
    uint32_t step = 0;
    CHECK(ht_sync_await_exchange(node.sync, &step, ht_now_ns()) == HT_ETIMEOUT);
    static const ht_share_t broken[] = {{2, 1}, {0, HT_SHARES + 1}};
    for (int i = 0; i < 2; i++)
        CHECK(ht_sync_set_share(node.sync, broken[i]) == HT_EINVAL);
    start_node(&node);
    await_exchange(&node);
    CHECK(ht_sync_repeat(node.sync, broken[0]) == HT_EINVAL);
    CHECK(ht_sync_n_sums(node.sync) == PADDED);
    ht_sync_leave(node.sync); /* in its exchange */
    crew_join(&node.crew);
    ht_sync_close(node.sync);
    open_node(&node, 1, 1);
    ht_sync_leave(node.sync);
    CHECK(ht_sync_await_exchange(node.sync, &step, UINT64_MAX) == HT_ESTOPPED);
    ht_sync_close(node.sync);
    open_node(&node, 1, 0); /* without a guest */
    CHECK(ht_sync_set_share(node.sync, ht_whole) == HT_EINVAL);
    CHECK(ht_sync_merge(node.sync, &total) == HT_EBUSY);
    ht_sync_close(node.sync);
}

int main(void)
{
    REQUIRE(ht_linear_init(&squared, (ht_loss_t){HT_SQUARED, 0.0f}, 0) == HT_OK);
    problem_open(&problem, 7, N_ROWS, N_FEATURES, 30, 1, 1);
    for (int at = 0; at < N; at++)
        start[at] = 0.1f * (float)(at % 7 - 3);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        kind = kinds[k];
        train_alone();
        bits();
        repeats();
        for (uint64_t when = 0; when < batches; when += 5)
            a_node_takes_the_state_of_another(when);
    }
    kind = kinds[0];
    calls_at_the_wrong_time_are_refused();
    problem_close(&problem);
    FINISH();
}

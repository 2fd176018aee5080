/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers in other processes, which find the run by the segment's descriptor: equal bits. */
#include "run/ht_attached.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ht_futex.h"
#include "support/check.h"
#include "support/job.h"

enum { N_EPOCHS = 2, N_FEATURES = 300, BATCHES = 25 };
#define PATIENCE_NS UINT64_C(60000000000)

static float parameters[JOB_COORDINATES], others[JOB_COORDINATES];

/* Starts a process that is worker 0 of the run that a descriptor leads to. */
static pid_t start_worker(int32_t fd, const ht_model_t *model, const ht_rows_t *rows)
{
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child > 0)
        return child;
    ht_segment_t *segment = NULL;
    ht_attached_t attached;
    if (ht_segment_attach(fd, &segment) != HT_OK)
        _exit(2);
    if (ht_attached_open(segment, model, rows, &attached) != HT_OK)
        _exit(3);
    ht_attached_work(&attached, 0);
    ht_attached_close(&attached);
    _exit(0);
}

static void end_worker(pid_t child)
{
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_worker_of_a_stream_has_equal_bits(int64_t n_hot)
{
    job_t job;
    job_run_t run;
    job_open_usual(&job, HT_ADAGRAD);
    job_penalise(&job, 0.0f, 1e-3f);
    job_heat(&job, n_hot);
    job_train(&job, N_EPOCHS, parameters);
    job.config.is_shared = 1;
    run = (job_run_t){.n_workers = 0}; /* no threads */
    REQUIRE(ht_stream_open(&job.config, &run.stream) == HT_OK);
    memset(others, 0, sizeof others);
    ht_stream_load(run.stream, others);
    pid_t child =
        start_worker(ht_stream_segment_fd(run.stream), job.config.model, &job.config.rows);
    for (int e = 0; e < N_EPOCHS; e++)
        job_epoch(&run);
    ht_stream_store(run.stream, others);
    CHECK(memcmp(parameters, others, sizeof others) == 0);
    ht_roster_stop(ht_stream_roster(run.stream), HT_LEAVE);
    end_worker(child);
    ht_stream_close(run.stream);
    job_close(&job);
}

/* ---- the round ------------------------------------------------------------ */

static const float lrs[] = {0.3f, 0.2f};

static ht_sync_config_t round_of(const problem_t *problem, const ht_model_t *model)
{
    return (ht_sync_config_t){
        .rows = problem->rows,
        .model = model,
        .optimizer = HT_SGD,
        .isa = HT_BASELINE,
        .n_workers = 1,
        .is_exact = 1,
        .intercept = 1,
        .is_shared = 1,
        .seed = 5,
        .task_rows = 4,
        .batch_tasks = 6,
        .lrs_per_epoch = 1,
        .n_epochs = 2,
        .lrs = lrs,
        .largest_value = 4.0,
        .bound = 1.0f,
        .is_bounded = 1,
    };
}

/* Trains in this process, or by a worker in another one. */
static void train_round(const ht_sync_config_t *config, int is_elsewhere, float *result)
{
    ht_sync_t *sync = NULL;
    pid_t child = 0;
    REQUIRE(ht_sync_open(config, &sync) == HT_OK);
    memset(result, 0, sizeof *result * (N_FEATURES + 1));
    ht_sync_load(sync, result);
    ht_sync_allow(sync, BATCHES);
    if (is_elsewhere) {
        child = start_worker(ht_sync_segment_fd(sync), config->model, &config->rows);
        while (ht_sync_await_rest(sync, ht_now_ns() + PATIENCE_NS) == HT_EINTR)
            ; /* ends: the worker does all that is allowed */
        ht_sync_leave(sync);
        end_worker(child);
    } else {
        uint32_t task;
        while (ht_sync_progress(sync).batches < BATCHES) {
            while (ht_sync_claim(sync, 0, &task) == HT_OK) {
                CHECK(ht_sync_compute(sync, 0, task) == HT_OK);
                CHECK(ht_sync_commit(sync, 0) == HT_OK);
            }
            while (ht_sync_merge_next(sync, 0) == HT_OK)
                ;
            (void)ht_sync_await(sync, 0, ht_now_ns());
        }
    }
    CHECK(ht_sync_progress(sync).batches == BATCHES);
    ht_sync_store(sync, result);
    ht_sync_close(sync);
}

static void a_worker_of_a_round_has_equal_bits(void)
{
    problem_t problem;
    ht_linear_t logistic;
    problem_open(&problem, 3, 500, N_FEATURES, 20, 1, 1);
    REQUIRE(ht_linear_init(&logistic, (ht_loss_t){HT_LOGISTIC, 0.0f}, 0) == HT_OK);
    const ht_sync_config_t config = round_of(&problem, &logistic.model);
    train_round(&config, 0, parameters);
    train_round(&config, 1, others);
    CHECK(parameters[0] != 0.0f);
    CHECK(memcmp(parameters, others, sizeof *others * (N_FEATURES + 1)) == 0);
    problem_close(&problem);
}

static void what_the_segment_was_not_opened_with_is_refused(void)
{
    problem_t problem;
    ht_linear_t logistic, huber;
    ht_sync_t *sync = NULL;
    ht_segment_t *segment = NULL;
    ht_attached_t attached;
    problem_open(&problem, 3, 500, N_FEATURES, 20, 1, 1);
    REQUIRE(ht_linear_init(&logistic, (ht_loss_t){HT_LOGISTIC, 0.0f}, 0) == HT_OK);
    REQUIRE(ht_linear_init(&huber, (ht_loss_t){HT_HUBER, 1.0f}, 0) == HT_OK);
    const ht_sync_config_t config = round_of(&problem, &logistic.model);
    REQUIRE(ht_sync_open(&config, &sync) == HT_OK);
    REQUIRE(ht_segment_attach(ht_sync_segment_fd(sync), &segment) == HT_OK);
    CHECK(ht_attached_open(segment, &huber.model, &problem.rows, &attached) == HT_EINVAL);
    for (int i = 0; i < 4; i++) {
        ht_rows_t broken = problem.rows;
        broken.n_rows -= i == 0;
        broken.weights = i == 1 ? NULL : broken.weights;
        broken.reach = i == 2 ? broken.targets : NULL;
        broken.longest += i == 3;
        CHECK(ht_attached_open(segment, &logistic.model, &broken, &attached) == HT_EINVAL);
        CHECK(attached.sync == NULL && attached.stream == NULL);
    }
    CHECK(ht_attached_open(segment, &logistic.model, &problem.rows, &attached) == HT_OK);
    CHECK(attached.sync != NULL && attached.stream == NULL);
    ht_attached_close(&attached);
    ht_segment_detach(segment, -1);
    ht_sync_close(sync);
    problem_close(&problem);
}

int main(void)
{
    a_worker_of_a_stream_has_equal_bits(0);
    a_worker_of_a_stream_has_equal_bits(300);
    a_worker_of_a_round_has_equal_bits();
    what_the_segment_was_not_opened_with_is_refused();
    FINISH();
}

# SPDX-License-Identifier: BSD-3-Clause
"""The one call that trains."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hybridtrain.arguments import require_bool
from hybridtrain.data.scaling import Scaling
from hybridtrain.engines.choosing import train_at
from hybridtrain.errors import InvalidSettingError, TrainingInterrupted, needing_memory
from hybridtrain.models.linear import Linear, require_model
from hybridtrain.nodes.places import DaskClient, Nodes, RayGroup
from hybridtrain.notices import warn_user
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.planning import Planning
from hybridtrain.recordable import checked_record, require_recordable
from hybridtrain.run.chaos import Plan as ChaosPlan
from hybridtrain.run.chaos import checked_chaos, require_points
from hybridtrain.run.checkpoint import Checkpoint
from hybridtrain.run.course import Course
from hybridtrain.run.faults import Faults
from hybridtrain.run.identity import identity_of
from hybridtrain.run.initial import read_initial
from hybridtrain.run.job import Job
from hybridtrain.run.partner import Partner, budget_of
from hybridtrain.run.posing import pose
from hybridtrain.run.progress import Progress
from hybridtrain.run.recorded import header_of, recorded
from hybridtrain.run.result import Result
from hybridtrain.run.saving import saving_of
from hybridtrain.run.stopping import Callback, Stopping
from hybridtrain.run.verdict import require_descent
from hybridtrain.settings import checked_settings
from hybridtrain.strategies.base import Strategy
from hybridtrain.version import __version__

_CHECKED = (  # arguments that need no data for their checks
    "strategy",
    "optimizer",
    "workers",
    "epochs",
    "batch_size",
    "seed",
    "validation",
    "seconds",
    "patience",
    "scale",
    "backend",
    "timeout",
)


def train(
    model: Linear,
    data: tuple[Any, ...] | str | os.PathLike[str],
    *,
    strategy: str | Strategy = "hybrid",
    optimizer: str | Optimizer = "sgd",
    workers: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    init: Result | dict[str, Any] | None = None,
    validation: float | tuple[Any, ...] | str | os.PathLike[str] | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    scale: str | Scaling | None = "auto",
    backend: str = "threads",
    timeout: float = 60.0,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    resume: bool | str | os.PathLike[str] = False,
    chaos: ChaosPlan | None = None,
    record: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    nodes: int | Sequence[str] | str | DaskClient | RayGroup | Nodes | None = None,
) -> Result:
    """Train a model on many workers.

    Parameters
    ----------
    model : Linear
        What to learn.
    data : (X, y) or (X, y, sample_weight) or path
        X a SciPy sparse matrix, NumPy array or pandas frame (n_rows, n_features),
        read in place when it is CSR with float32 values and int32 indices, or
        float32 in C order; y (n_rows,) labels, or numbers for squared loss;
        sample_weight (n_rows,) >= 0. Rows of weight 0 (sample weight times class
        weight) are left out: the result has the bits of a run without them, and the
        ledger counts only the other rows. A path is read by `read_data`, whose result may
        also be passed. ``result.settings["reading"]`` then says how the file was read.
    strategy : str or strategy
        "hybrid", "hogwild", "sync", "local_sgd", "async", or with arguments:
        "hybrid(every=4096)", `Hybrid(every=4096)`. ``Switch(("sync", 2), ("hybrid", None))``
        trains the first epochs with one strategy and the next ones with another.
        ``Hierarchical(groups=2)`` has groups of workers that share a replica.
    optimizer : str or optimizer
        "sgd", "adagrad", "adam", "ftrl", "rmsprop", or with arguments:
        "sgd(average=True)", `SGD(average=True)`, `AdaGrad(lr=0.1)`.
    workers : int, optional
        Threads or processes that train; None: the usable cores (affinity and cgroup quota).
    epochs : int, optional
        At least 1; in an epoch every row is used once. None: 5, or with `seconds` as
        many as fit, at most 1,000.
    batch_size : int, optional
        Rows per step over all workers, for `Sync`; None: chosen from the data.
        `Hogwild`, `Hybrid`, `Async` and `Hierarchical` (unless its one group steps on
        batches) step on one row; another value is refused.
    seed : int
        In 0 .. 2**64 - 1. Chooses the order of the rows. With one worker, equal seeds
        give equal bits. With `Sync` they do so with any number of workers.
    init : Result or dict, optional
        Parameters to start from ("coef", "intercept", "classes"); None: zeros, and
        the best intercept without features (the mean of y, or the log-odds of the
        classes). "classes", in any order, names the class of each row of softmax's
        coefficients; of two classes, the first has the margins below 0. A Result always
        has them for a classifier. With "classes", y may hold fewer of them. Without,
        the order is that of the sorted labels.
    validation : float or (X, y) or (X, y, sample_weight) or path, optional
        Rows to measure the loss on after each epoch: a share of the rows in
        0 .. 1, drawn at random and not trained on (this copies the rows), or
        separate data. Frames are matched by the names of their columns. A share has
        the classes in the proportions of all rows; at least one row of each class is
        trained on. A path is read with the settings that `data` was read with.
    seconds : float, optional
        Greater than 0: the wall-clock time that this call may take, preparing
        included. The learning rates are planned to fill this time at the measured
        speed. With `validation` the result has the best parameters seen. The bits then
        depend on the time, even with `Sync`, unless all `epochs` fit.
    patience : int, optional
        At least 1, needs `validation`: after this number of epochs without a lower
        validation loss, the rate falls to 0 over a fifth of the epochs so far, but at
        least 16, and the run ends. The result has the parameters of the last epoch whose
        validation loss is not more than 0.5 % above the lowest.
    scale : "auto" or None
        "auto": where columns differ much in scale or offset, or float32 cannot hold how they
        or the targets vary, the run trains in coordinates where they are alike: dense rows
        are centred and scaled in float64 (not centred without an intercept), sparse rows
        are scaled, targets of "squared", "huber" and "quantile" are centred. The objective,
        penalties included, stays that of the user's coordinates, and `Result.params` are in
        these. A rate that you set (`lr`) is for the coordinates of the run.
        ``result.settings["scale"]`` says what was done. A `Scaling` of an earlier result is
        used as it is. None: train on the rows as they are.
    backend : "threads" or "processes"
        "processes", on Linux: each worker is a process of its own. One that is killed,
        crashes or is stopped loses nothing: a new process takes its place and goes on, or the
        others do its work. With `Sync` the bits of the result are the same; with the
        other strategies the few rows in hand are trained twice, and the ledger counts them as
        repeated. ``result.workers`` says how processes died. The rows are not copied.
    timeout : float
        Greater than 0: the seconds for which a stopped worker process may keep the
        others from going on before it is killed.
    checkpoint : Checkpoint or path, optional
        A folder that the run is saved to while it trains, at its end, on Ctrl-C and on
        SIGTERM; a path stands for ``Checkpoint(path)``. With a checkpoint, a SIGTERM that the
        program does not handle ends it with exit code 143 once the run is saved. A checkpoint that
        cannot be written is logged, and ``result.settings["warnings"]`` has it; the run goes on.
    resume : bool or path
        True: go on with the newest checkpoint in the folder of `checkpoint`, or begin
        if there is none. A path: go on with that checkpoint, or with the newest of that folder.
        `Sync`, and one worker of any strategy, ends with the bits of a run that was never
        interrupted; with `Sync` also on another number of workers or another backend. Data and
        settings must be those of the saved run, except for `workers`, `backend`, `timeout`,
        `seconds` and `callbacks`. A run that is over gives its result again.
    chaos : hybridtrain.chaos.Plan, optional
        Faults to rehearse: workers that are killed, stopped or slow, writes that fail.
        ``result.faults`` says which fired, when, and what they cost. Kills and stops need
        ``backend="processes"``. Trials of the learning rate have no faults.
    record : path, optional
        A file that says, at the end of the run, which worker did what and in which order, so that
        `replay` trains it again with the same bits: for `Async` and ``Hybrid(hot=1.0)``, whose
        parameters are all in replicas. Also written when the run diverges, is interrupted or
        loses its workers. 8 bytes for each chunk of rows and each exchange of 1,024 parameters,
        and one replica for each worker process that dies. A file that cannot be begun raises
        OSError before any row is trained. If the disk gets full while the run trains, the run goes
        on, and ``result.settings["warnings"]`` says so.
    nodes : int, sequence of str, "env", "ray", PlacementGroup, dask.distributed.Client or Nodes
        Train on several nodes, with `workers` each: when one dies, those that are left do its
        work. `Sync` and `LocalSGD` share each step and its sums, and have the bits of one node;
        `Hybrid`, `Async` and `Hogwild` train rows of their own and merge meanwhile. A number: on
        this machine. Addresses, or ``ht.Nodes(2, listen="10.0.0.4:7000")``: on other machines,
        which read `data` from its path. "env": each machine runs this call, started by SLURM, MPI
        or torchrun; all return the result, and rank 0 calls `callbacks`. A client: on the workers
        of a Dask cluster; X, y and weights may be dask arrays or frames, cut alike. "ray", or a
        placement group: on the machines of a Ray cluster; `data` may be (dataset, "y"). None: this
        process. Needs hybridtrain[nodes], hybridtrain[dask] or hybridtrain[ray].
    callbacks : sequence of functions
        Each is called with the `EpochRecord` after each epoch, in the calling
        thread while the workers rest. A true value ends the run. An exception ends the
        run and is raised from this call.
    progress : bool, optional
        None or True: runs longer than a second show their epochs on standard
        error; False: never.

    Returns
    -------
    Result

    Raises
    ------
    InvalidDataError
        When the data cannot be used; the message says what to change.
    OSError
        When a file does not exist or cannot be read.
    InvalidSettingError
        When an argument is out of range or does not go with another.
    CheckpointError
        When `resume` finds no whole checkpoint, or one of other data or settings: the message says
        what differs.
    OutOfMemoryError
        When the run needs more memory or threads than there are.
    DivergedError
        When the loss becomes infinite or NaN, or ends above that of the parameters that the
        run began with, by more than chance; `.result` has the last good parameters.
    WorkersDiedError
        When no worker process is left: each has died three times in a row before it had done
        anything; `.result` has the parameters of the last step.
    TrainingInterrupted
        On Ctrl-C (a KeyboardInterrupt); `.result` is the partial result. While the
        rows are read and checked, Ctrl-C raises a plain KeyboardInterrupt.
    NodesLostError
        When no node is left that has every step, or a node cannot begin; `nodes` has the last
        word of each.
    ForkedError
        In a process that was forked within a callback and returned from it.

    Warns
    -----
    DataWarning
        When rounding to float32 loses the differences between values, when most columns
        cannot be learned beside much larger ones, or when a frame with sparse columns is
        held dense; ``result.settings["warnings"]`` keeps the texts.

    Notes
    -----
    Training reads the rows once per epoch, about 8 bytes an element.

    **Thread safety.** Several threads may call `train` at the same time, also on the
    same arrays. No thread may change the arrays during the call.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, hybridtrain as ht
    >>> X = sp.random(1000, 50, density=0.2, format="csr", dtype=np.float32, random_state=0)
    >>> y = np.asarray(X[:, :5].sum(axis=1)).ravel() > 0.5
    >>> result = ht.train(ht.Linear(), (X, y), workers=1, epochs=20)
    >>> bool(result.score(X, y) > 0.85)
    True
    """
    arguments = dict(locals())
    require_model(model)
    if arguments.pop("nodes") is None:
        return train_here(**arguments)
    chosen, settings = checked_settings(**{name: arguments[name] for name in _CHECKED})
    if not chosen.spans_nodes:
        raise InvalidSettingError(
            f'{chosen!r} does not go with several nodes: exact=False and every="auto" are for '
            "one machine; leave them out, or leave nodes out"
        )
    return train_at(nodes, arguments | {"strategy": chosen, "epochs": settings.epochs}, __version__)


def train_here(
    model: Linear,
    data: tuple[Any, ...] | str | os.PathLike[str],
    *,
    strategy: str | Strategy = "hybrid",
    optimizer: str | Optimizer = "sgd",
    workers: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    init: Result | dict[str, Any] | None = None,
    validation: float | tuple[Any, ...] | str | os.PathLike[str] | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    scale: str | Scaling | None = "auto",
    backend: str = "threads",
    timeout: float = 60.0,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    resume: bool | str | os.PathLike[str] = False,
    chaos: ChaosPlan | None = None,
    record: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    partner: Partner | None = None,
) -> Result:
    """Train in this process: as `train`, where it is not the driver of nodes.

    partner: takes the part of this run among several nodes.
    """
    started = time.perf_counter()
    require_model(model)
    chosen_strategy, settings = checked_settings(
        strategy=strategy,
        optimizer=optimizer,
        workers=workers,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        validation=validation,
        seconds=seconds,
        patience=patience,
        scale=scale,
        backend=backend,
        timeout=timeout,
    )
    settings = replace(settings, is_node=partner is not None)
    chaos = checked_chaos(chaos, backend=settings.backend, workers=settings.workers)
    if progress is not None:
        progress = require_bool("progress", progress)
    recorder = checked_record(
        record,
        strategy=chosen_strategy,
        workers=settings.workers,
        resume=resume,
        scale=scale,
        sources=[data, validation],
    )
    initial = read_initial(init, model)
    is_writer = None if partner is None else partner.is_first
    with saving_of(checkpoint, resume, is_writer) as saving:
        budget = budget_of(seconds, started, partner)
        keeps_best = validation is not None and (seconds is not None or patience is not None)
        stopping = Stopping(callbacks, patience, keeps_best=keeps_best)
        posed = pose(
            model, data, settings, validation=validation, init=init, initial=initial, scale=scale
        )
        problem, start = posed.problem, posed.start
        if saving.is_used:
            identity = identity_of(
                problem,
                posed.held_out,
                repr(chosen_strategy),
                settings,
                scale=scale,
                patience=patience,
                initial=start,
            )
            saving.recognise(identity)
        checked_at = time.perf_counter()
        with needing_memory("preparing the run"):
            planning = Planning.of(problem, settings, chosen_strategy.parts)
            if chaos is not None:
                require_points(chaos, planning.points)
            matrix = problem.matrix
            notes = [matrix.lost] if matrix.lost else []
            notes += [*matrix.warnings, *problem.warnings, *planning.unmoved()]
            require_recordable(recorder, planning.plans[planning.parts[0].strategy])
            parts = planning.at_rates(start, saving.parts(len(planning.parts)))
        warn_user(notes)
        result_settings = {
            "strategy": repr(chosen_strategy),
            "scale": None if problem.scaling is None else problem.scaling.summary(),
            "warnings": notes,
            "reading": posed.reading,
            "checking_seconds": checked_at - started,
            "preparing_seconds": time.perf_counter() - started,
        }
        course = Course(parts, stopping, budget)
        shown = Progress(progress, course.last_epoch, budget)
        faults = Faults(chaos)
        if saving.keeper is not None:
            saving.keeper.pass_by = lambda: faults.pass_by("checkpoint")
        job = Job(result_settings, posed.held_out, shown, course, saving, faults, recorder, partner)

        def run() -> Result:
            result = job.run(*start)
            try:
                require_descent(parts.plan, start, result)
            except KeyboardInterrupt as error:
                said = "interrupted when the run was over; .result holds all of it"
                raise TrainingInterrupted(said, result=result) from error
            return result

        if recorder is None:
            return run()
        header = header_of(
            model,
            settings,
            repr(chosen_strategy),
            posed,
            parts.planned[0],
            validation=validation,
            scale=scale,
        )
        return recorded(recorder, header, run)

# SPDX-License-Identifier: BSD-3-Clause
"""`hybridtrain train`: one model, its epochs, and what was chosen."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

import numpy as np

from hybridtrain.cli.console import say, say_filled
from hybridtrain.cli.explanations import TrainingEnded
from hybridtrain.cli.files import model_path, read_training, read_validation, require_targets
from hybridtrain.cli.words import choose_model, loss_text, make_model, make_optimizer
from hybridtrain.comparison.text_table import counted, digits, tallied
from hybridtrain.errors import (
    DivergedError,
    InvalidSettingError,
    TrainingInterrupted,
    WorkersDiedError,
)
from hybridtrain.interrupts import Interrupts
from hybridtrain.nodes.environment import place_of
from hybridtrain.nodes.places import ENVIRONMENT, Nodes
from hybridtrain.notices import as_lines
from hybridtrain.observe.records import EpochRecord, NodeReport
from hybridtrain.quiet import ENDING
from hybridtrain.recordable import checked_record
from hybridtrain.run.chaos import FaultRecord, Kill, checked_chaos, parse_chaos
from hybridtrain.run.checkpoint import Checkpoint
from hybridtrain.run.result import Result
from hybridtrain.settings import checked_settings
from hybridtrain.strategies.base import Strategy
from hybridtrain.strategies.parse import parse_strategy
from hybridtrain.training import train as train_model

_MOST_EPOCHS_SHOWN = 25


def train(args: argparse.Namespace) -> None:
    """Train one model, save it, print its epochs and what was chosen."""
    strategy = parse_strategy(args.strategy)
    settings = {
        "strategy": strategy,
        "optimizer": make_optimizer(args),
        "workers": args.workers,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "seed": args.seed,
        "seconds": args.seconds,
        "patience": args.patience,
        "scale": args.scale,
        "backend": args.backend or ("threads" if args.chaos is None else "processes"),
        "timeout": args.timeout,
    }
    checkpoint = _checkpoint(args)
    if args.patience is not None and args.validation is None:
        raise InvalidSettingError("--patience needs rows to measure on: add --validation 0.1")
    nodes, is_shown = _nodes(args)
    chosen = checked_settings(validation=args.validation, **settings)[1]
    chaos = None if args.chaos is None else parse_chaos(args.chaos, args.seed)
    checked_chaos(chaos, backend=chosen.backend, workers=chosen.workers)
    make_model(args, "logistic")  # refuses penalties that no loss has
    checked_record(
        args.record,
        strategy=strategy,
        workers=chosen.workers,
        resume=args.resume,
        scale=args.scale,
    )
    target = None if args.save is None or not is_shown else model_path(args.save)
    require_targets({"--save": target, "--record": args.record}, [args.file, args.validation])
    rows = read_training(args, args.file)
    model, reason = choose_model(args, rows[1])
    X = rows[0]
    with contextlib.suppress(OSError):  # with nobody to read, the model is still made and saved
        say(f"{rows.name}: {X.shape[0]:,} rows, {X.shape[1]:,} features; {reason}")
    with Interrupts(*ENDING) as interrupts:
        interrupts.keeps_results = True
        interrupts.release()
        try:
            with as_lines():
                result = train_model(
                    model,
                    rows,
                    validation=read_validation(args, rows),
                    checkpoint=checkpoint,
                    resume=args.resume,
                    chaos=chaos,
                    record=args.record,
                    nodes=nodes,
                    **settings,
                )
            is_interrupted, died = False, None
        except TrainingInterrupted as error:
            result, is_interrupted, died = error.result, True, None
        except DivergedError as error:
            _say_recorded(error.result, args)
            raise
        except WorkersDiedError as error:
            result, is_interrupted, died = error.result, False, error
        if target is not None:
            result.save(target)
            args.saved = target
        is_interrupted = is_interrupted or interrupts.take()
        interrupts.release()
        if is_shown:
            _summarise(result, strategy)
        _say_recorded(result, args)
        if died is not None:
            raise died
        if is_interrupted:
            raise TrainingEnded(_ending(result, target, args.checkpoint), result=result)
        if target is not None:
            say(f"Saved: {target}; use it with: hybridtrain predict {target} FILE")


def _checkpoint(args: argparse.Namespace) -> Checkpoint | None:
    if args.checkpoint is not None:
        return Checkpoint(args.checkpoint, every_seconds=args.checkpoint_every)
    if args.resume:
        raise InvalidSettingError("--resume needs --checkpoint DIR: where is the run to go on?")
    return None


def _nodes(args: argparse.Namespace) -> tuple[Nodes | None, bool]:
    """Return where the nodes are, and whether this process shows and saves the result."""
    if args.nodes is None:
        if args.listen is not None or args.token_file is not None or args.insecure:
            raise InvalidSettingError("--listen, --token-file and --insecure need --nodes")
        return None, True
    nodes = Nodes(
        args.nodes,
        listen=args.listen,
        token_file=args.token_file,
        insecure=args.insecure,
        wait=args.wait,
    )
    return nodes, nodes.members != ENVIRONMENT or place_of().rank == 0


def _ending(result: Result, target: str | None, checkpoint: str | None) -> str:
    """Say when a run was interrupted, and where its model is."""
    is_whole = result.settings["stopped"] != "interrupted"
    when = "when the training was over" if is_whole else f"in epoch {len(result.ledger)}"
    kept = result.settings["checkpoint"]
    if kept is not None and kept["last"] is not None:
        when += f"; --checkpoint {checkpoint} --resume goes on from {kept['last']}"
    if target is None:
        return f"interrupted {when}; nothing was saved (no --save)"
    saved = "the model" if is_whole else "what was trained until then"
    return f"interrupted {when}; {saved} is saved in {target}"


def _summarise(result: Result, strategy: Strategy) -> None:
    """Print the epochs, their speed, and what was chosen."""
    history = result.history
    validated = any(record.validation_loss is not None for record in history)
    say(f"\n{'epoch':>6}{'seconds':>10}{'loss':>10}" + ("  validation loss" if validated else ""))
    for record in _shown(history):
        line = f"{record.epoch:>6}{digits(record.seconds):>10}{digits(record.loss, 5):>10}"
        say(line + (f"{_loss_shown(record.validation_loss):>17}" if validated else ""))
    seconds = sum(record.seconds for record in history)
    rows = sum(record.rows for record in history)
    rate = f" ({digits(rows / seconds / 1e6)} million rows/s)" if seconds > 0 else ""
    preparing = result.settings.get("preparing_seconds", 0.0)
    say(f"\n{rows:,} rows in {digits(seconds)} s{rate}; preparing took {digits(preparing)} s")
    if result.settings["resumed"] is not None:
        say_filled(f"went on from {result.settings['resumed']}")
    say_filled(f"{loss_text(result.model)}; chosen: {_chosen(result, strategy)}")
    deaths = [cause for worker in result.workers for cause in worker.deaths]
    if result.nodes:
        say_filled(_exchanged(result.nodes))
    if deaths:
        say_filled(f"worker processes died and were replaced: {tallied(deaths)}; nothing was lost")
    if result.faults:
        say_filled(_rehearsed(result.faults))


def _say_recorded(result: Result, args: argparse.Namespace) -> None:
    """Say where the record of the run is and what reads it, or why there is none."""
    record = result.settings.get("record")
    if record is None:
        return
    if record["bytes"] is None:
        say_filled(result.settings["warnings"][-1])
        return
    data = repr(args.file)
    if args.zero_based:
        data = f"ht.read_data({data}, zero_based=True)"
    again = f"ht.replay({record['path']!r}, {data})"
    say(
        f"Recorded: {record['path']}, {record['bytes']:,} bytes; in Python, train it again: {again}"
    )


def _rehearsed(faults: tuple[FaultRecord, ...]) -> str:
    """Say which faults of --chaos fired, and what they cost."""
    fired = [record for record in faults if record.fired]
    if not fired:
        return "chaos: no fault fired; choose a larger probability, or more epochs"
    kills = sum(isinstance(record.fault, Kill) for record in fired)
    costs = [record.cost for record in fired if record.cost is not None]
    slowest = f"; a worker worked again after {digits(max(costs))} s at most" if costs else ""
    n_stops = len(fired) - kills
    return f"chaos: {counted(kills, 'kill')} and {counted(n_stops, 'stop')} fired{slowest}"


def _crew(result: Result) -> str:
    """Return "2 workers", or "2 nodes of 2 workers", of those that were there at the end."""
    nodes = [report for report in result.nodes if report.ended == "finished"]
    if not nodes:
        return counted(len(result.workers), "worker")
    fewest, most = (pick(report.workers for report in nodes) for pick in (min, max))
    of_each = counted(most, "worker") if fewest == most else f"{fewest} to {most} workers"
    return f"{counted(len(nodes), 'node')} of {of_each}"


def _exchanged(nodes: Sequence[NodeReport]) -> str:
    """Say what a step cost the nodes, and which ones were lost."""
    steps = sum(report.steps for report in nodes)
    sent = sum(report.bytes_sent for report in nodes) / max(steps, 1)
    waiting = sum(report.waiting for report in nodes)
    total = waiting + sum(report.computing for report in nodes)
    share = f", and waited {100 * waiting / total:.0f} % of its time" if total > 0 else ""
    lost = [f"{report.name}: {report.ended}" for report in nodes if report.ended != "finished"]
    gone = f"; left: {', '.join(lost)}" if lost else ""
    return f"each node sent {sent:,.0f} bytes a step{share}{gone}"


def _loss_shown(loss: float | None) -> str:
    return "-" if loss is None else digits(loss, 5)  # -: interrupted before it was measured


def _shown(history: tuple[EpochRecord, ...]) -> list[EpochRecord]:
    """Return all of a few epochs; of many the first, the last, and some between."""
    if len(history) <= _MOST_EPOCHS_SHOWN:
        return list(history)
    numbers = np.linspace(0, len(history) - 1, _MOST_EPOCHS_SHOWN).round().astype(int)
    return [history[k] for k in numbers.tolist()]


def _chosen(result: Result, strategy: Strategy) -> str:
    settings = result.settings
    parts = [_crew(result), f"learning rate {settings['lr']:.4g}"]
    parts += strategy.describe(settings)
    if settings["scale"] is not None:
        parts.append(f"scaled: {settings['scale']['reason']}")
    return ", ".join([*parts, f"{settings['isa']} instructions"])

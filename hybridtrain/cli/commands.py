# SPDX-License-Identifier: BSD-3-Clause
"""What the commands do: compare, train and predict, in terms of the package's calls."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np

from hybridtrain.cli.advice import in_words
from hybridtrain.cli.console import flush, say
from hybridtrain.cli.files import (
    index_base,
    model_path,
    read_any,
    read_training,
    read_validation,
    require_targets,
    say_left_out,
    writing_text,
)
from hybridtrain.cli.labels import choose_loss, label_text
from hybridtrain.comparison.chart import require_chart
from hybridtrain.comparison.compare import check_comparison
from hybridtrain.comparison.compare import compare as compare_strategies
from hybridtrain.comparison.comparison import Comparison
from hybridtrain.comparison.text_table import counted, digits
from hybridtrain.datasets.flights import flights
from hybridtrain.errors import InvalidDataError, InvalidSettingError, TrainingInterrupted
from hybridtrain.interrupts import Interrupts
from hybridtrain.models.linear import Linear
from hybridtrain.notices import as_lines
from hybridtrain.observe.records import EpochRecord
from hybridtrain.optimizers.parse import Optimizer, parse_optimizer
from hybridtrain.quiet import ENDING
from hybridtrain.run.progress import tell
from hybridtrain.run.result import Result, load
from hybridtrain.settings import checked_settings
from hybridtrain.strategies.base import Strategy
from hybridtrain.strategies.parse import parse_strategy
from hybridtrain.training import train as train_model

_MOST_COLUMNS = 100
_FLIGHTS_L2 = 1e-4  # the later flights differ from the earlier ones: without it all overfit
_MOST_EPOCHS_SHOWN = 25
_ROWS_AT_ONCE = 100_000  # of predictions written


def compare(args: argparse.Namespace) -> None:
    """Train with several strategies and print them side by side."""
    optimizer = _optimizer(args)
    settings = {
        "strategies": [parse_strategy(word) for word in split_words(args.strategies)],
        "workers": args.workers,
        "epochs": args.epochs,
        "optimizer": optimizer,
        "batch_size": args.batch_size,
        "seed": args.seed,
        "repeats": args.repeats,
    }
    check_comparison(validation=0.1 if args.validation is None else args.validation, **settings)
    _model(args, "logistic")  # refuses penalties that no loss has
    if args.plot is not None:
        require_chart(args.plot)
    require_targets({"--plot": args.plot, "--json": args.json}, [args.file, args.validation])
    data, validation, model = _embedded(args) if args.file is None else _own(args)
    width = _width()
    with as_lines():
        comparison = compare_strategies(
            model, data, validation=validation, baseline=args.baseline, **settings
        )
    if args.plot is not None:
        comparison.plot(args.plot)
    if args.json is not None:
        comparison.save(args.json)
    for line in _conditions(comparison, args):
        say(_filled(line, width))
    say()
    say(comparison.table(width), end="\n\n")
    for line in (f"Best: {comparison.verdict}", *comparison.notes()):
        say(_filled(in_words(line, vars(args)), width))
    if args.plot is not None:
        say(f"Chart: {args.plot}")
    if args.json is not None:
        say(f"All figures: {args.json}")
    if comparison.best is None:
        raise InvalidSettingError("all runs diverged; try a smaller --lr, or scale the features")
    if args.file is None and args.plot is None:
        command = "hybridtrain compare"
        say(
            _filled(f"Next: {command} --plot chart.png, or on your own file: {command} FILE", width)
        )


def _embedded(args: argparse.Namespace) -> tuple[Any, Any, Linear]:
    if args.validation is not None:
        raise InvalidSettingError("--validation needs a FILE: the flights have rows of their own")
    found = flights()
    say("Flights out of New York, 2013: which arrive more than 15 minutes late?")
    args.l2 = _FLIGHTS_L2 if args.l2 is None else args.l2
    return found.train, found.validation, _model(args, "logistic")


def _own(args: argparse.Namespace) -> tuple[Any, Any, Linear]:
    rows = read_training(args, args.file)
    model, reason = _model_for(args, rows[1])
    say(f"{rows.name}: {reason}")
    validation = read_validation(args, rows)
    return rows, 0.1 if validation is None else validation, model


def _conditions(comparison: Comparison, args: argparse.Namespace) -> list[str]:
    data, model = comparison.data, comparison.runs[0].result.model
    elements = f", {data['elements']:,} elements" if "elements" in data else ""
    lr = "automatic learning rates" if args.lr == "auto" else f"learning rate {args.lr:g}"
    machine = comparison.machine
    return [
        f"{data['rows']:,} rows to train on, {data['validation_rows']:,} to validate; "
        f"{data['features']:,} features{elements}",
        f"{_loss_text(model)}, {counted(args.epochs, 'epoch')} of {args.optimizer}, {lr}, "
        f"seed {args.seed}",
        f"hybridtrain {machine['hybridtrain']} on {counted(machine['cores'], 'core')} "
        f"of {machine['processor']}",
    ]


def train(args: argparse.Namespace) -> None:
    """Train one model, save it, print its epochs and what was chosen."""
    strategy = parse_strategy(args.strategy)
    settings = {
        "strategy": strategy,
        "optimizer": _optimizer(args),
        "workers": args.workers,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "seed": args.seed,
        "seconds": args.seconds,
        "patience": args.patience,
    }
    if args.patience is not None and args.validation is None:
        raise InvalidSettingError("--patience needs rows to measure on: add --validation 0.1")
    checked_settings(validation=args.validation, **settings)
    _model(args, "logistic")  # refuses penalties that no loss has
    target = None if args.save is None else model_path(args.save)
    require_targets({"--save": target}, [args.file, args.validation])
    rows = read_training(args, args.file)
    model, reason = _model_for(args, rows[1])
    X = rows[0]
    with contextlib.suppress(OSError):  # with nobody to read, the model is still made and saved
        say(f"{rows.name}: {X.shape[0]:,} rows, {X.shape[1]:,} features; {reason}")
    with Interrupts(*ENDING) as interrupts:
        interrupts.keeps_results = True
        early = None
        interrupts.release()
        try:
            with as_lines():
                result = train_model(
                    model, rows, validation=read_validation(args, rows), **settings
                )
        except TrainingInterrupted as error:
            early, result = error, error.result
        if target is not None:
            result.save(target)
            args.saved = target
        if early is None and interrupts.take():
            early = TrainingInterrupted("interrupted while the model was saved", result=result)
        if early is not None:
            early.said = _said_early(result, target)  # type: ignore[attr-defined]
        interrupts.release()
        _summarise(result, strategy)
        if early is not None:
            raise early
        if target is not None:
            say(f"Saved: {target}; use it with: hybridtrain predict {target} FILE")


def _said_early(result: Result, target: str | None) -> str:
    is_whole = result.settings["stopped"] != "interrupted"
    when = "when the training was over" if is_whole else f"in epoch {len(result.ledger)}"
    if target is None:
        return f"interrupted {when}; nothing was saved (no --save)"
    saved = "the model" if is_whole else "what was trained until then"
    return f"interrupted {when}; {saved} is saved in {target}"


def _summarise(result: Result, strategy: Strategy) -> None:
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
    say(_filled(f"{_loss_text(result.model)}; chosen: {_chosen(result, strategy)}", _width()))


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
    parts = [counted(len(result.workers), "worker"), f"learning rate {settings['lr']:.4g}"]
    parts += strategy.describe(settings)
    return ", ".join([*parts, f"{settings['isa']} instructions"])


def predict(args: argparse.Namespace) -> None:
    """Write the predictions of a saved model."""
    require_targets({"--output": args.output}, [args.model, args.file])
    if args.output is None and sys.stdout is None:
        raise InvalidSettingError("standard output is closed; write to a file: --output FILE")
    result = load(args.model)
    n_features = result.params["coef"].shape[-1]
    rows = read_any(args, args.file, n_features, zero_based=index_base(args, result))
    X, y = rows
    if args.score and y is None:
        raise InvalidDataError(f"{rows.name} has no labels: --score cannot be computed")
    score = result.score(X, y) if args.score else None  # refuses what does not match first
    with writing_text(args.output) as out:
        for lines in _lines(result, X, args.proba):
            out(lines)
    if args.output is not None:
        say(f"{X.shape[0]:,} predictions written to {args.output}")
    flush()
    say_left_out(rows, n_features)
    if score is not None:
        name = "R^2" if result.classes is None else "accuracy"
        tell(f"{name} on {rows.name}: {score:.4f}")


def _lines(result: Result, X: Any, proba: bool) -> Iterator[str]:
    """Return the predictions as text, many rows at a time."""
    if proba:
        p = result.predict_proba(X)
        table = p[:, 1:] if p.shape[1] == 2 else p
        for part in _parts(table):
            yield "".join("\t".join(f"{v:.6g}" for v in row) + "\n" for row in part.tolist())
        return
    for part in _parts(result.predict(X)):
        values = part.tolist()
        if result.classes is None:
            yield "".join(f"{value:.7g}\n" for value in values)
        else:
            yield "".join(f"{label_text(value)}\n" for value in values)


def _parts(rows: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[first : first + _ROWS_AT_ONCE]


# ---- from words to settings, and back


def split_words(text: str) -> list[str]:
    """Split at commas outside of parentheses.

    Examples
    --------
    >>> split_words("hybrid(hot=0.5, every=64), sync")
    ['hybrid(hot=0.5, every=64)', 'sync']
    """
    words, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return [word.strip() for word in words if word.strip()]


def _optimizer(args: argparse.Namespace) -> Optimizer:
    optimizer = parse_optimizer(args.optimizer)
    if args.lr == "auto":
        return optimizer
    if "lr" not in {field.name for field in fields(optimizer)}:
        raise InvalidSettingError(f"{args.optimizer} has no learning rate; leave --lr out")
    return replace(optimizer, lr=args.lr)


def _model(args: argparse.Namespace, loss: str) -> Linear:
    chosen: Any = args.loss or loss
    return Linear(loss=chosen, l1=args.l1, l2=args.l2 or 0.0)


def _model_for(args: argparse.Namespace, y: Any) -> tuple[Linear, str]:
    """Return the model for labels, and what was chosen for what reason."""
    if args.loss is not None:
        return _model(args, args.loss), f"{args.loss} loss, as asked for"
    loss, reason = choose_loss(y)
    return _model(args, loss), f"{reason} ({loss} loss; --loss changes it)"


def _loss_text(model: Linear) -> str:
    penalties = [
        f"{name} {getattr(model, name):g}" for name in ("l1", "l2") if getattr(model, name)
    ]
    return " with ".join([f"{model.loss} loss", *filter(None, [" and ".join(penalties)])])


def _width() -> int:
    """Return the columns to use: the terminal's, at most 100."""
    if sys.stdout is None or not sys.stdout.isatty():
        return _MOST_COLUMNS
    return max(min(shutil.get_terminal_size().columns, _MOST_COLUMNS), 40)


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False)

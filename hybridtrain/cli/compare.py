# SPDX-License-Identifier: BSD-3-Clause
"""`hybridtrain compare`: several strategies side by side, on a file or the embedded flights."""

from __future__ import annotations

import argparse
from typing import Any

from hybridtrain.cli.console import columns, say, say_filled
from hybridtrain.cli.explanations import in_words
from hybridtrain.cli.files import read_training, read_validation, require_targets
from hybridtrain.cli.words import choose_model, loss_text, make_model, make_optimizer, split_words
from hybridtrain.comparison.chart import require_chart
from hybridtrain.comparison.compare import check_comparison
from hybridtrain.comparison.compare import compare as compare_strategies
from hybridtrain.comparison.comparison import Comparison
from hybridtrain.comparison.text_table import counted
from hybridtrain.datasets.flights import flights
from hybridtrain.errors import InvalidSettingError
from hybridtrain.models.linear import Linear
from hybridtrain.notices import as_lines
from hybridtrain.strategies.parse import parse_strategy

_FLIGHTS_L2 = 1e-4  # the later flights differ from the earlier ones: without it all overfit
_MOST_SEEDS = 10  # that are listed


def compare(args: argparse.Namespace) -> None:
    """Train with several strategies and print them side by side."""
    settings = {
        "strategies": None
        if args.strategies is None
        else [parse_strategy(word) for word in split_words(args.strategies)],
        "workers": args.workers,
        "epochs": args.epochs,
        "optimizer": make_optimizer(args),
        "batch_size": args.batch_size,
        "seed": args.seed,
        "seeds": args.seeds,
        "repeats": args.repeats,
        "scale": args.scale,
        "backend": args.backend,
        "timeout": args.timeout,
    }
    check_comparison(validation=0.1 if args.validation is None else args.validation, **settings)
    make_model(args, "logistic")  # refuses penalties that no loss has
    if args.plot is not None:
        require_chart(args.plot)
    require_targets({"--plot": args.plot, "--json": args.json}, [args.file, args.validation])
    data, validation, model = _embedded(args) if args.file is None else _own(args)
    with as_lines():
        comparison = compare_strategies(
            model, data, validation=validation, baseline=args.baseline, **settings
        )
    if args.plot is not None:
        comparison.plot(args.plot)
    if args.json is not None:
        comparison.save(args.json)
    for line in _conditions(comparison, args):
        say_filled(line)
    say()
    say(comparison.table(columns()), end="\n\n")
    for line in (f"Best: {comparison.verdict}", *comparison.notes()):
        say_filled(in_words(line, vars(args)))
    if args.plot is not None:
        say(f"Chart: {args.plot}")
    if args.json is not None:
        say(f"All figures: {args.json}")
    if comparison.best is None:
        raise InvalidSettingError("all runs diverged; try a smaller --lr, or scale the features")
    if args.file is None and args.plot is None:
        command = "hybridtrain compare"
        say_filled(f"Next: {command} --plot chart.png, or on your own file: {command} FILE")


def _embedded(args: argparse.Namespace) -> tuple[Any, Any, Linear]:
    """Return the rows of the flights, those to validate on, and the model."""
    if args.validation is not None:
        raise InvalidSettingError("--validation needs a FILE: the flights have rows of their own")
    found = flights()
    say("Flights out of New York, 2013: which arrive more than 15 minutes late?")
    args.l2 = _FLIGHTS_L2 if args.l2 is None else args.l2
    return found.train, found.validation, make_model(args, "logistic")


def _own(args: argparse.Namespace) -> tuple[Any, Any, Linear]:
    """Return the rows of the user's file, what to validate on, and the model."""
    rows = read_training(args, args.file)
    model, reason = choose_model(args, rows[1])
    say(f"{rows.name}: {reason}")
    validation = read_validation(args, rows)
    return rows, 0.1 if validation is None else validation, model


def _conditions(comparison: Comparison, args: argparse.Namespace) -> list[str]:
    """Return lines that say on what, with which settings and where the strategies ran."""
    data, model = comparison.data, comparison.runs[0].result.model
    elements = f", {data['elements']:,} elements" if "elements" in data else ""
    lr = "automatic learning rates" if args.lr == "auto" else f"learning rate {args.lr:g}"
    machine = comparison.machine
    return [
        f"{data['rows']:,} rows to train on, {data['validation_rows']:,} to validate; "
        f"{data['features']:,} features{elements}",
        f"{loss_text(model)}, {counted(args.epochs, 'epoch')} of {args.optimizer}, {lr}, "
        + _seeds(comparison.seeds),
        f"hybridtrain {machine['hybridtrain']} on {counted(machine['cores'], 'core')} "
        f"of {machine['processor']}",
    ]


def _seeds(seeds: tuple[int, ...]) -> str:
    if len(seeds) > _MOST_SEEDS:
        return counted(len(seeds), "seed")
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"

# SPDX-License-Identifier: BSD-3-Clause
"""`hybridtrain predict`: the predictions of a saved model for the rows of a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from hybridtrain.cli.console import flush, say
from hybridtrain.cli.files import (
    index_base,
    read_any,
    require_targets,
    say_left_out,
    writing_text,
)
from hybridtrain.cli.labels import label_text
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.run.progress import tell
from hybridtrain.run.result import Result, load

_ROWS_AT_ONCE = 100_000  # of predictions written


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
    predictions = result.predict(X)
    digits = 7 if predictions.dtype == np.float32 else 15
    for part in _parts(predictions):
        values = part.tolist()
        if result.classes is None:
            yield "".join(f"{value:.{digits}g}\n" for value in values)
        else:
            yield "".join(f"{label_text(value)}\n" for value in values)


def _parts(rows: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[first : first + _ROWS_AT_ONCE]

# SPDX-License-Identifier: BSD-3-Clause
"""The files of a command: how they are read, and what may be written."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hybridtrain.comparison.text_table import counted
from hybridtrain.data.files import FileRows, files_read, read_data
from hybridtrain.data.labelled import require_labels
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.paths import path_text
from hybridtrain.run.progress import tell
from hybridtrain.run.result import Result
from hybridtrain.writing import writing

_STANDARD_INPUT = "-"


def index_base(args: argparse.Namespace, result: Result) -> bool:
    """Return whether indices count from 0: as the model's training file, where that is known."""
    of_model = (result.settings.get("reading") or {}).get("zero_based")
    if args.zero_based and of_model is False:
        raise InvalidSettingError(
            f"--zero-based contradicts {args.model}, which was trained on a file whose indices "
            "count from 1: leave it out"
        )
    return args.zero_based or bool(of_model)


def read_validation(args: argparse.Namespace, trained: FileRows) -> Any:
    """Return the share of --validation, or the rows of its file, read as `trained` were."""
    validation = args.validation
    if not isinstance(validation, str):
        return validation
    n_features = trained[0].shape[1]
    rows = read_training(args, validation, n_features)
    say_left_out(rows, n_features)
    return rows


def read_training(args: argparse.Namespace, path: str, n_features: int | None = None) -> FileRows:
    """Read rows that must have labels."""
    return require_labels(read_any(args, path, n_features, zero_based=args.zero_based))


def read_any(
    args: argparse.Namespace, path: str, n_features: int | None, *, zero_based: bool
) -> FileRows:
    """Read a file, or for "-" standard input."""
    source: Any = path
    if path == _STANDARD_INPUT:
        if sys.stdin is None:
            raise InvalidDataError("standard input is closed, there are no rows to read")
        source = sys.stdin.buffer
    return read_data(
        source,
        n_features=n_features,
        zero_based=zero_based,
        unknown=args.unknown,
        max_bytes=args.max_bytes,
    )


def say_left_out(rows: FileRows, n_features: int) -> None:
    """Say on standard error which elements were left out."""
    left_out = rows.unknown
    if not left_out.elements:
        return
    # As the file counts: text from 1 unless it was read otherwise, columns of arrays from 0.
    first = 0 if rows.reading.get("zero_based", True) else 1
    tell(
        f"{rows.name}: left out {counted(left_out.elements, 'element')} of "
        f"{counted(left_out.rows, 'row')}, features that training never saw: its last index is "
        f"{n_features - 1 + first}, the largest here {left_out.largest + first} "
        "(--unknown refuse ends instead)"
    )


def model_path(path: str) -> str:
    """Return the name of a model's file, with its suffix."""
    if os.path.isdir(path):
        raise InvalidSettingError(f"cannot write {path}: it is a folder, or may not be written")
    return path if path.endswith(".npz") else f"{path}.npz"


def require_targets(targets: dict[str, str | None], sources: list[Any]) -> None:
    """Refuse before the work what could not be written after it, or would be read and written.

    Parameters
    ----------
    targets : dict of option to path or None
    sources : list
        Paths to read, and what else stands in their place.
    """
    read = [path_text(source) for source in sources if isinstance(source, str)]
    if read.count(_STANDARD_INPUT) > 1:
        raise InvalidSettingError("- is standard input, which can be read once: name one file")
    taken = {name: how for source in read for name, how in files_read(source).items()}
    for option, path in targets.items():
        if path is None or (
            os.path.exists(path_text(path)) and not os.path.isfile(path) | os.path.isdir(path)
        ):
            continue  # a device or a pipe is written as it is
        real = Path(os.path.realpath(path))
        folder = real.parent
        if not folder.is_dir():
            raise InvalidSettingError(f"cannot write {path}: there is no folder {folder}")
        is_protected = real.exists() and not os.access(real, os.W_OK)
        if real.is_dir() or is_protected or not os.access(folder, os.W_OK):
            raise InvalidSettingError(f"cannot write {path}: it is a folder, or may not be written")
        if str(real) in taken:
            raise InvalidSettingError(
                f"cannot write {path} for {option}: it is {taken[str(real)]}; give another name"
            )
        taken[str(real)] = f"written for {option}"


@contextlib.contextmanager
def writing_text(path: str | None) -> Iterator[Callable[[str], Any]]:
    """Yield a function that writes text to standard output, or to a file that appears whole."""
    if path is None:
        yield sys.stdout.write
    else:
        with writing(path) as file:
            yield lambda text: file.write(text.encode())

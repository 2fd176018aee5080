# SPDX-License-Identifier: BSD-3-Clause
"""Messages of errors, in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hybridtrain.errors import DivergedError, TrainingInterrupted
from hybridtrain.optimizers.parse import OPTIMIZERS
from hybridtrain.strategies.parse import STRATEGIES

_PHRASES = (
    (r"ht\.read_data\(path, zero_based=True\)", "--zero-based"),
    (
        r"for more, read all files with ht\.read_data\(path, n_features=\.\.\.\), or leave such "
        r'elements out with unknown="ignore"',
        "leave such elements out with --unknown ignore",
    ),
    (r"pass validation=0\.1, or data", "add --validation 0.1, or a file"),
    (r", or for one class against the rest pass y == label", ""),
    (r"a tuple of data, a path or a share of the rows", "a file or a share of the rows"),
    (r"max_bytes=\.\.\.", "--max-bytes N"),
    (
        r"(?:strategies )?must be a list such as \[.*?\], got .*",
        "--strategies must name some: sync,hybrid",
    ),
    (r", or ht\.\w+\(average=True\)", ""),
    (r"\bsuch as range\(5\)", "such as 0:5"),
    (r"\bseeds=range\(5\) would", "--seeds 0:5 would"),
    (
        r"is not a file that Result\.save of this version wrote: (.*)",
        r"is no saved model; make one with: hybridtrain train FILE --save MODEL.npz (\1)",
    ),
    (r" \(or None\)| or None\b", ""),
    (r"\ba smaller lr\b", "a smaller --lr"),
    (r"^every_seconds\b", "--checkpoint-every"),
    (r"\bresume=True\b|\bresume$", "--resume"),
    (r"\bAsync\(\), or Hybrid\(hot=1\.0\)", "async, or 'hybrid(hot=1.0)'"),
)
_WORDS = {kind.__name__: word for word, kind in OPTIMIZERS.items()}
_WORDS |= {kind.__name__: word for word, kind in STRATEGIES.items()}
_CLASS = re.compile(rf"\bht\.({'|'.join(_WORDS)})\((.*?)\)")


class TrainingEnded(TrainingInterrupted):
    """A signal ended a training of the command line; the message says where its model is."""


def explain(error: BaseException, options: Iterable[str], saved: str | None) -> str:
    """Say what happened, and that a model is safe if it was saved before.

    Parameters
    ----------
    error : exception
    options : str
        As for `in_words`.
    saved : str or None
        The file of the model; None: none was saved.

    Returns
    -------
    str
    """
    if isinstance(error, TrainingEnded):
        return str(error)
    explanation = _explained(error, options)
    return explanation if saved is None else f"{explanation}; the model is saved in {saved}"


def _explained(error: BaseException, options: Iterable[str]) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, UnicodeEncodeError):
        return (
            f"standard output's encoding, {error.encoding}, has no "
            f"{error.object[error.start : error.end]!a}; write to a file (--output), or set "
            "PYTHONIOENCODING=utf-8"
        )
    if isinstance(error, DivergedError):
        return (
            f"the loss {error.what} in epoch {error.epoch} at learning rate "
            f"{error.lr:.4g}; try a smaller --lr, or scale the features"
        )
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename is not None else ""
        return f"{named}{error.strerror}"
    said = in_words(str(error), options)
    return f"out of memory: {said}" if isinstance(error, MemoryError) else said


def in_words(message: str, options: Iterable[str]) -> str:
    """Say a message about arguments of Python in the words of the command line.

    Parameters
    ----------
    message : str
        Of an error of this package.
    options : str
        The names of the command's options as Python has them: "batch_size".

    Returns
    -------
    str

    Examples
    --------
    >>> in_words("workers must be >= 1, got 0", ["workers"])
    '--workers must be >= 1, got 0'
    >>> in_words('three classes; use loss="softmax"', ["loss"])
    'three classes; use --loss softmax'
    """
    for python, words in _PHRASES:
        message = re.sub(python, words, message)
    message = _CLASS.sub(_call, message)
    for option in sorted(options, key=len, reverse=True):
        flag = "--" + option.replace("_", "-")
        # As an argument, but not one within a call such as sgd(lr=1).
        message = re.sub(rf"(?<![\w('-]){option}=(\"?)([^\s\",;)]+)\1", rf"{flag} \2", message)
        # As what a message begins with.
        message = re.sub(rf"^{option}(?= (?:must|needs|and|\d))", flag, message)
        if "_" in option:
            message = re.sub(rf"(?<![\w-]){option}\b", flag, message)
    return message


def _call(found: re.Match[str]) -> str:
    """Write ht.Sync() as sync, ht.SGD(average=True) as 'sgd(average=True)'."""
    name, arguments = _WORDS[found[1]], found[2]
    return f"'{name}({arguments})'" if arguments else name

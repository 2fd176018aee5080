# SPDX-License-Identifier: BSD-3-Clause
"""Values of options, from their words; argparse shows what a refusal says, with exit code 2."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Sequence


def rate(text: str) -> float | str:
    """Return a learning rate, or "auto" or "formula"."""
    try:
        return text if text in ("auto", "formula") else float(text)
    except ValueError:
        raise ArgumentTypeError(f"expected auto, formula or a number, got {text!r}") from None


def scale(text: str) -> str | None:
    """Return "auto"; None for "none"."""
    if text not in ("auto", "none"):
        raise ArgumentTypeError(f"expected auto or none, got {text!r}")
    return None if text == "none" else text


def seeds(text: str) -> Sequence[int]:
    """Return the seeds of "0:5", without its end, or of "3,8,21".

    Examples
    --------
    >>> seeds("0:5"), seeds("3,8,21")
    (range(0, 5), [3, 8, 21])
    """
    if not re.fullmatch(r"\d{1,20}:\d{1,20}|\d{1,20}(,\d{1,20})*", text, re.ASCII):
        raise ArgumentTypeError(f"expected a range such as 0:5, or 3,8,21, got {text!r}")
    first, is_range, end = text.partition(":")
    return range(int(first), int(end)) if is_range else [int(word) for word in text.split(",")]


def size(text: str) -> int:
    """Return a number of bytes: "40G" is 40 << 30."""
    found = re.fullmatch(r"([0-9]{1,18})([kKmMgGtT]?)", text)
    if found is None or not int(found[1]):
        raise ArgumentTypeError(f"expected bytes, such as 1000000 or 40G, got {text!r}")
    return int(found[1]) << (10 * " kmgt".index(found[2].lower() or " "))


def share_or_path(text: str) -> float | str:
    """Return a share of the rows, in 0 .. 1; a text that is no number as it is."""
    try:
        share = float(text)
    except ValueError:
        return text
    if not 0 < share < 1:
        raise ArgumentTypeError(f"expected a share between 0 and 1 or a file, got {text}")
    return share


def nodes(text: str) -> int | str | list[str]:
    """Return a number of nodes, "env", or addresses.

    Examples
    --------
    >>> nodes("2"), nodes("env"), nodes("10.0.0.5:7000,10.0.0.6:7000")
    (2, 'env', ['10.0.0.5:7000', '10.0.0.6:7000'])
    """
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    if text == "env" or ":" not in text:
        return text
    return text.split(",")

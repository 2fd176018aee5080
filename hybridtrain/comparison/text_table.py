# SPDX-License-Identifier: BSD-3-Clause
"""A table of plain text: labels on the left, one column per run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

_GAP = 2
_LEAST_COLUMN = 8


def text_table(
    names: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    *,
    width: int = 100,
    corner: str = "",
) -> str:
    """Set names and figures in columns, flush right, in blocks where the width ends.

    Parameters
    ----------
    names : sequence of str
        One for each column; "sync(exact=False)" is set in two lines.
    rows : sequence of (label, cells)
        A label names the figure and its unit. A row has one cell for each name.
    width : int
        The most characters of a line; a block has at least one column.
    corner : str
        Stands at the left of the first line of names: what the figures are.

    Returns
    -------
    str
        Lines without blanks at their ends, blocks with an empty line between them.

    Examples
    --------
    >>> print(text_table(["sync", "hybrid"], [("rows/s, million", ["3.91", "9.41"])]))
                         sync    hybrid
    rows/s, million      3.91      9.41
    """
    heads = [_broken(name) for name in names]
    label_width = max(len(label) for label in (corner, *(label for label, _ in rows)))
    widths = [
        max(_LEAST_COLUMN, *map(len, head), *(len(cells[k]) for _, cells in rows))
        for k, head in enumerate(heads)
    ]
    blocks = []
    first = 0
    while first < len(names):
        last, used = first, label_width
        while last < len(names) and (last == first or used + _GAP + widths[last] <= width):
            used += _GAP + widths[last]
            last += 1
        height = max(len(head) for head in heads[first:last])
        lines = [
            (
                "" if line else corner,
                [head[line] if line < len(head) else "" for head in heads[first:last]],
            )
            for line in range(height)
        ]
        lines += [(label, list(cells[first:last])) for label, cells in rows]
        blocks.append(
            "\n".join(
                "".join(
                    [
                        label.ljust(label_width),
                        *(
                            " " * _GAP + cell.rjust(size)
                            for cell, size in zip(cells, widths[first:last], strict=True)
                        ),
                    ]
                ).rstrip()
                for label, cells in lines
            )
        )
        first = last
    return "\n\n".join(blocks)


def _broken(name: str) -> list[str]:
    """Return the lines of a name: its arguments stand on lines below it."""
    head, opening, arguments = name.partition("(")
    if not opening:
        return [head]
    parts = arguments.removesuffix(")").split(", ")
    return [head, *(part + ("," if part is not parts[-1] else "") for part in parts)]


def digits(value: float | None, figures: int = 3) -> str:
    """Write a number with `figures` significant figures, never with an exponent.

    Examples
    --------
    >>> [digits(v) for v in (0.01234, 9.8, 9.996, 12345.6, None, float("nan"))]
    ['0.0123', '9.80', '10.0', '12,346', '-', '-']
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    # The exponent after rounding: 9.996 is 10.0 in three figures.
    exponent = int(f"{value:.{figures - 1}e}".partition("e")[2])
    return f"{value:,.{min(max(figures - 1 - exponent, 0), 9)}f}"


def finite(value: float) -> float | None:
    """Return the value; None, which `digits` writes as "-", when it is infinite or NaN.

    Examples
    --------
    >>> digits(finite(float("inf")))
    '-'
    """
    return value if math.isfinite(value) else None


def counted(count: int, noun: str) -> str:
    """Return a count and its noun, in the plural unless the count is 1.

    Examples
    --------
    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}" + ("s" if count != 1 else "")


def tallied(words: Iterable[str]) -> str:
    """Return how many times each word is there.

    Examples
    --------
    >>> tallied(["SIGKILL", "SIGSEGV", "SIGKILL"])
    'SIGKILL 2 times, SIGSEGV 1 time'
    """
    return ", ".join(f"{word} {counted(n, 'time')}" for word, n in Counter(words).items())

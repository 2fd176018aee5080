"""Print the figures as markdown tables: ``python -m bench.report FILE.jsonl``.

Of figures that were taken several times the last ones count.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]


def markdown(lines: Iterable[Line]) -> str:
    """Return the tables of all files, and under them where they were measured."""
    latest: dict[tuple[str, ...], Line] = {}
    for line in lines:
        latest[_key(line)] = line
    if not latest:
        return "no figures\n"
    text = []
    for file in dict.fromkeys(line["file"] for line in latest.values()):
        mine = [line for line in latest.values() if line["file"] == file]
        text.append(f"### {mine[0]['question']} (`bench/{file}.py`)\n")
        text += _answers([line for line in mine if line["kind"] == "answer"])
        text += _sides([line for line in mine if line["kind"] == "side"])
    return "\n".join(text + list(dict.fromkeys(_footer(line) for line in latest.values())))


def _key(line: Line) -> tuple[str, ...]:
    named = (line.get(k, "") for k in ("what", "data", "side"))
    return line["file"], line["kind"], *named, *line.get("columns", ())


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if abs(value) >= 100_000:
        return f"{value / 1e6:.3g} M"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 2 or 0 < abs(value) < 0.01 else f"{value:.4f}"


def _spread(cell: Mapping[str, float] | str) -> str:
    if isinstance(cell, str):
        return cell
    if cell["low"] == cell["high"] or math.isnan(cell["median"]):
        return _number(cell["median"])
    return f"{_number(cell['median'])} ({_number(cell['low'])} to {_number(cell['high'])})"


def _goal(line: Line) -> str:
    if line["goal"] is None:
        return ""
    sign = "≥" if line["goal_is"] == "least" else "≤"
    return f"{sign} {line['goal']:.4g}: {'met' if line['met'] else '**not met**'}"


def _guards(line: Line) -> str:
    if math.isnan(line.get("ping_pong_ns", math.nan)):
        return ""
    text = f"{line['ping_pong_ns']:.0f} ns, {line['two_over_one']:.2f}"
    return text + (" **off in all**" if line["guards_off"] else "")


def _answers(lines: list[Line]) -> list[str]:
    if not lines:
        return []
    rows = [
        "| figure | median (spread) | unit | goal | taken (left out) | guards |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        taken = f"{line['n']}" + (f" ({line['left_out']})" if line.get("left_out") else "")
        cells = (line["what"], _spread(line), line["unit"], _goal(line), taken, _guards(line))
        rows.append(f"| {' | '.join(cells)} |")
    return [*rows, ""]


def _sides(lines: list[Line]) -> list[str]:
    tables: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        cells = (line["data"], line["side"], *map(_spread, line["columns"].values()))
        tables.setdefault(tuple(line["columns"]), []).append(f"| {' | '.join(cells)} |")
    text = []
    for columns, rows in tables.items():
        text += [f"| data | side | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
        text += [*rows, ""]
    return text


def _footer(line: Line) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in line["versions"].items())
    tiny = "**Tiny data: the figures mean nothing.** " if line["tiny"] else ""
    return (
        f"{tiny}{line['machine']}; {line['compiler']}; {versions}; commit {line['commit']}. "
        "Median (smallest to largest) of interleaved repetitions, ratios within a repetition. "
        "Guards: cache-line ping-pong one way, two multiply-add loops over one.\n"
    )


def main(arguments: list[str]) -> int:
    """Print the tables of a file."""
    if len(arguments) != 1:
        print("usage: python -m bench.report FILE.jsonl", file=sys.stderr)
        return 2
    print(markdown(json.loads(line) for line in Path(arguments[0]).read_text().splitlines()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

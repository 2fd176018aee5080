"""Write the figures as a page of tables and charts: ``python -m bench.report FILE.jsonl``.

The page is docs/benchmarks.md, or what --page names; the charts lie in a folder beside
it. Without matplotlib the page has tables only. Of figures that were taken several
times the last ones count.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]
_PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_INTRODUCTION = """# Benchmarks

The figures of `pytest bench --figures FILE.jsonl`, written here by
`python -m bench.report FILE.jsonl`; [bench/README.md](../bench/README.md) says how to run it.
Medians of interleaved repetitions with the smallest and the largest; ratios are taken within a
repetition, so that what the machine does meanwhile hits both sides. Guards, for figures of two
cores: the time of a cache line from core to core, and two multiply-add loops over one;
repetitions beside a bad guard are left out and counted. A goal that is not met says so.
"""
# What the names of our own sides begin with; charts show the others in grey.
_OURS = ("hybrid", "sync", "hogwild", "round", "import hybridtrain", "sgd,", "adagrad,")
_MOST_BARS = 20  # of a panel
_MOST_PANELS = 6  # of a chart with one column of them


def markdown(lines: Iterable[Line], charts: Path | None = None) -> str:
    """Return the tables of all files, and under them where they were measured.

    With `charts`, a folder, each file's sides are drawn to a chart there, too.
    """
    latest: dict[tuple[str, ...], Line] = {}
    for line in lines:
        latest[_key(line)] = line
    if not latest:
        return "no figures\n"
    text = _missed([line for line in latest.values() if line.get("goal") is not None])
    for file in dict.fromkeys(line["file"] for line in latest.values()):
        mine = [line for line in latest.values() if line["file"] == file]
        sides = [line for line in mine if line["kind"] == "side"]
        text.append(f"### {mine[0]['question']} (`bench/{file}.py`)\n")
        if charts is not None and _chart(sides, charts / f"{file}.png"):
            text.append(f"![the first figure of each side]({charts.name}/{file}.png)\n")
        text += _answers([line for line in mine if line["kind"] == "answer"])
        text += _sides(sides)
    return "\n".join(text + list(dict.fromkeys(_footer(line) for line in latest.values())))


def _chart(sides: list[Line], path: Path) -> bool:
    """Draw the first figure of each side, a panel for each data set; whether there is one."""
    panels: dict[str, list[Line]] = {}
    for line in sides:
        name, cell = _first(line)
        if not isinstance(cell, str):
            panels.setdefault(", ".join(filter(None, (line["data"], name))), []).append(line)
    if not panels:
        return False
    from matplotlib.figure import Figure  # noqa: PLC0415 - only for charts

    shown = {title: lines[:_MOST_BARS] for title, lines in panels.items()}
    columns = 1 if len(shown) <= _MOST_PANELS else 2
    bars = [len(lines) for lines in shown.values()]
    rows = [bars[i : i + columns] for i in range(0, len(bars), columns)]
    heights = [0.28 * max(row) + 0.4 for row in rows]
    figure = Figure(figsize=(8 * columns, sum(heights) + 0.6), layout="constrained")
    grid = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, (title, lines) in zip(grid.flat, shown.items(), strict=False):
        cells = [_first(line)[1] for line in lines]
        middles = [cell["median"] for cell in cells]
        below = [cell["median"] - cell["low"] for cell in cells]
        above = [cell["high"] - cell["median"] for cell in cells]
        colours = ["#0072B2" if _is_ours(line["side"]) else "#b0b0b0" for line in lines]
        axes.barh(range(len(lines)), middles, color=colours, xerr=[below, above], ecolor="#444444")
        axes.set_yticks(range(len(lines)), [line["side"] for line in lines], fontsize=8)
        axes.invert_yaxis()
        axes.set_title(title, loc="left", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    return True


def _first(line: Line) -> tuple[str, Any]:
    return next(iter(line["columns"].items()))


def _is_ours(side: str) -> bool:
    return side.lower().removeprefix("python -c '").startswith(_OURS)


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


def _ratio(value: float) -> str:
    return f"{value:.3g}"


def _spread(cell: Mapping[str, Any] | str, words: Callable[[float], str] = _number) -> str:
    if isinstance(cell, str):
        return cell
    if cell["low"] == cell["high"] or math.isnan(cell["median"]):
        return words(cell["median"])
    return f"{words(cell['median'])} ({words(cell['low'])} to {words(cell['high'])})"


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


def _missed(lines: list[Line]) -> list[str]:
    if not lines:
        return []
    missed = [line for line in lines if not line["met"]]
    text = [f"Of {len(lines)} goals, {len(lines) - len(missed)} are met.", ""]
    if missed:
        text += ["| not met | median (spread) | unit | goal |", "|---|---|---|---|"]
    for line in missed:
        goal = _goal(line).partition(":")[0]
        text.append(f"| {line['what']} | {_spread(line)} | {line['unit']} | {goal} |")
    return [*text, ""]


def _answers(lines: list[Line]) -> list[str]:
    if not lines:
        return []
    rows = [
        "| figure | median (spread) | unit | goal | taken (left out) | guards |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        taken = f"{line['n']}" + (f" ({line['left_out']})" if line.get("left_out") else "")
        spread = _spread(line, _ratio if line["unit"] == "x" else _number)
        cells = (line["what"], spread, line["unit"], _goal(line), taken, _guards(line))
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
    return f"{tiny}{line['machine']}; {line['compiler']}; {versions}; commit {line['commit']}.\n"


def main(arguments: list[str]) -> int:
    """Write the page of a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="what pytest bench --figures wrote")
    parser.add_argument("--page", type=Path, default=_PAGE, help=f"default: {_PAGE}")
    found = parser.parse_args(arguments)
    charts = found.page.with_suffix("") if find_spec("matplotlib") else None
    lines = [json.loads(line) for line in found.file.read_text().splitlines()]
    found.page.write_text(f"{_INTRODUCTION}\n{markdown(lines, charts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

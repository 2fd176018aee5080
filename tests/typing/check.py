"""Run mypy and pyright over what they must accept and refuse, and compare line by line.

    python tests/typing/check.py

Needs mypy and basedpyright (pyright from a wheel) beside the Python that runs it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = [HERE / "accepted.py", HERE / "refused.py"]
MARK = "# refused"
Found = dict[tuple[str, int], str]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() or done.returncode == 0, done.stderr
    return done.stdout


def mypy() -> Found:
    """Return what mypy says of each line."""
    names = [str(path) for path in FILES]
    options = ["--strict", "--output=json", "--no-error-summary", "--cache-dir=/dev/null"]
    lines = _run(sys.executable, "-m", "mypy", *options, *names).splitlines()
    errors = [each for each in map(json.loads, lines) if each["severity"] == "error"]
    return {(Path(e["file"]).name, e["line"]): e["message"] for e in errors}


def pyright() -> Found:
    """Return what pyright says of each line."""
    program = Path(sys.executable).with_name("basedpyright")
    names = [str(path) for path in FILES]
    said: dict[str, Any] = json.loads(_run(str(program), "--outputjson", *names))
    errors = [each for each in said["generalDiagnostics"] if each["severity"] == "error"]
    return {(Path(e["file"]).name, e["range"]["start"]["line"] + 1): e["message"] for e in errors}


def main() -> int:
    """Compare both checkers with the marks."""
    expected = {
        (path.name, number)
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if line.endswith(MARK)
    }
    assert len(expected) > 10
    checkers: list[Callable[[], Found]] = [mypy, pyright]
    failures = 0
    for checker in checkers:
        found = checker()
        for name, line in sorted(expected - found.keys()):
            print(f"{checker.__name__} accepts {name}:{line}, which must be refused")
        for name, line in sorted(found.keys() - expected):
            print(f"{checker.__name__} refuses {name}:{line}: {found[name, line]}")
        failures += len(expected ^ found.keys())
    print(f"{len(expected)} lines refused, {failures} differences")
    return failures > 0


if __name__ == "__main__":
    raise SystemExit(main())

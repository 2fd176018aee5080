# SPDX-License-Identifier: BSD-3-Clause
"""The tutorial of docs/dask.md runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs hybridtrain[dask]")

pytestmark = pytest.mark.engine
PAGE = Path(__file__).parents[2] / "docs" / "dask.md"


def test_the_tutorial_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    command = [sys.executable, "-W", "ignore", "-c", "".join(blocks)]
    printed = subprocess.check_output(command, cwd=tmp_path, text=True, timeout=100)
    lines, share = printed.splitlines()
    assert lines.startswith("['2 nodes: 127.0.0.1:")
    assert float(share) > 0.95

# SPDX-License-Identifier: BSD-3-Clause
"""The machines of nodes are pure: events go in, acts come out, and nothing else is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from hybridtrain import nodes

FOLDER = Path(nodes.__file__).parent
PURE = {"__future__", "collections", "collections.abc", "dataclasses", "typing"}
OURS = {"hybridtrain.nodes", "hybridtrain.transport.frame", "hybridtrain.errors"}
MACHINES = ["driver", "ending", "events", "node", "peers", "reducer", "views"]


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_has_no_socket_clock_thread_or_arithmetic(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    modules = {node.module or "" for node in imports}
    foreign = {module for module in modules if not module.startswith("hybridtrain.nodes")}
    assert modules
    assert foreign <= PURE | OURS

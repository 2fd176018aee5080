# SPDX-License-Identifier: BSD-3-Clause
"""Includes, cimports and imports go down the layers only, and never in a circle."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "hybridtrain"
CORE = PACKAGE / "_core"

_CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]

# Lowest first. What stands in one layer, apart from each other, does not import its neighbours.
LAYERS: list[list[str]] = [line.split(" | ") for line in reversed(_CONTRACTS[0]["layers"])]


def _layer_of(module: str) -> tuple[int, str]:
    """Return the layer of a module and the name there, of itself or of a folder around it."""
    parents = [module.rsplit(".", up)[0] for up in range(module.count(".") + 1)]
    found = [(level, name) for name in parents for level, at in enumerate(LAYERS) if name in at]
    return found[0] if found else (len(LAYERS), module)


# Of each folder of csrc/, the folders that its files may include beside their own.
FOLDERS: dict[str, set[str]] = {
    "base": set(),
    "math": {"base"},
    "rows": {"base"},
    "share": {"base", "math", "rows"},
    "model": {"base", "math", "rows", "share"},
    "run": {"base", "math", "rows", "share", "model"},
}


def _header_layer(header: str) -> int:
    """Return the layer that a header, named with its folder, gives in its comment."""
    found = re.findall(r"^ \* Layer L(\d+)\b", (CSRC / header).read_text(), re.MULTILINE)
    assert len(found) == 1, f"{header} must name its layer once"
    return int(found[0])


def _includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)


def _name_of(path: Path) -> str:
    """Return how a file of csrc/ is included: with its folder."""
    return path.relative_to(CSRC).as_posix()


def _module_of(name: str) -> str:
    """Return the module of a C file or header: share/ht_sums for share/ht_sums_racy.c.

    The kernels of a model have a file for each shape of rows: model/ht_linear_kernels for
    model/ht_linear_sparse_racy.c.
    """
    stem = re.sub(r"\.[ch]$", "", name)
    stem = re.sub(r"_(sparse|dense|outputs|add|sum|lanes|tables)(_racy|_isa)?$", "_kernels", stem)
    return re.sub(r"(_(isa|parts|racy|open|check|work|merge|local|step|guest))+$", "", stem)


C_FILES = sorted(CSRC.rglob("ht_*.[ch]"))


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_a_c_file_includes_only_its_own_and_lower_folders(path: Path) -> None:
    allowed = {path.parent.name} | FOLDERS[path.parent.name]
    for included in _includes(path):
        folder, _, _ = included.rpartition("/")
        assert folder in allowed, f"{_name_of(path)} includes {included}"
        assert (CSRC / included).is_file(), f"{_name_of(path)} includes {included}"


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_a_c_file_includes_only_lower_layers_and_its_own_headers(path: Path) -> None:
    own = _module_of(_name_of(path))
    layer = _header_layer(f"{own}.h")
    for included in _includes(path):
        is_own = _module_of(included) == own
        is_base = included == "base/ht_base.h"  # the bottom of the lowest layer
        assert is_own or is_base or _header_layer(included) < layer, (
            f"{path.name} (L{layer}) includes {included} (L{_header_layer(included)})"
        )


@pytest.mark.parametrize("path", sorted((CSRC / "run").glob("*.[ch]")), ids=lambda path: path.name)
def test_the_loops_know_a_model_by_its_functions_alone(path: Path) -> None:
    allowed = {"model/ht_model.h"}
    known = {name for name in _includes(path) if name.startswith("model/")}
    assert known <= allowed, f"{path.name} includes {known - allowed}"
    losses = re.findall(r"\bht_(?:loss|softmax|linear)\w*", path.read_text())
    assert not losses, f"{path.name} names {losses}"


def test_the_layers_of_a_folder_are_above_those_of_lower_folders() -> None:
    layers = {
        folder: {_header_layer(_name_of(path)) for path in (CSRC / folder).glob("*.h")}
        for folder in FOLDERS
    }
    for folder, lower in FOLDERS.items():
        for name in lower:
            assert max(layers[name]) < min(layers[folder]), f"{name} must be below {folder}"


PRIVATE_HEADERS = [
    *CSRC.rglob("ht_*_isa.h"),
    *CSRC.rglob("ht_*_parts.h"),
]


@pytest.mark.parametrize("header", sorted(PRIVATE_HEADERS), ids=lambda path: path.name)
def test_a_private_header_is_included_only_by_the_files_that_it_names(header: Path) -> None:
    text = re.sub(r"\s+\*?\s*", " ", header.read_text())
    named = re.search(r"for (ht_\w+\.[ch](?:(?:, | and )ht_\w+\.[ch])*) only", text)
    assert named is not None, f"{header.name} must say for which files it is"
    allowed = set(re.split(", | and ", named.group(1)))
    includers = {path.name for path in C_FILES if _name_of(header) in _includes(path)}
    assert includers <= allowed


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_the_core_includes_neither_python_nor_zeromq(path: Path) -> None:
    system = re.findall(r"^\s*#\s*include\s+<([^>]+)>", path.read_text(), re.MULTILINE)
    assert not [name for name in system if re.match(r"(Python|numpy/|zmq|omp)", name)]


def test_every_c_module_has_a_folder_a_header_and_a_layer() -> None:
    assert C_FILES, "csrc/ was not found"
    for path in C_FILES:
        assert path.parent.parent == CSRC
        assert path.parent.name in FOLDERS
        module = _module_of(_name_of(path))
        assert (CSRC / f"{module}.h").is_file()
        assert _header_layer(f"{module}.h") >= 0


CYTHON_FILES = sorted([*CORE.glob("*.pyx"), *CORE.glob("*.pxd")])


def _cimports(path: Path) -> list[tuple[str, list[str]]]:
    """Return (module of _core, names) of each cimport."""
    text = re.sub(r"#.*", "", path.read_text())
    pattern = r"from\s+hybridtrain\._core\.(\w+)\s+cimport\s+(\([^)]*\)|[^\n(]+)"
    return [
        (module, re.findall(r"\w+", re.sub(r"\bas\s+\w+", "", names)))
        for module, names in re.findall(pattern, text)
    ]


@pytest.mark.parametrize("path", CYTHON_FILES, ids=lambda path: path.name)
def test_what_a_cython_file_cimports_is_declared_there(path: Path) -> None:
    for module, names in _cimports(path):
        declared = CORE / f"{module}.pxd"
        assert declared.is_file(), f"{path.name} cimports from {module}, which has no .pxd"
        missing = [name for name in names if not re.search(rf"\b{name}\b", declared.read_text())]
        assert not missing, f"{declared.name} does not declare {missing}"


def _with_includes(header: str) -> str:
    """Return the text of a header and of those that it includes."""
    included = "".join(_with_includes(name) for name in _includes(CSRC / header))
    return (CSRC / header).read_text() + included


@pytest.mark.parametrize("path", sorted(CORE.glob("*.pxd")), ids=lambda path: path.name)
def test_a_pxd_declares_what_its_header_has(path: Path) -> None:
    for header, body in re.findall(
        r'cdef extern from "([^"]+)"[^\n]*:\n((?:[ \t]+[^\n]*\n|\n)*)', path.read_text()
    ):
        text = _with_includes(header)
        missing = {name for name in re.findall(r"\b[hH][tT]_\w+", body) if name not in text}
        assert not missing, f"{header} lacks {missing}"


@pytest.mark.parametrize("path", sorted(CORE.glob("*.pyx")), ids=lambda path: path.name)
def test_a_pyx_has_stubs(path: Path) -> None:
    assert path.with_suffix(".pyi").is_file()


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imported(node: ast.AST) -> set[str]:
    """Return the modules of the package that a piece of code imports when it runs."""
    if _is_type_checking(node):
        assert isinstance(node, ast.If)
        return set().union(*(_imported(child) for child in node.orelse))
    names: set[str] = set()
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        if node.module is not None and node.module.split(".")[0] == "hybridtrain":
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names = {name if name in MODULES else node.module for name in inner}
    if isinstance(node, ast.Import):
        names = {a.name for a in node.names if a.name.split(".")[0] == "hybridtrain"}
    return names.union(*(_imported(child) for child in ast.iter_child_nodes(node)))


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {_module(path): path for path in PACKAGE.rglob("*.py")}


def test_every_module_has_a_layer_and_every_layer_exists() -> None:
    named = {name for layer in LAYERS for name in layer}
    without = [name for name in MODULES if _layer_of(name)[0] == len(LAYERS)]
    assert without == ["hybridtrain"]
    assert all(
        (PACKAGE.parent / name.replace(".", "/")).is_dir() or name in MODULES for name in named
    )


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"hybridtrain"}))
def test_a_module_imports_lower_layers_only(module: str) -> None:
    own = _layer_of(module)
    layers = {name: _layer_of(name) for name in _imported(ast.parse(MODULES[module].read_text()))}
    upward = {name for name, layer in layers.items() if layer != own and layer[0] >= own[0]}
    assert not upward, f"{module} imports {upward}, of a neighbour or a higher layer"


@pytest.mark.parametrize("path", sorted(CORE.glob("*.pyx")), ids=lambda path: path.name)
def test_the_handles_on_the_core_import_lower_layers_only(path: Path) -> None:
    imported = re.findall(r"^\s*from\s+(hybridtrain\S*)\s+import\b", path.read_text(), re.M)
    assert not [name for name in imported if _layer_of(name)[0] > _layer_of("hybridtrain._core")[0]]


def test_the_finder_of_imports_sees_them_in_functions_and_not_for_type_checkers() -> None:
    code = (
        "if TYPE_CHECKING:\n    from hybridtrain.machine import usable_cores\n"
        "def f():\n    from hybridtrain.data.matrix import Csr\n    import hybridtrain.errors\n"
    )
    assert _imported(ast.parse(code)) == {"hybridtrain.data.matrix", "hybridtrain.errors"}


SOURCES = [
    path
    for folder in ("hybridtrain", "csrc", "tests", "bench", "tools", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".pyx", ".pyi", ".pxd", ".c", ".h"}
]


def test_no_file_has_more_than_400_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in SOURCES}
    assert len(lengths) > 300
    assert not {name: lines for name, lines in lengths.items() if lines > 400}

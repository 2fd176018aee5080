"""Rows as svmlight text, for peers that read files; written once, in a temporary folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.data import Dataset

_FOLDER = tempfile.TemporaryDirectory(prefix="hybridtrain-bench-")
folder = Path(_FOLDER.name)  # for what a peer makes of it, too


def svmlight(data: Dataset) -> tuple[Path, Path]:
    """Return the files with the rows to train on and to test on; labels are 0 and 1."""
    from sklearn.datasets import dump_svmlight_file  # noqa: PLC0415 - slow to import

    train, test = (folder / f"{data.name}.{part}.svm" for part in ("train", "test"))
    for path, X, y in ((train, data.X, data.y), (test, data.X_test, data.y_test)):
        if not path.exists():
            dump_svmlight_file(X, (y > 0).astype(int), str(path))
    return train, test

# SPDX-License-Identifier: BSD-3-Clause
"""Errors of the command line advise the command line, and ask what an unknown word meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht
from hybridtrain.cli.entry import main
from hybridtrain.cli.explanations import in_words

OPTIONS = ["loss", "l1", "lr", "workers", "validation", "batch_size", "max_bytes", "seed"]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("workers must be >= 1, got 0", "--workers must be >= 1, got 0"),
        ("batch_size must be 1 (or None) with Hybrid", "--batch-size must be 1 with Hybrid"),
        ("choose a batch_size above 3", "choose a --batch-size above 3"),
        ('use loss="softmax", or so', "use --loss softmax, or so"),
        ("pass validation=0.1, or data", "add --validation 0.1, or a file"),
        ("allow more with max_bytes=...", "allow more with --max-bytes N"),
        ("use ht.AdaGrad() or ht.SGD(lr=0.1)", "use adagrad or 'sgd(lr=0.1)'"),
        ("the strategy ht.Sync(exact=False)", "the strategy 'sync(exact=False)'"),
        ("got 'sgd(lr=1)'", "got 'sgd(lr=1)'"),
        ("'hybrid(every=0)': every must be >= 1", "'hybrid(every=0)': every must be >= 1"),
        ("rows-seed=3.svm has no labels", "rows-seed=3.svm has no labels"),
    ],
)
def test_arguments_of_python_become_options(message: str, words: str) -> None:
    assert in_words(message, OPTIONS) == words


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with text of several kinds and a model."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, n_classes in (("two", 2), ("three", 3)):
        lines = [f"{i % n_classes} 1:{v:.3f} 3:1" for i, v in enumerate(rng.standard_normal(60))]
        Path(f"{name}.svm").write_text("\n".join(lines))
    Path("zero.svm").write_text("1 0:1\n0 2:1\n")
    Path("wide.svm").write_text("1 1:1 9:1\n0 2:1\n")
    model = ht.train(ht.Linear(), ht.read_data("two.svm"), workers=1)
    model.save("model.npz")
    return tmp_path


WORDS: dict[str, tuple[int, str]] = {
    "train zero.svm": (1, "for a file that counts from 0 use --zero-based; got '1 0:1'"),
    "train three.svm --loss hinge": (
        1,
        "for hinge loss, found 3: 0.0, 1.0, 2.0; use --loss softmax",
    ),
    "predict model.npz wide.svm --unknown refuse": (
        1,
        "leave such elements out with --unknown ignore",
    ),
    "train two.svm --max-bytes 99": (
        1,
        "more than 99 bytes of text; allow more with --max-bytes N",
    ),
    "predict two.svm two.svm": (1, "two.svm is no saved model; make one with: hybridtrain train"),
    "train no.svm --workers 0": (1, "--workers must be >= 1, got 0"),
    "train no.svm --epochs 0": (1, "--epochs must be >= 1, got 0"),
    "train no.svm --seconds -1": (1, "--seconds must be finite and > 0, got -1.0"),
    "train no.svm --seconds nan": (1, "--seconds must be finite and > 0, got nan"),
    "train no.svm --seed -1": (1, "--seed must be >= 0, got -1"),
    "train no.svm --seed 18446744073709551616": (1, "--seed must be at most 18446744073709551615"),
    "train no.svm --batch-size 2": (
        1,
        "--batch-size must be 1 with Hybrid, which steps on one row",
    ),
    "train no.svm --strategy sync --batch-size 0": (1, "--batch-size must be >= 1, got 0"),
    "train no.svm --validation 0.1 --patience 0": (1, "--patience must be >= 1, got 0"),
    "train no.svm --l1 -1": (1, "--l1 must be finite and >= 0, got -1.0"),
    "train no.svm --l2 inf": (1, "--l2 must be finite and >= 0, got inf"),
    "train no.svm --lr 0": (1, "--lr must be finite and > 0, got 0.0"),
    "compare no.svm --workers 0": (1, "--workers must be >= 1, got 0"),
    "compare no.svm --repeats 0": (1, "--repeats must be >= 1, got 0"),
    "compare no.svm --seeds 3:3": (1, "--seeds must be ints such as 0:5, got range(3, 3)"),
    "compare no.svm --seeds 1,2,1": (1, "--seeds must differ from each other, got 1 twice"),
    "compare no.svm --seeds 0:2 --seed 1": (1, "--seeds must be given without a seed, got both"),
    "compare no.svm --seeds 0:99999999999999999999": (1, "--seeds must be at most 1,000 ints"),
    "compare no.svm --seeds 0:-1": (2, "expected a range such as 0:5, or 3,8,21, got '0:-1'"),
    "compare no.svm --seeds 0-5": (2, "expected a range such as 0:5, or 3,8,21, got '0-5'"),
    "compare no.svm --epochs -3": (1, "--epochs must be >= 1, got -3"),
    "compare no.svm --l2 nan": (1, "--l2 must be finite and >= 0, got nan"),
    "compare no.svm --strategies sync --batch-size 0": (1, "--batch-size must be >= 1, got 0"),
    "compare no.svm --strategies sync,hybird": (1, "got 'hybird'; did you mean 'hybrid'?"),
    "train no.svm --strategy hybird": (1, "got 'hybird'; did you mean 'hybrid'?"),
    "train no.svm --strategy hybrid(evry=4)": (
        1,
        "hybrid has no 'evry', it has hot, every, compress; did you mean 'every'?",
    ),
    "train no.svm --strategy hybrid(4)": (1, "arguments have names, such as hot=..."),
    "train no.svm --optimizer adagard": (1, "got 'adagard'; did you mean 'adagrad'?"),
    "train no.svm --optimizer sgd(schedule='cosin')": (1, "'cosin'; did you mean 'cosine'?"),
    "train no.svm --optimizer sgd(lr=---1)": (1, "'sgd(lr=---1)': lr is malformed: expected a"),
    "train no.svm --optimizer sgd(lr=1": (1, "optimizer must be one of sgd, adagrad, adam, ftrl"),
    "train no.svm --optimizer sgd(lr=[1]*10**9)": (1, "lr is malformed"),
    "train no.svm --optimizer sgd(lr={})": (1, "lr must be a number > 0, got {}"),
    "train no.svm --optimizer sgd(lr={{}})": (1, "lr is malformed"),
    "train no.svm --optimizer sgd(lr=" + "(" * 9999: (1, "more than 400 letters"),
    "train no.svm --optimizer sgd(lr=" + "-" * 380 + "1)": (1, "lr is malformed"),
    "train no.svm --optimizer sgd(lr=" + "[" * 150 + "]" * 150 + ")": (1, "must be a number > 0"),
    "train no.svm --optimizer sgd(lr=1" + "0" * 350 + ")": (1, "lr must be finite and > 0, got 1"),
    "train no.svm --optimizer sgd(lr=1\0)": (1, "optimizer must be one of sgd"),
    "train no.svm --loss logisitc": (2, "did you mean 'logistic'?"),
    "trian two.svm": (2, "did you mean 'train'?"),
    "train two.svm --epcohs 3": (2, "unrecognized arguments: --epcohs 3; did you mean '--epochs'?"),
    "predict model.npz two.svm --sorce": (2, "did you mean '--score'?"),
    "predict model.npz two.svm --unknown drop": (2, "invalid choice: 'drop'"),
    "train two.svm --max-bytes many": (2, "expected bytes, such as 1000000 or 40G, got 'many'"),
    "train two.svm --max-bytes 0": (2, "expected bytes"),
}


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words[:60].replace("\0", "0"))
@pytest.mark.usefixtures("files")
def test_an_error_speaks_of_options_and_settings_come_before_files(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, says = WORDS[words]
    assert main(words.split(" ")) == code
    out, err = capsys.readouterr()
    assert out == "" or "no.svm" not in words
    assert says in err
    assert not re.search(r"\bht\.|unknown=|max_bytes|zero_based|batch_size", err)
    assert code != 1 or err.count("\n") == 1


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize("make", [ht.SGD, ht.AdaGrad], ids=["sgd", "adagrad"])
def test_numbers_beyond_all_bounds_are_refused(digits: int, make: Any) -> None:
    value = 10**digits
    with pytest.raises(ht.InvalidSettingError, match="lr must be finite and > 0, got"):
        make(lr=value)
    with pytest.raises(ht.InvalidSettingError, match="l2 must be finite and >= 0, got"):
        ht.Linear(l2=value)


def test_the_instruction_set_has_a_near_one(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYBRIDTRAIN_ISA", "basline")
    assert main(["train", str(files / "two.svm"), "--workers", "1"]) == 1
    assert "got 'basline'; did you mean 'baseline'?" in capsys.readouterr().err

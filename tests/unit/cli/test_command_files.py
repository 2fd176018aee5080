# SPDX-License-Identifier: BSD-3-Clause
"""Files of the command line: standard input, index bases, unknown features, what is written."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

import hybridtrain as ht
from hybridtrain.cli.entry import main

ROWS = "".join(f"{i % 2} 1:{i % 7} 2:{(i % 2) * 2 - 1} 3:1\n" for i in range(200))
ZERO_ROWS = "".join(f"{i % 2} 0:{i % 7} 1:{(i % 2) * 2 - 1} 2:1\n" for i in range(200))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.svm").write_text(ROWS)
    Path("zero.svm").write_text(ZERO_ROWS)
    Path("wide.svm").write_text("1 1:1 2:1 9:1\n0 2:-1 8:1 12:2\n1 2:1\n")


def _run(words: str) -> int:
    return main(words.split())


def _train(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(f"train {words} --workers 1 --epochs 3") == 0
    capsys.readouterr()


def _stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = io.BytesIO(text.encode())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=file))


# ---- standard input


def test_a_hyphen_is_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stdin(monkeypatch, ROWS)
    assert _run("train - --workers 1 --save model --validation rows.svm") == 0
    assert "standard input: 200 rows, 3 features; two classes" in capsys.readouterr().out
    _stdin(monkeypatch, ROWS)
    assert _run("predict model.npz - --score") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 200
    assert "accuracy on standard input: " in err
    _stdin(monkeypatch, ROWS)
    assert _run("train rows.svm --workers 1 --validation -") == 0
    _stdin(monkeypatch, ROWS)
    assert _run("compare - --workers 1 --repeats 1 --strategies sync") == 0
    assert "standard input: two classes" in capsys.readouterr().out


def test_standard_input_is_read_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stdin(monkeypatch, ROWS)
    for words in ("train - --validation -", "compare - --validation -", "predict - -"):
        assert _run(words) == 1
        assert "- is standard input, which can be read once" in capsys.readouterr().err
    _stdin(monkeypatch, "1 1:x\n")
    assert _run("train -") == 1
    assert "standard input, line 1 has '1:x'" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", None)
    assert _run("train -") == 1
    assert "standard input is closed" in capsys.readouterr().err


# ---- how a file is read is kept in the model


def test_predict_reads_as_the_model_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    _train("zero.svm --zero-based --save zero --validation zero.svm", capsys)
    for flag in ("", " --zero-based"):
        assert _run(f"predict zero.npz zero.svm --score{flag}") == 0
        out, err = capsys.readouterr()
        assert err == "accuracy on zero.svm: 1.0000\n"
        assert out.split() == ["0", "1"] * 100


def test_a_contradiction_to_the_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    _train("rows.svm --save one", capsys)
    assert _run("predict one.npz rows.svm --zero-based") == 1
    assert (
        "--zero-based contradicts one.npz, which was trained on a file whose indices count from 1"
        in capsys.readouterr().err
    )


def test_a_model_of_arrays_takes_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ht.read_data("rows.svm")
    ht.train(ht.Linear(), (rows[0], rows[1]), workers=1).save("arrays")
    sparse.save_npz("rows.npz", rows[0])
    np.save("rows.y.npy", rows[1])
    _train("rows.npz --save npz", capsys)
    for model in ("arrays.npz", "npz.npz"):
        outputs = []
        for words in ("rows.svm", "zero.svm --zero-based", "rows.npz"):
            assert _run(f"predict {model} {words}") == 0
            outputs.append(capsys.readouterr().out)
        assert len(set(outputs)) == 1


# ---- features that training never saw


def test_unknown_features_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    _train("rows.svm --save model", capsys)
    assert _run("predict model.npz wide.svm") == 0
    out, err = capsys.readouterr()
    assert out.split() == ["1", "0", "1"]
    assert err == (
        "wide.svm: left out 3 elements of 2 rows, features that training never saw: its last "
        "index is 3, the largest here 12 (--unknown refuse ends instead)\n"
    )
    assert _run("predict model.npz wide.svm --unknown refuse") == 1
    assert "wide.svm, line 1 has an index beyond 3" in capsys.readouterr().err
    sparse.save_npz("wide.npz", sparse.csr_matrix(([1.0, 1.0], ([0, 1], [1, 7])), (2, 8)))
    assert _run("predict model.npz wide.npz") == 0
    assert "left out 1 element of 1 row, " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "compare --repeats 1 --strategies sync"])
def test_a_validation_file_may_hold_unknown_features(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"{command} rows.svm --workers 1 --validation wide.svm"
    assert _run(words) == 0
    assert "wide.svm: left out 3 elements of 2 rows" in capsys.readouterr().err
    assert _run(f"{words} --unknown refuse") == 1
    assert "wide.svm, line 1 has an index beyond 3" in capsys.readouterr().err


# ---- what is written


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train rows.npz --save rows.npz", "cannot write rows.npz for --save: it is read as"),
        ("train rows.npz --save ./rows", "cannot write ./rows.npz for --save: it is read as"),
        ("train rows.svm --validation rows.npz --save rows", "it is read as rows.npz"),
        ("train rows.svm --save link.npz", "it is read as rows.svm"),
        ("compare rows.svm --json rows.svm", "for --json: it is read as rows.svm"),
        ("compare rows.svm --json a.svg --plot a.svg", "for --json: it is written for --plot"),
        ("predict model.npz rows.svm --output rows.svm", "for --output: it is read as rows.svm"),
        ("predict model.npz rows.svm --output model.npz", "it is read as model.npz"),
        ("predict model.npz rows.npz --output rows.y.npy", "it is read with rows.npz"),
    ],
)
def test_what_is_read_or_written_already_is_not_written(
    words: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.symlink("rows.svm", "link.npz")
    before = Path("rows.svm").read_bytes()
    assert _run(words) == 1
    assert says in capsys.readouterr().err
    assert Path("rows.svm").read_bytes() == before


def test_devices_are_written_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    _train("rows.svm --save model", capsys)
    assert _run("predict model.npz rows.svm --output /dev/null") == 0
    words = "compare rows.svm --workers 1 --repeats 1 --strategies sync --json /dev/null"
    assert _run(words) == 0


def test_what_a_comparison_leaves_out_is_said_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "compare rows.svm --workers 1 --repeats 1 --strategies sync,hogwild --optimizer adam"
    assert _run(words) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "hogwild is left out: " in out
    assert "use adagrad or ftrl here, or the strategy sync" in out
    assert "ht." not in out


# ---- numbers far from 0


def test_numbers_far_from_0_are_learned_and_written_with_their_digits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).normal(size=300)
    rows = "".join(f"{10**9 + k % 7 + noise[k]:.3f} 1:{k % 7} 2:1\n" for k in range(300))
    _stdin(monkeypatch, rows)
    words = "--workers 1 --epochs 20 --loss squared"
    assert _run(f"train - {words} --save far") == 0
    assert "scaled: y is far from 0" in " ".join(capsys.readouterr().out.split())
    _stdin(monkeypatch, rows)
    assert _run("predict far.npz -") == 0
    found = [float(line) for line in capsys.readouterr().out.splitlines()]
    expected = [10**9 + k % 7 for k in range(300)]
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 0.5
    _stdin(monkeypatch, rows)
    assert _run(f"train - {words} --scale none") == 0
    out, err = capsys.readouterr()
    assert "scaled" not in out
    assert "rounding y to float32 loses" in err

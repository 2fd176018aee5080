# SPDX-License-Identifier: BSD-3-Clause
"""The command line, as its users meet it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.problems import Problem
from scipy import sparse

import hybridtrain as ht
from hybridtrain.cli.entry import main
from hybridtrain.cli.words import split_words
from hybridtrain.strategies.parse import default_strategies

QUICK = ["--repeats", "1", "--workers", "1"]


def _write(path: Path, X: Any, y: Any) -> Path:
    """Write svmlight text."""
    with path.open("w") as file:
        for i, label in enumerate(y):
            row = X[i]
            pairs = zip((row.indices + 1).tolist(), row.data.tolist(), strict=True)
            file.write(f"{label} " + " ".join(f"{j}:{v!r}" for j, v in pairs) + "\n")
    return path


@pytest.fixture
def two(problem: Problem, tmp_path: Path) -> Path:
    """Rows of two classes."""
    return _write(tmp_path / "two.svm", problem.X, np.where(problem.labels, 1, -1))


@pytest.fixture
def model(two: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A model trained on them."""
    path = two.with_name("model.npz")
    assert main(["train", str(two), "--save", str(path), "--workers", "1"]) == 0
    capsys.readouterr()
    return path


def _said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


# ---- compare


def test_compare_without_words_compares_all_strategies_on_the_flights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = _said(capsys, "compare", "--workers", 2, "--repeats", 1, "--epochs", 2)
    assert code == 0, err
    assert out.startswith("Flights out of New York, 2013: which arrive more than 15 minutes late?")
    lines = out.splitlines()
    heads = next(line for line in lines if line.startswith(" ") and "sync" in line)
    assert heads.split() == ["hybrid", *default_strategies()]
    workers = [line.split()[1:] for line in lines if line.startswith("workers")]
    assert workers == [["1", *("2" for _ in default_strategies())]]
    areas = next(line.split()[4:] for line in lines if line.startswith("AUC"))
    assert len(areas) == 1 + len(default_strategies())
    assert all(0.55 < float(area) < 1 for area in areas)
    assert sum(line.startswith("Best: ") for line in lines) == 1
    assert max(map(len, lines)) <= 100
    assert "logistic loss with l2 0.0001, 2 epochs of sgd" in out


def test_compare_writes_a_chart_and_figures(
    two: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chart, figures = tmp_path / "chart.svg", tmp_path / "figures.json"
    words = [
        "--strategies",
        "hybrid(every=64), sync(exact=False)",
        "--no-baseline",
        "--l2",
        "0.01",
        "--seed",
        "3",
    ]
    code, out, _ = _said(capsys, "compare", two, *QUICK, *words, "--plot", chart, "--json", figures)
    assert code == 0
    assert f"Chart: {chart}" in out
    assert f"All figures: {figures}" in out
    assert "sync(exact=False), 1 worker" in chart.read_text()
    runs = json.loads(figures.read_text())["runs"]
    assert [run["strategy"] for run in runs] == ["hybrid(every=64)", "sync(exact=False)"]
    assert {(run["model"]["l2"], run["seed"]) for run in runs} == {(0.01, 3)}


def test_compare_takes_validation_rows_from_a_share_or_a_file(
    two: Path, problem: Problem, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.where(problem.labels[:50], 1, -1)
    few = _write(two.with_name("few.svm"), problem.X[:50, :20], labels)
    for given, n_valid in (("0.2", 80), (str(few), 50)):
        code, out, err = _said(capsys, "compare", two, *QUICK, "--validation", given)
        assert code == 0, err
        assert f"{n_valid} to validate" in out


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([1, 2], "two classes: 1, 2 (logistic loss; --loss changes it)"),
        ([1, 2, 3], "3 classes: 1, 2, 3 (softmax loss; --loss changes it)"),
        ([0.5, 1.5, 2], "labels are numbers: 0.5 .. 2 (squared loss; --loss changes it)"),
    ],
)
def test_the_loss_follows_the_labels_and_is_said(
    labels: list[float],
    shown: str,
    problem: Problem,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = _write(tmp_path / "rows.svm", problem.X, np.resize(labels, problem.X.shape[0]))
    code, out, err = _said(capsys, "compare", path, *QUICK, "--strategies", "sync")
    assert code == 0, err
    assert out.splitlines()[0] == f"{path}: {shown}"
    code, out, _ = _said(capsys, "train", path, "--loss", "squared", "--epochs", 1)
    assert "squared loss, as asked for" in out


def test_strategies_are_split_at_commas_outside_of_parentheses() -> None:
    assert split_words("sync,hybrid(hot=0.5, every=64) , hogwild,") == [
        "sync",
        "hybrid(hot=0.5, every=64)",
        "hogwild",
    ]


def test_a_comparison_in_which_all_diverge_fails_after_its_table(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path / "rows.svm", problem.X, problem.values)
    words = ["--strategies", "hybrid", "--optimizer", "adagrad", "--lr", "1e30"]
    code, out, err = _said(capsys, "compare", path, *QUICK, *words)
    assert code == 1
    assert "Best: No run is best: all diverged" in out
    assert err == "hybridtrain: all runs diverged; try a smaller --lr, or scale the features\n"


# ---- train and predict


def test_train_says_what_it_did_and_chose(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--workers", "1", "--epochs", "3", "--validation", "0.25", "--strategy", "sync"]
    code, out, err = _said(capsys, "train", two, *words)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "400 rows, 59 features; two classes: -1, 1 (logistic loss" in lines[0]
    assert lines[2].split() == ["epoch", "seconds", "loss", "validation", "loss"]
    assert [line.split()[0] for line in lines[3:6]] == ["1", "2", "3"]
    assert lines[7].startswith("900 rows in ")
    assert re.match(r"logistic loss; chosen: 1 worker, learning rate \S+,", lines[8])


def test_a_saved_model_is_the_one_that_train_gives(two: Path, model: Path) -> None:
    X, y = ht.read_data(two)
    alone = ht.train(ht.Linear(), (X, y), workers=1)
    assert np.array_equal(ht.load(model).params["coef"], alone.params["coef"])


def test_a_recorded_run_is_replayed_from_python(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, target = two.with_name("run.htr"), two.with_name("model.npz")
    words = ["--strategy", "async(every=8)", "--workers", 2, "--save", target, "--record", file]
    assert _said(capsys, "train", two, *words)[0] == 0
    again = ht.replay(file, str(two))
    assert np.array_equal(ht.load(target).params["coef"], again.params["coef"])
    code, _, err = _said(capsys, "train", two, "--record", file, "--strategy", "hogwild")
    assert code == 1
    assert "in place" in err


def test_a_name_without_suffix_gets_one(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = two.with_name("model")
    code, out, _ = _said(capsys, "train", two, "--save", target, "--epochs", 1)
    assert code == 0
    assert f"Saved: {target}.npz" in out
    assert ht.load(f"{target}.npz").model == ht.Linear()


def test_the_learning_rate_and_the_optimizer_are_passed_on(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = two.with_name("model.npz")
    words = ["--optimizer", "sgd(momentum=0.5)", "--lr", "0.25", "--save", target]
    assert _said(capsys, "train", two, "--strategy", "sync", *words)[0] == 0
    settings = ht.load(target).settings
    assert settings["lr"] == 0.25
    assert "momentum=0.5" in settings["optimizer"]


def test_patience_ends_a_run_early(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--validation", "0.25", "--patience", "1", "--epochs", "500", "--lr", "20"]
    code, out, _ = _said(capsys, "train", two, "--workers", "1", *words)
    assert code == 0
    assert len(re.findall(r"^ +\d+ ", out, re.MULTILINE)) < 500


def test_seconds_end_a_run(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _said(capsys, "train", two, "--workers", "1", "--seconds", "1")
    assert code == 0
    shown = [int(number) for number in re.findall(r"^ +(\d+) ", out, re.MULTILINE)]
    assert shown[0] == 1
    assert shown[-1] > 25  # more epochs than by default, of which 25 are shown
    assert len(shown) == 25


def test_predict_writes_a_label_a_line(
    two: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _said(capsys, "predict", model, two)
    result = ht.load(model)
    X, y = ht.read_data(two)
    assert (code, err) == (0, "")
    assert out.split("\n")[:-1] == [f"{label:.0f}" for label in result.predict(X)]
    code, _, err = _said(capsys, "predict", model, two, "--score")
    assert (code, err) == (0, f"accuracy on {two}: {result.score(X, y):.4f}\n")


def test_predict_writes_the_probability_of_the_second_class(
    two: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = two.with_name("p.txt")
    code, out, _ = _said(capsys, "predict", model, two, "--proba", "--output", target)
    assert (code, out) == (0, f"400 predictions written to {target}\n")
    expected = ht.load(model).predict_proba(ht.read_data(two)[0])[:, 1]
    assert np.loadtxt(target) == pytest.approx(expected, rel=1e-5)


def test_predict_writes_several_probabilities_and_numbers(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three = _write(tmp_path / "three.svm", problem.X, np.arange(400) % 3)
    numbers = _write(tmp_path / "numbers.svm", problem.X, problem.values)
    for path in (three, numbers):
        assert main(["train", str(path), "--save", f"{path}.npz", "--workers", "1"]) == 0
    capsys.readouterr()
    _, out, _ = _said(capsys, "predict", f"{three}.npz", three, "--proba")
    shares = np.array([line.split("\t") for line in out.splitlines()], np.float64)
    assert shares.shape == (400, 3)
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-4)
    _, out, _ = _said(capsys, "predict", f"{numbers}.npz", numbers)
    expected = ht.load(f"{numbers}.npz").predict(ht.read_data(numbers)[0])
    assert np.array(out.split(), np.float64) == pytest.approx(expected, rel=1e-5)


def test_files_that_count_from_0_are_read_when_said(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two.with_name("zero.svm")
    path.write_text("1 0:1 2:1\n-1 1:1\n")
    model = two.with_name("zero.npz")
    assert _said(capsys, "train", path, "--workers", 1)[0] == 1
    words = ["--zero-based", "--workers", "1", "--save", model]
    assert _said(capsys, "train", path, *words)[0] == 0
    code, out, _ = _said(capsys, "predict", model, path, "--zero-based")
    assert (code, out) == (0, "1\n-1\n")


# ---- what goes wrong


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train nofile.svm", "nofile.svm: No such file or directory"),
        ("train broken.svm", "broken.svm, line 2 has '3:x'"),
        ("train one.svm", "all 2 labels are 1: there is nothing to learn"),
        ("train two.svm --save no/such/model.npz", "cannot write no/such/model.npz: there is no"),
        ("train two.svm --save .", "cannot write .: it is a folder, or"),
        ("train two.svm --strategy hybird", "strategy must be one of async, hogwild, hybrid, "),
        ("train two.svm --optimizer sdg", "optimizer must be one of sgd, adagrad"),
        ("train two.svm --lr -1", "lr must be finite and > 0, got -1.0"),
        ("train two.svm --lr 1e38", "the loss became infinite or NaN in epoch"),
        ("train two.svm --workers 0", "workers must be >= 1, got 0"),
        ("train two.svm --patience 1", "--patience needs rows to measure on"),
        ("compare --validation 0.2", "--validation needs a FILE"),
        ("compare two.svm --plot chart.jpg", "must end with .png, .svg, .pdf"),
        ("compare two.svm --json no/such/figures.json", "cannot write no/such/figures.json"),
        ("compare two.svm --strategies ,", "--strategies must name some: sync,hybrid"),
        ("predict two.svm two.svm", "two.svm is no saved model; make one with: hybridtrain train"),
        ("predict model.npz wide.svm --unknown refuse", "wide.svm, line 1 has an index beyond 59"),
        ("predict model.npz wide.npz --score", "wide.npz has no labels: --score cannot be"),
        ("predict model.npz one.svm --score --output no/p", "cannot write no/p"),
        ("predict model.npz third.svm --score", "y holds the class 7.0; the model was trained on"),
    ],
)
@pytest.mark.usefixtures("model")
def test_bad_data_and_settings_are_one_line_and_code_1(
    words: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.svm").write_text("1 1:2\n-1 3:x\n")
    Path("one.svm").write_text("1 1:2\n1 3:1\n")
    Path("wide.svm").write_text("1 1:2 99:1\n")
    Path("third.svm").write_text("7 1:2\n-1 3:1\n")
    sparse.save_npz("wide.npz", sparse.csr_matrix((2, 59), dtype=np.float32))
    code, _, err = _said(capsys, *words.split())
    assert code == 1
    assert err.startswith("hybridtrain: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_model_of_a_run_that_diverged_is_not_saved(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = two.with_name("diverged.npz")
    # Two workers may end where each row is fitted: a step goes to a row's own minimum at most.
    words = ["--loss", "squared", "--lr", "1e30", "--workers", "1", "--save", target]
    code, _, err = _said(capsys, "train", two, *words)
    assert code == 1
    assert "try a smaller --lr" in err
    assert not target.exists()


@pytest.mark.parametrize(
    "words",
    [
        "",
        "train",
        "tarin two.svm",
        "train two.svm --loss cubic",
        "train two.svm --lr fast",
        "train two.svm --validation 3",
        "compare two.svm --workers two",
    ],
)
def test_a_wrong_command_line_is_code_2_and_shows_the_usage(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _said(capsys, *words.split())
    assert (code, out) == (2, "")
    assert err.startswith("usage: hybridtrain")


@pytest.mark.parametrize("command", ["", "compare", "train", "predict"])
def test_help_teaches_with_examples_that_can_be_parsed(
    command: str, two: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = _said(capsys, *command.split(), "--help")
    assert code == 0
    lines = out.splitlines()
    examples = [line.split("   ")[0] for line in lines if line.startswith("  hybridtrain ")]
    assert len(examples) >= 3
    monkeypatch.chdir(two.parent)
    no_file = FileNotFoundError(2, "No such file or directory", "flights")
    monkeypatch.setattr("hybridtrain.cli.compare.flights", lambda: (_ for _ in ()).throw(no_file))
    for example in examples:
        words = [word.strip("'") for word in example.split()[1:]]
        code, _, err = _said(capsys, *words)  # the files do not exist, the words do
        assert code == 1
        assert "No such file" in err, err


def test_the_chart_is_refused_before_the_work_where_matplotlib_is_missing(
    two: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = _said(capsys, "compare", two, "--plot", "chart.png")
    assert (code, out) == (1, "")
    assert "pip install 'hybridtrain[plot]'" in err

# SPDX-License-Identifier: BSD-3-Clause
"""Switch as a value: its parts, its words, its promises, and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
from reference.problems import Problem
from sklearn.base import clone

import hybridtrain as ht
from hybridtrain.cli import main
from hybridtrain.settings import checked_settings
from hybridtrain.sklearn import LinearClassifier
from hybridtrain.strategies.base import Part
from hybridtrain.strategies.parse import parse_strategy, strategy_name

PLATEAU = ht.Switch(("sync", "plateau"), (ht.Hybrid(every=64), None))


def test_its_parts_are_in_order_and_their_words_are_parsed() -> None:
    parsed = parse_strategy(ht.Switch(["sync", 2], ("hybrid(every=8)", None)))
    assert parsed.parts == (Part(ht.Sync(), 2), Part(ht.Hybrid(every=8), None))
    assert parse_strategy(parsed) is parsed
    assert ht.Sync().parts == (Part(ht.Sync(), None),)


def test_it_cannot_be_changed_and_is_copied_and_pickled() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLATEAU.given = ()  # type: ignore[misc]
    assert not hasattr(PLATEAU, "__dict__")
    for twin in (copy.deepcopy(PLATEAU), pickle.loads(pickle.dumps(PLATEAU))):
        assert twin == PLATEAU
        assert hash(twin) == hash(PLATEAU)
    assert eval(repr(PLATEAU), {name: getattr(ht, name) for name in ht.__all__}) == PLATEAU


@pytest.mark.parametrize(
    "strategy",
    [
        PLATEAU,
        ht.Switch(("sync", 1)),
        ht.Switch(("sync(exact=False)", 1), ("hogwild", 3)),
        ht.Switch((ht.Sync(), 1), (ht.Hybrid(hot=0.5), None)),
    ],
)
def test_its_name_is_read_back(strategy: ht.Switch) -> None:
    name = strategy_name(strategy)
    assert parse_strategy(name) == parse_strategy(strategy)
    assert strategy_name(parse_strategy(name)) == name


def test_its_promises_are_those_that_all_parts_make() -> None:
    sync, free = ht.Switch((ht.Sync(), 1), (ht.Sync(exact=False), None)), parse_strategy(PLATEAU)
    assert sync.same_bits(2)
    assert not sync.same_bits_for_any_workers
    assert ht.Switch((ht.Sync(), 1)).same_bits_for_any_workers
    assert free.same_bits(1)
    assert not free.same_bits(2)
    checked_settings(strategy=free, batch_size=64)
    with pytest.raises(ht.InvalidSettingError, match=r"batch_size must be 1 .* with Switch"):
        checked_settings(strategy=ht.Switch(("hogwild", 1), ("hybrid", None)), batch_size=64)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), r"must be \(strategy, epochs\), such as .*, got no part"),
        (("sync",), r"must be \(strategy, epochs\), such as .*, got 'sync'"),
        ((("sync", 1, 2),), r"must be \(strategy, epochs\).*got \('sync', 1, 2\)"),
        ((("sync", 0), ("sync", None)), "epochs of a part of Switch must be .* 1.*got 0"),
        ((("sync", 1.5), ("sync", None)), r"epochs of a part of Switch must be .*got 1\.5"),
        ((("sync", True), ("sync", None)), "epochs of a part of Switch must be .*got True"),
        ((("sync", None), ("sync", 2)), 'an int or "plateau" in a part .*got None'),
        ((("sync", "soon"), ("sync", None)), "an int or \"plateau\" in a part .*got 'soon'"),
        ((("sync", 1), ("sync", "plateau")), r"None \(the rest of the run\) .*got 'plateau'"),
        ((("sync", "plateau"), ("sync", 2)), "must have None epochs .* after a part .*got 2"),
    ],
)
def test_a_part_of_another_form_is_refused(given: Any, expected: str) -> None:
    with pytest.raises(ht.InvalidSettingError, match=expected):
        ht.Switch(*given)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (ht.Switch(("snyc", 1), ("sync", None)), "got 'snyc'; did you mean 'sync'"),
        (ht.Switch((1, 1)), "part 1 of Switch: strategy must be .*got 1"),  # type: ignore[arg-type]
        (ht.Switch((PLATEAU, 1), ("sync", None)), "must be a strategy that trains by itself"),
        ('switch(("sync", 1))(2)', "strategy must be one of"),
        ("switch(given=1)", "arguments of switch have no names"),
        ("switch", "got no part"),
        ("switch(sync)", "switch is malformed: expected .*got sync"),
    ],
)
def test_what_is_no_strategy_is_refused_when_it_is_parsed(strategy: Any, expected: str) -> None:
    with pytest.raises(ht.InvalidSettingError, match=expected):
        parse_strategy(strategy)


@pytest.mark.parametrize(
    ("strategy", "epochs", "expected"),
    [
        (ht.Switch(("sync", 2), ("hybrid", None)), 2, "epochs must be at least 3 for the parts"),
        (PLATEAU, 2, "epochs must be at least 3"),
        (ht.Switch(("sync", 2)), 5, "must have the 5 epochs of the run, got 2; use None for the"),
        (ht.Switch(("sync", 2), ("hybrid", 4)), 5, "epochs must be at least 6"),
    ],
)
def test_parts_that_do_not_fit_the_epochs_are_refused(
    strategy: ht.Switch, epochs: int, expected: str
) -> None:
    with pytest.raises(ht.InvalidSettingError, match=expected):
        checked_settings(strategy=strategy, epochs=epochs)
    checked_settings(strategy=ht.Switch(("sync", 2), ("hybrid", 3)))


def test_an_estimator_trains_with_it_and_is_cloned(problem: Problem) -> None:
    twin = clone(LinearClassifier(strategy=PLATEAU, epochs=4))
    assert twin.get_params()["strategy"] == PLATEAU
    twin.fit(problem.X, problem.labels)
    assert twin.result_.settings["strategy"] == repr(parse_strategy(PLATEAU))
    with pytest.raises(ht.InvalidSettingError, match="epochs must be at least 3"):
        twin.partial_fit(problem.X, problem.labels)


def test_the_command_line_says_what_each_part_was(
    problem: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, dense = tmp_path / "rows.svm", problem.X.toarray()
    lines = [
        f"{int(label)} " + " ".join(f"{j}:{value}" for j, value in enumerate(row, 1))
        for label, row in zip(problem.labels, dense, strict=True)
    ]
    path.write_text("\n".join(lines))
    words = ["train", str(path), "--strategy", 'switch(("sync", 2), ("hybrid", None))']
    assert main([*words, "--workers", "1", "--epochs", "4"]) == 0
    out = capsys.readouterr().out
    assert "epochs 1 to 2 Sync (batches of " in out
    assert "epochs 3 to 4 Hybrid (60 hot features)" in out

# SPDX-License-Identifier: BSD-3-Clause
"""A stream among nodes: what its job sees when merges, states and ends come between its turns."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reference.problems import planted

import hybridtrain as ht
from hybridtrain._core.leased import AWAY, DONE, TAKEN, encode
from hybridtrain._core.rows import isas
from hybridtrain.data.matrix import canonical_rows
from hybridtrain.nodes import events
from hybridtrain.nodes.chunks import Chunks
from hybridtrain.nodes.leases import count
from hybridtrain.nodes.messages import Tally
from hybridtrain.nodes.notes import Note, Span
from hybridtrain.nodes.reports import Work
from hybridtrain.nodes.stream_between import StreamBetween
from hybridtrain.nodes.values import _HEAD
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.plan.base import Settings
from hybridtrain.plan.problem import Problem
from hybridtrain.run.snapshot import Snapshot, take

ME, OTHER, BALLOT = 1, 2, 1
N_ROWS, SECONDS = 20_000, 20.0


def _plan() -> Any:
    rows = planted(0, N_ROWS, 40, longest=8)
    targets = np.where(rows.labels, 1, -1).astype(np.float32)
    matrix = canonical_rows(rows.X, threads=1)
    problem = Problem(ht.Linear(), matrix, targets, None, np.array([0, 1]))
    optimizer = parse_optimizer("sgd(lr=0.1)")
    settings = Settings(
        optimizer=optimizer, workers=1, epochs=3, seed=0, isa=isas()[-1], is_node=True
    )
    return ht.Hybrid().plan(problem, settings)


class _Node:
    """One node's run, and its partner as a `Home`: the test is the other nodes, and the loop."""

    def __init__(self, plan: Any, *, is_member: bool = True) -> None:
        self.plan = plan
        self.run = plan.open()
        self.link = SimpleNamespace(incarnation=ME)
        self.work, self.changed, self.ballot = Work(), threading.Condition(), BALLOT
        self.is_over, self.stops = False, 0
        self.posted: list[Callable[[], None]] = []
        self.noted: list[Any] = []
        self.post, self.note = self.posted.append, self.noted.append
        self.between = StreamBetween(self, self.run, plan)  # type: ignore[arg-type]
        self.worker = threading.Thread(target=self.run.work, args=(0,), daemon=True)
        self.worker.start()
        if is_member:
            self.run.load(np.zeros(self.run.n_parameters, np.float32))
            self.between.begin(None)

    def close(self) -> None:
        self.run.leave()
        self.worker.join()
        self.run.close()

    def snapshot(self) -> Snapshot:
        saved = take(self.run, self.plan, {}, {}, None)
        assert saved is not None
        return saved

    def begin(self, epoch: int = 1) -> None:
        """Open an epoch, until the job waits for a merge, or the workers train."""
        self.run.set_rates(epoch, self.plan.rates.of_epoch(epoch))
        self.run.begin(epoch)
        assert not self.run.await_rest(0.05)

    def collect(self) -> events.Collected:
        """Return what the node brings to the next merge."""
        deadline = time.monotonic() + SECONDS
        while not any(isinstance(each, events.Worked) for each in self.noted):
            assert time.monotonic() < deadline
            self.run.await_rest(0.01)
            for function in self.posted[:]:
                function()
                self.posted.remove(function)
        self.noted.clear()
        self.between.sums.start(0, 1)
        self.between.collect(events.Collect(BALLOT, 0, 1))
        (collected,) = self.noted
        self.noted.clear()
        return collected

    def merge(self, *others: Note) -> None:
        """Merge with other nodes, which have changed nothing."""
        self.merge_collected(self.collect(), *others)

    def merge_collected(self, collected: events.Collected, *others: Note) -> None:
        self.apply(self.total(collected), *collected.tally.notes, *others)

    def total(self, collected: events.Collected) -> Any:
        for part in collected.bodies[0]:
            self.between.sums.add(0, 0, part.body)
        return self.between.sums.total()

    def apply(self, parts: Any, *notes: Note) -> None:
        tally = Tally(rows=sum(note.rows for note in notes), notes=notes)
        self.between.apply(events.Apply(BALLOT, 0, [parts], tally))

    def finish(self) -> None:
        """Merge until the epoch is over."""
        deadline = time.monotonic() + SECONDS
        while not self.run.await_rest(0.0):
            assert time.monotonic() < deadline
            self.merge()

    def values(self) -> np.ndarray[Any, Any]:
        parameters = np.empty(self.run.n_parameters, np.float32)
        self.run.store(parameters)
        return parameters

    def shared(self) -> np.ndarray[Any, Any]:
        return self.between._arrays().ravel()


@pytest.fixture
def node() -> Iterator[_Node]:
    """Return a node that is a member; its epoch is not open."""
    node = _Node(_plan())
    yield node
    node.close()


def _held(node: _Node, who: int) -> tuple[Span, ...]:
    return tuple(node.between._leases.held.get(who, ()))


def _until_only_the_other_has_chunks(node: _Node) -> None:
    for _ in range(1000):
        leases = node.between._leases
        if leases.done.sum() + count(_held(node, OTHER)) == len(leases.done):
            return
        node.merge(Note(who=OTHER))
    pytest.fail("chunks are left")


def test_an_epoch_ends_with_the_values_of_the_merge_that_ends_it(
    node: _Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.begin()
    _until_only_the_other_has_chunks(node)
    collected = node.collect()
    parts = node.total(collected)
    is_taking, take_values = threading.Event(), node.between._values.take

    def take_slowly(totals: Any) -> int:
        is_taking.set()
        time.sleep(0.3)  # some looks of the job
        return take_values(totals)

    monkeypatch.setattr(node.between._values, "take", take_slowly)
    last = Note(who=OTHER, done=_held(node, OTHER), rows=1)
    loop = threading.Thread(target=node.apply, args=(parts, *collected.tally.notes, last))
    loop.start()
    assert is_taking.wait(SECONDS)
    assert node.run.await_rest(SECONDS)
    assert node.run.epoch_report()["trained"] == N_ROWS
    np.testing.assert_array_equal(node.values(), node.shared())
    loop.join()


def test_a_run_saved_in_an_epoch_has_the_chunks_of_all_nodes_and_the_shared_values(
    node: _Node,
) -> None:
    node.begin()
    node.merge(Note(who=OTHER, need=1000))
    theirs = _held(node, OTHER)
    node.merge(Note(who=OTHER, done=theirs, rows=100, loss=50.0))
    node.run.stop_epoch()
    assert node.run.await_rest(SECONDS)
    saved = node.snapshot()
    assert all(saved.done[first:last].all() for first, last in theirs)
    np.testing.assert_array_equal(saved.done, node.between._leases.done)
    np.testing.assert_array_equal(saved.arrays.ravel(), node.shared())
    assert saved.numbers["loss"] == node.between._leases.loss
    assert saved.numbers["repeated"] == 0


def test_what_was_trained_beside_a_merge_outlives_a_pause(node: _Node) -> None:
    node.begin()
    node.finish()
    paused = _Node(node.plan)
    try:
        paused.begin()
        n_pauses = 0
        while not paused.run.await_rest(0.0):
            collected = paused.collect()
            paused.run.await_rest(0.02)  # the worker trains more
            paused.run.stop_epoch()
            paused.merge_collected(collected)
            assert paused.run.await_rest(SECONDS)
            if not paused.between._is_over:
                n_pauses += 1
                paused.run.resume()
        assert n_pauses > 2
        np.testing.assert_allclose(paused.values(), node.values(), rtol=1e-3, atol=1e-4)
    finally:
        paused.close()


def test_an_epoch_after_a_pause_that_came_too_late_is_trained(node: _Node) -> None:
    node.begin()
    node.finish()
    node.run.stop_epoch()
    node.begin(2)
    node.finish()
    assert node.run.epoch_report()["trained"] == N_ROWS


def test_values_that_come_before_the_run_begins_are_merged_into_the_state_that_it_will_have(
    node: _Node,
) -> None:
    node.begin()
    node.finish()
    saved = node.between.state()
    assert saved is not None
    late = _Node(node.plan, is_member=False)
    try:
        late.between.expect(saved)
        late.between.sums.start(0, 1)
        shared = node.between._values.shared
        n = node.run.n_coordinates
        late.between.sums.add(0, 0, _HEAD.pack(7, 0.1) + encode(shared, shared, 0, n))
        late.between._values.take([late.between.sums.total()])
        np.testing.assert_array_equal(late.shared(), node.shared())
    finally:
        late.close()


def test_the_arrays_of_a_state_do_not_stay_beside_the_shared_values(node: _Node) -> None:
    node.begin()
    node.finish()
    saved = node.between.state()
    assert saved is not None
    arrays = weakref.ref(saved.arrays)
    late = _Node(node.plan, is_member=False)
    try:
        late.between.expect(saved)
        np.testing.assert_array_equal(late.shared(), node.shared())
        del saved
        assert arrays() is None
    finally:
        late.close()


def test_leases_of_another_node_are_kept_by_an_epoch_that_is_just_opened(node: _Node) -> None:
    node.begin()
    node.merge(Note(who=OTHER, need=1000))
    node.merge(Note(who=OTHER, done=_held(node, OTHER), rows=1))
    state = node.between.state()
    assert state is not None
    late = _Node(node.plan)
    try:
        late.run.set_rates(1, late.plan.rates.of_epoch(1))
        late.run.begin(1)
        assert late.between.replace(state)
        assert not late.run.await_rest(0.05)
        np.testing.assert_array_equal(late.between._leases.done, state.done)
        late.finish()
    finally:
        late.close()


def test_a_chunk_that_a_dead_worker_has_left_is_work() -> None:
    states = {0: DONE, 1: TAKEN, 2: AWAY}

    def tell(first: int, found: Any) -> None:
        found[:] = [states[first + k] for k in range(len(found))]

    run: Any = SimpleNamespace(local_report=dict, chunks=tell)
    chunks = Chunks(run)
    assert chunks.has_work([(0, 3)])
    assert chunks.left([(0, 3)]) == []
    assert not chunks.has_work([(0, 1), (2, 3)])

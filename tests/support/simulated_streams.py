# SPDX-License-Identifier: BSD-3-Clause
"""The simulator with nodes that train streams: real `Leases`, and values that are sets of chunks.

A node trains chunks of its lease, tells which of them are in the values that it sends, and trains
on meanwhile. Whatever happens, no chunk may enter the values of all twice, and none may be missing
at the end of an epoch.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from support.simulated_nodes import World
from support.simulated_shells import (
    N_CHUNKS,
    NodeShell,
    SetsOfRows,
    batch_of,
    label_of,
    require,
    text_of,
)

from hybridtrain.nodes import events
from hybridtrain.nodes.leases import Leases, spans_of
from hybridtrain.nodes.messages import Label, Message, Part, Tally
from hybridtrain.nodes.notes import Note, Span
from hybridtrain.transport.frame import Buffer

N_STREAM_CHUNKS, N_EPOCHS = 12, 2


def _spans(chunks: set[int]) -> tuple[Span, ...]:
    marks = np.zeros(N_STREAM_CHUNKS, bool)
    marks[list(chunks)] = True
    return tuple(spans_of(marks))


def _chunks(spans: Any) -> set[int]:
    return {chunk for first, last in spans for chunk in range(first, last)}


class SetsOfChunks(SetsOfRows):
    """Values as sets of chunks, on top of those that all share."""

    def add(self, chunk: int, encoding: int, body: Buffer) -> None:
        part = json.loads(bytes(body))
        self._from.add(part["from"])
        self._rows[chunk] += part["chunks"]
        require(part["shard"] == self._shard, "values of another shard")
        require(len(self._from) == 1, "values on top of different ones")

    def total(self) -> list[Part]:
        merged = self._rows[0]
        require(all(sorted(each) == sorted(merged) for each in self._rows), "parts of values")
        require(len(set(merged)) == len(merged), "a chunk comes from two nodes")
        body = {"from": next(iter(self._from)), "shard": self._shard, "chunks": merged}
        return [Part(7, json.dumps(body).encode())] * N_CHUNKS


class StreamShell(NodeShell):
    """The shell of a node whose workers train leased chunks."""

    sums = SetsOfChunks

    def __init__(self, incarnation: int, send: Callable[..., None]) -> None:
        super().__init__(incarnation, 0, send)
        self.epoch = 1
        self.leases = Leases(N_STREAM_CHUNKS)
        self.leases.begin()
        self.values: set[int] = set()  # chunks of the open epoch that all nodes have
        self._note: Note | None = None  # of the values that travel
        self._since: set[int] = set()  # trained since they were taken
        self._chance = random.Random(incarnation)

    @property
    def _held(self) -> set[int]:
        return _chunks(self.leases.held.get(self.incarnation, ()))

    def work(self) -> None:
        self.is_open = False
        if self.leases.is_over:
            require(self.values == set(range(N_STREAM_CHUNKS)), "a chunk is lost")
            if self.epoch == N_EPOCHS:
                self.events.append(events.Finished(self._redo.ballot, self._digest()))
                return
            self.epoch += 1
            self.values = set()
            self.leases.begin()
        self._train()
        if self._note is None:
            self._take()
        self.events.append(events.Worked(self._redo.ballot, self.leases.merges))

    def _train(self) -> None:
        for chunk in self._held - self._since - self._told:
            if self._chance.random() < 0.6:
                self._since.add(chunk)

    @property
    def _told(self) -> set[int]:
        """Chunks that are in the values that travel, or that were given back."""
        note = self._note
        return set() if note is None else _chunks(note.done) | _chunks(note.back)

    def _take(self) -> None:
        left = self._held - self._since
        back = set(sorted(left)[1:]) if self._chance.random() < 0.3 else set()
        need = self._chance.randint(0, 3)
        self._note = Note(self.incarnation, _spans(self._since), _spans(back), need)
        self._since = set()

    def _collected(self, job: events.Collect) -> events.Collected:
        note = self._note
        require(note is not None, "values that nobody has taken")
        assert note is not None
        chunks = sorted(_chunks(note.done))
        bodies = [
            [
                Part(7, json.dumps({"from": self._base(), "shard": k, "chunks": chunks}).encode())
                for _ in range(N_CHUNKS)
            ]
            for k in range(job.n_shards)
        ]
        return events.Collected(job.ballot, job.batch, bodies, Tally(notes=(note,)))

    def _base(self) -> str:
        return f"{text_of(self.content)} {sorted(self.values)} {self.epoch}"

    def _apply(self, act: events.Apply) -> None:
        came = [json.loads(bytes(part.body)) for parts in act.totals for part in parts]
        done = {chunk for note in act.tally.notes for chunk in _chunks(note.done)}
        for total in came:
            require(set(total["chunks"]) == done, "a total lacks what a note has")
            require(total["from"] == self._base(), "a total on top of other values")
        require(not self.values & done, "a chunk is trained twice")
        self.values |= done
        self.leases.settle(act.tally.notes)
        require(set(np.flatnonzero(self.leases.done)) == self.values, "leases of other values")
        self._note = None
        require(self._since <= self._held, "a chunk is trained without a lease")
        self.content = (*self.content, (act.ballot, act.batch, False))
        self.is_open = True

    # ---- states: the last line has all that is not in the others ---------------------------------

    def text(self) -> str:
        lines: list[list[Any]] = [list(line) for line in self.content]
        if lines:
            lines[-1].append([self.epoch, sorted(self.values), self.leases.to_json()])
        return json.dumps(lines)

    def loaded(self) -> None:
        super().loaded()
        self.epoch, values, told = 1, [], None
        lines = json.loads(b"".join(self._aside))
        if lines:
            self.epoch, values, told = lines[-1][3]
        self.values = set(values)
        done = np.zeros(N_STREAM_CHUNKS, np.uint8)
        done[values] = 1
        self.leases = Leases(N_STREAM_CHUNKS)
        self.leases.recall(told, done)
        self._note, self._since = None, set()  # in nobody's values


class StreamWorld(World):
    """One schedule of a run of streams."""

    def __post_init__(self) -> None:
        self._leases: dict[tuple[Label, int], dict[str, Any]] = {}
        super().__post_init__()

    def _shell_of(self, incarnation: int, send: Callable[[int, int, Message | None], None]) -> Any:
        return StreamShell(incarnation, send)

    def _check_node(self, shell: Any) -> None:
        super()._check_node(shell)
        facts = json.loads(json.dumps(shell.leases.to_json()))
        facts |= {"values": sorted(shell.values), "has_more": shell.leases.has_more}
        known = self._leases.setdefault((label_of(shell.content), shell.epoch), facts)
        require(known == facts, "equal labels of different leases")

    def _check_end(self) -> None:
        n_merges = batch_of(self.driver.content)
        self.setting = replace(self.setting, n_batches=n_merges)
        super()._check_end()
        assert self.driver.ended is not None
        for shell in self.nodes.values():
            if shell.ended is not None and shell.ended.ending == "done":
                require(shell.epoch == N_EPOCHS and shell.leases.is_over, "the run ends too early")

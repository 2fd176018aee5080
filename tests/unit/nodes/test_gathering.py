# SPDX-License-Identifier: BSD-3-Clause
"""Who gets a place in a run, and what becomes of a run whose nodes do not come."""

from __future__ import annotations

from typing import Any

import pytest

from hybridtrain.nodes.gathering import Gathering
from hybridtrain.nodes.meeting import Call, Join, Refused, Word
from hybridtrain.nodes.messages import Finish
from hybridtrain.nodes.wire import decode
from hybridtrain.transport.frame import ANYONE
from hybridtrain.transport.link import Link
from hybridtrain.transport.loopback import Loopback


class Meeting:
    """A driver, and links that ask it for places."""

    def __init__(self, n_nodes: int, *, wait: float = 60.0, timeout: float = 60.0) -> None:
        self.network = Loopback()
        self.driver = Gathering(
            self.network.link(),
            n_nodes,
            "1.0",
            timeout,
            arguments="{}",
            wait=wait,
            is_shown=False,
            on_line=lambda text: None,
            on_delay=lambda text: None,
        )

    def ask(self, name: str, version: str = "1.0") -> Link:
        link = self.network.link()
        link.connect(ANYONE, self.driver.link.address)
        link.send(ANYONE, Join(name=name, address=link.address, version=version).frame())
        return link

    def answer(self, link: Link) -> Any:
        """Return the frame that the driver answers with."""
        while True:
            self.driver.turn(0.01)
            for _, frame in link.receive(0.01):
                return frame


def test_nodes_get_names_of_their_own_and_what_to_train() -> None:
    meeting = Meeting(3)
    calls = [Call.of(meeting.answer(meeting.ask("node"))) for _ in range(3)]
    assert [call and call.name for call in calls] == ["node", "node-2", "node-3"]
    assert {call and call.arguments for call in calls} == {"{}"}


def test_another_version_and_a_node_too_many_are_refused_with_the_reason() -> None:
    meeting = Meeting(1)
    refused = Refused.of(meeting.answer(meeting.ask("old", version="0.9")))
    assert refused is not None
    assert refused.reason == "the node has hybridtrain 0.9, the driver has 1.0"
    assert Call.of(meeting.answer(meeting.ask("right"))) is not None
    refused = Refused.of(meeting.answer(meeting.ask("late")))
    assert refused is not None
    assert refused.reason == "the run has its 1 node; when it has begun, others may join"
    assert meeting.driver.end is None


def test_a_run_that_does_not_get_its_nodes_ends_and_says_so_to_those_that_came() -> None:
    meeting = Meeting(2, wait=0.2, timeout=1.0)
    came = meeting.ask("a")
    assert Call.of(meeting.answer(came)) is not None
    while meeting.driver.end is None:
        meeting.driver.turn(0.05)
    assert "2 nodes must join" in meeting.driver.end.reason
    assert "there came: a" in meeting.driver.end.reason
    meeting.driver.close("the driver has ended the run")
    frames = [frame for _ in range(10) for _, frame in came.receive(0.05)]
    [finish] = [each for each in map(decode, frames) if isinstance(each, Finish)]
    assert (finish.ending, finish.reason) == ("lost", "the driver has ended the run")


def test_a_node_that_falls_silent_before_it_begins_ends_the_run() -> None:
    meeting = Meeting(1, timeout=0.3)
    assert Call.of(meeting.answer(meeting.ask("a"))) is not None
    while meeting.driver.end is None:
        meeting.driver.turn(0.05)
    assert meeting.driver.end.reason == "node a was silent for 0.3 s before it began"


@pytest.mark.parametrize("kind", Word.__subclasses__())
def test_a_frame_of_another_kind_or_a_damaged_one_says_nothing(kind: type[Word]) -> None:
    frame = Join(name="a", address="b", version="1").frame()
    others = [each for each in Word.__subclasses__() if each.kind != frame.kind]
    assert all(each.of(frame) is None for each in others)
    broken = type(frame)(kind.kind, body=b"\x93\xff")
    assert kind.of(broken) is None
    assert kind.of(type(frame)(kind.kind, body=bytes(2 << 20))) is None

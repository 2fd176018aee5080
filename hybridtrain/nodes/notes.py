# SPDX-License-Identifier: BSD-3-Clause
"""What a node says of its own rows with each merge of streams; it travels with the tallies."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

_Count = Annotated[int, Meta(ge=0)]
Span = tuple[_Count, _Count]  # first, and past the last
_Spans = Annotated[tuple[Span, ...], Meta(max_length=1 << 16)]


class Note(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a member has done since the merge before, and needs until the next one."""

    who: Annotated[int, Meta(ge=1)]  # its incarnation
    done: _Spans = ()  # chunks of the open epoch whose rows are in its values
    back: _Spans = ()  # chunks of its lease that it will not do
    need: _Count = 1  # chunks that it does until it can have more
    rows: _Count = 0  # trained
    loss: float = 0.0  # sum over these rows
    repeated: _Count = 0  # of these rows, trained more than once
    bad_lr: float | None = None  # at which a loss was not finite
    is_changed: bool = False  # rows of a mapped file are not what they were

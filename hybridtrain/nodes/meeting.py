# SPDX-License-Identifier: BSD-3-Clause
"""What driver and node say to each other before the protocol begins: who, and what to train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from hybridtrain.errors import InvalidSettingError
from hybridtrain.nodes.loop import LIMITS
from hybridtrain.nodes.messages import MAX_CONTROL_BYTES, Name, Reason
from hybridtrain.paths import PathLike
from hybridtrain.transport.frame import Frame
from hybridtrain.transport.security import Security, read_token
from hybridtrain.transport.zeromq import ZeroMQLink

_OPEN_JOB = b"hybridtrain open"  # without a token; incarnations keep jobs apart
_T = TypeVar("_T", bound="Word")
Arguments = Annotated[str, Meta(max_length=MAX_CONTROL_BYTES)]


class Word(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """A message whose fields are MessagePack in the body of one frame."""

    kind: ClassVar[int]

    def frame(self) -> Frame:
        """Return the frame that carries it."""
        return Frame(self.kind, body=msgspec.msgpack.encode(self))

    @classmethod
    def of(cls: type[_T], frame: Frame) -> _T | None:
        """Return what a frame says; None: it is damaged, or another message."""
        if frame.kind != cls.kind or len(frame.body) > MAX_CONTROL_BYTES:
            return None
        try:
            return msgspec.msgpack.decode(frame.body, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None


class Invite(Word, frozen=True):
    """Driver to a node that listens: asks it to join. Answered by `Join`, to that address."""

    kind = 40
    address: Name


class Join(Word, frozen=True):
    """Node to driver: asks for a place. Answered by `Call` or `Refused`."""

    kind = 41
    name: Name
    address: Name
    version: Name


class Call(Word, frozen=True):
    """Driver to node: it has a place."""

    kind = 42
    name: Name  # which no other node has
    timeout: Annotated[float, Meta(gt=0)]
    arguments: Arguments | None  # of `train`, as JSON; None: the node has its own


class Refused(Word, frozen=True):
    """Driver to node: it has no place."""

    kind = 43
    reason: Reason


class Keys(NamedTuple):
    """What all links of a job have in common.

    Attributes
    ----------
    job : bytes
    security : Security or None
        None: there is no token.
    insecure : bool
        Whether links without a token go beyond this machine.
    """

    job: bytes
    security: Security | None
    insecure: bool

    @classmethod
    def of(cls, token_file: PathLike | None, *, insecure: bool) -> Keys:
        """Return the keys that follow from the token of a file, or else of the environment.

        Raises
        ------
        InvalidSettingError
            When the file of the token cannot be used, or the token is none.
        """
        token = ""
        if not insecure:
            try:
                token = read_token(None if token_file is None else Path(token_file))
            except InvalidSettingError:
                if token_file is not None:
                    raise
        return cls.of_token(token) if token else cls(_OPEN_JOB, None, insecure)

    @classmethod
    def of_token(cls, token: str) -> Keys:
        """Return the keys that follow from a token; "": there is none, on this machine."""
        if not token:
            return cls(_OPEN_JOB, None, False)
        security = Security(token)
        return cls(security.job("train"), security, False)

    def link(self, address: str, incarnation: int | None = None) -> ZeroMQLink:
        """Return a link that listens at an address.

        Raises
        ------
        InvalidSettingError
            When it is not free, or not this machine's own, or needs a token.
        """
        return ZeroMQLink(
            address,
            job=self.job,
            incarnation=incarnation,
            limits=LIMITS,
            security=self.security,
            insecure=self.insecure,
        )

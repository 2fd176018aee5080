# SPDX-License-Identifier: BSD-3-Clause
"""The exceptions and warnings of the package; each exception also has a standard type."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False  # as in typing, whose import takes longer than all others here
if TYPE_CHECKING:
    from hybridtrain.run.result import Result


_LONGEST_REASON = 300


class HybridTrainError(Exception):
    """Base of this package's errors."""


class InvalidDataError(HybridTrainError, ValueError):
    """The data cannot be trained on; the message names array, shape, dtype and remedy."""


class DataChangedError(InvalidDataError):
    """Rows of a mapped file changed while they were read.

    Attributes
    ----------
    result : Result or None
        The run up to the last whole epoch; None: the run had not begun.
    """

    def __init__(self, message: str, *, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


class DataWarning(UserWarning):
    """The data can be trained on, but a part of them is lost or cannot be learned."""


class InvalidSettingError(HybridTrainError, ValueError):
    """An argument is outside its range, or does not go with another."""


class CheckpointError(HybridTrainError, ValueError):
    """A checkpoint cannot be gone on from: it is damaged, or another run's."""


class RecordError(HybridTrainError, ValueError):
    """A record cannot be replayed: it is damaged, or another run's."""


class MissingPackageError(HybridTrainError, ImportError):
    """An optional package is not installed; the message says what to install."""


class CoreError(HybridTrainError, RuntimeError):
    """The C core refused a call; a bug of this package, please report it."""


class CoreTimeoutError(HybridTrainError, TimeoutError):
    """The C core waited until its deadline."""


class OutOfMemoryError(HybridTrainError, MemoryError):
    """A run needs more memory or threads than there are; nothing stays allocated.

    Attributes
    ----------
    needed : int or None
        Bytes that the run would have mapped; None: the system refused another request.
    available : int or None
        Bytes that were free; None: unknown.
    """

    def __init__(
        self, message: str, *, needed: int | None = None, available: int | None = None
    ) -> None:
        super().__init__(message)
        self.needed = needed
        self.available = available


@contextmanager
def needing_memory(
    what: str, remedy: str = "choose fewer rows or fewer features"
) -> Iterator[None]:
    """Turn the MemoryError of Python or NumPy into one that names the work in hand.

    Raises
    ------
    OutOfMemoryError
        For another MemoryError.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        raise OutOfMemoryError(
            f"{what} needs more memory than there is{reason}; {remedy}"
        ) from error


def reason_of(error: Exception) -> str:
    """Return an error's text in one line and not too long: it may quote a broken file."""
    said = " ".join(str(error).split())
    if not said or not isinstance(error, ValueError | OSError):
        said = f"{type(error).__name__}: {said}"
    return said if len(said) <= _LONGEST_REASON else said[:_LONGEST_REASON] + "..."


def is_systems(error: Exception) -> bool:
    """Return whether reading failed because of the system, and not because of what was read.

    A damaged archive makes libraries seek before its start (EINVAL), or raise an OSError
    of their own.
    """
    if isinstance(error, OSError):
        return error.errno not in (None, errno.EINVAL)
    return isinstance(error, MemoryError)


class ForkedError(HybridTrainError, RuntimeError):
    """A process that was forked within a callback came back into its parent's run."""


class WorkersDiedError(HybridTrainError, RuntimeError):
    """No worker process is left: each has died again and again.

    Attributes
    ----------
    result : Result
        The run up to the last step that was merged.
    causes : tuple of str
        How each process ended, in the order of their deaths.
    """

    def __init__(self, message: str, *, result: Result, causes: tuple[str, ...]) -> None:
        super().__init__(message)
        self.result = result
        self.causes = causes


class NodesLostError(HybridTrainError, ConnectionError):
    """A run on several machines cannot go on: no node is left that has every step, or too few.

    Attributes
    ----------
    result : Result or None
        The run up to the last step that is known here; None: there is none.
    nodes : tuple of str
        Each node's name and its last word: "b: killed (signal 9)".
    """

    def __init__(
        self, message: str, *, nodes: tuple[str, ...] = (), result: Result | None = None
    ) -> None:
        super().__init__("; ".join((message, *nodes)))
        self.result = result
        self.nodes = nodes


class DivergedError(HybridTrainError, FloatingPointError):
    """The loss became infinite or NaN, or ended above that at the start of the run.

    Attributes
    ----------
    result : Result
        The run up to the last epoch whose parameters are all finite.
    epoch : int
        The epoch that diverged, from 1.
    lr : float
        The learning rate at that moment; the first one of a run that ended too high.
    what : str
        What the loss did: "became infinite or NaN".
    """

    def __init__(
        self,
        message: str,
        *,
        result: Result,
        epoch: int,
        lr: float,
        what: str = "became infinite or NaN",
    ) -> None:
        super().__init__(message)
        self.what = what
        self.result = result
        self.epoch = epoch
        self.lr = lr


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended the run; `result` holds the model trained until then.

    It is no HybridTrainError, so that ``except Exception`` does not swallow it.
    """

    def __init__(self, message: str, *, result: Result) -> None:
        super().__init__(message)
        self.result = result

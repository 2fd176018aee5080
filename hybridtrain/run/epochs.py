# SPDX-License-Identifier: BSD-3-Clause
"""The epochs that a run has opened, in order, and their records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hybridtrain.observe.records import EpochRecord, LedgerRecord
from hybridtrain.run.storage import record_of

_Pair = tuple[LedgerRecord, EpochRecord | None]


@dataclass(slots=True)
class Epochs:
    """Keep the records of a run's epochs.

    A history record goes with its ledger record, if rows were trained and the parameters are
    finite.

    Attributes
    ----------
    n_judged : int
        The epochs after which the run was found to go on or to end; the last one may still be
        measured.
    """

    _pairs: list[_Pair] = field(default_factory=list)
    n_judged: int = 0

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def last(self) -> _Pair:
        """The records of the latest epoch."""
        return self._pairs[-1]

    @property
    def history(self) -> tuple[EpochRecord, ...]:
        """The history records."""
        return tuple(record for _, record in self._pairs if record is not None)

    @property
    def ledger(self) -> tuple[LedgerRecord, ...]:
        """The ledger records."""
        return tuple(record for record, _ in self._pairs)

    def note(self, ledger: LedgerRecord, record: EpochRecord | None) -> None:
        """Note an epoch that has ended."""
        self._pairs.append((ledger, record))

    def measured(self, record: EpochRecord, validation_loss: float) -> EpochRecord:
        """Complete the record of the latest epoch."""
        record = replace(record, validation_loss=validation_loss)
        self._pairs[-1] = self._pairs[-1][0], record
        return record

    def to_json(self) -> list[Any]:
        """Return the records of the epochs that are judged."""
        return [
            [asdict(ledger), None if record is None else asdict(record)]
            for ledger, record in self._pairs[: self.n_judged]
        ]

    @classmethod
    def from_json(cls, told: list[Any]) -> Epochs:
        """Return what `to_json` gave.

        Raises
        ------
        ValueError
            When it is something else.
        """
        pairs = [
            (
                record_of(LedgerRecord, "ledger", ledger),
                None if record is None else record_of(EpochRecord, "history", record),
            )
            for ledger, record in told
        ]
        return cls(pairs, len(pairs))

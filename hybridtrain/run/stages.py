# SPDX-License-Identifier: BSD-3-Clause
"""How a run opens the stages of its parts, one after the other, alone or among other nodes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from hybridtrain.errors import needing_memory
from hybridtrain.observe.recording import Recorder
from hybridtrain.run.faults import Faults
from hybridtrain.run.partner import OtherPartError, Partner
from hybridtrain.run.parts import Parts
from hybridtrain.run.snapshot import Parameters
from hybridtrain.run.stage import Stage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stages:
    """Open stages, and start their workers.

    Attributes
    ----------
    parts : Parts
    faults : Faults
    recorder : Recorder or None
        Of the first stage, which is then the only one.
    partner : Partner or None
    """

    parts: Parts
    faults: Faults
    recorder: Recorder | None
    partner: Partner | None

    def open(self) -> None:
        """Open the stage of the part in hand."""
        plan, number = self.parts.plan, self.parts.number
        with needing_memory("the run"):
            stage = Stage.open(plan, self.faults, self.recorder, self.partner, number)
        self.parts.open(stage)

    def start_workers(self, start: Parameters) -> None:
        """Start the workers; those of another part, if the other nodes are in that.

        start: the parameters of a stage until the state of another node comes.
        """
        while True:
            try:
                return self.parts.stage.workers.start()
            except OtherPartError as other:
                self.parts.turn_to(other.part)
            self.open()
            self.parts.stage.run.load(self.parts.plan.to_trained(*start))

    def go_on(self, epoch: int, parameters: Parameters) -> bool:
        """Let the workers of the next part begin with an epoch; the run has these parameters.

        Returns
        -------
        bool
            False: the state is not finite, and the part in hand stays.

        Raises
        ------
        NodesLostError
            When the run has ended for this node.
        """
        old, part = self.parts.stage, self.parts.next
        assert part is not None
        with needing_memory("the next part of the run"):
            stage = old.next(part.plan, self.faults, self.partner, self.parts.number + 1)
        if stage is None:
            return False
        if self.partner is not None:
            try:
                self.partner.finish_part(parameters)
            except BaseException:
                stage.run.close()
                raise
        self.parts.go_on(epoch, stage)
        old.run.close()
        logger.info("from epoch %d on, the run trains with %s", epoch, part.strategy)
        return True

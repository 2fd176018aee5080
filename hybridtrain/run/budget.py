# SPDX-License-Identifier: BSD-3-Clause
"""The time of a run: when it is over, and the learning rates that fill it.

A schedule needs to know how many epochs the time allows. The speed of the data,
the machine and the strategy is measured: the workers rest after a fiftieth of the
time, then after each twentieth and each epoch. While they rest, the rates of the
remaining time are computed again.

    0  .02   .07   .12                                    1 (seconds)
    |---|-----|-----|-----|- ... -|-----|-----|-----|-----|
        rest: rows so far -> speed -> epochs in all -> rates until the next rest
"""

from __future__ import annotations

import math
import time
from typing import Literal

import numpy as np

from hybridtrain.arguments import is_finite, plain, shown
from hybridtrain.data.matrix import Floats
from hybridtrain.errors import InvalidSettingError
from hybridtrain.optimizers.schedules import Schedule, rate_at
from hybridtrain.plan.rates import LRS_PER_EPOCH
from hybridtrain.run.cooling import Cooling

_FIRST_SHARE = 1.0 / 50.0  # of the time, until the first rest
_PERIOD_SHARE = 1.0 / 20.0  # of the time, between later ones
_LEAST_PERIOD = 2e-3  # seconds; a rest costs a twentieth of it
_NEWEST = 0.5  # weight of the newest measured speed
_LAST_SHARE = 63.0 / 64.0  # of the planned epochs: the rate of what is trained beyond them


class Budget:
    """Keep the wall-clock time that a call of `train` may take.

    Parameters
    ----------
    seconds : float
        Greater than 0.
    started : float
        time.perf_counter() when the call began.

    Raises
    ------
    InvalidSettingError
        When `seconds` is not a finite number above 0.
    """

    def __init__(self, seconds: float, started: float) -> None:
        number = plain(seconds)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InvalidSettingError(f"seconds must be a number > 0 or None, got {shown(seconds)}")
        if not (is_finite(number) and number > 0):
            raise InvalidSettingError(f"seconds must be finite and > 0, got {shown(number)}")
        self.seconds = float(number)
        self._started = started
        self._rest_at = math.inf
        self._mark = (0.0, 0.0)  # when the workers last began, after how many epochs
        self._rested_at = 0.0
        self._speed = 0.0  # epochs a second; 0: not measured
        self._between = 0.0  # seconds from the end of an epoch to the next
        self._extra_share = 0.0
        self._from = 0.0  # after how many epochs the schedule begins
        self._lrs = np.empty(LRS_PER_EPOCH, np.float32)  # of the open epoch
        self.planned = 0.0

    def open(self, *, schedule: Schedule, lr: float, epochs: int, extra_share: float) -> None:
        """Start the time of training.

        Parameters
        ----------
        schedule : Schedule
        lr : float
            The first rate.
        epochs : int
            The most epochs to train.
        extra_share : float
            Rows to measure after an epoch, as a share of the trained rows: a first
            guess of the time of measuring.
        """
        self._schedule, self._lr, self._epochs = schedule, lr, epochs
        self._extra_share = extra_share
        self.planned = min(epochs, 1.0 / _FIRST_SHARE)
        self._rest_at = time.perf_counter() + max(_FIRST_SHARE * self.left(), _LEAST_PERIOD)

    def go_on_at(self, lr: float) -> None:
        """Go on at another first rate, and at another speed, which is measured soon."""
        self._lr, self._speed = lr, 0.0
        soon = time.perf_counter() + max(_FIRST_SHARE * self.left(), _LEAST_PERIOD)
        self._rest_at = min(self._rest_at, soon)

    def cool(self, cooling: Cooling, epochs: int) -> None:
        """Let the rate fall from here on, and train at most `epochs` epochs in all."""
        self._schedule, self._epochs, self._from = cooling, epochs, cooling.begins
        self.planned = min(self.planned, epochs)

    def used(self) -> float:
        """Return the seconds that are over."""
        return time.perf_counter() - self._started

    def recall(self, seconds: float, planned: float) -> None:
        """Count the seconds of an earlier part of the run, which was saved with its `planned`."""
        self._started -= seconds

    def left(self) -> float:
        """Return the seconds that are left; negative when the time is over."""
        return self._started + self.seconds - time.perf_counter()

    def is_over(self) -> bool:
        """Return whether there is no time left to train and measure another row."""
        return self.left() <= self._between

    def wait(self, most: float) -> float:
        """Return the seconds until the workers must rest, 0 .. `most`."""
        until = min(self._rest_at - time.perf_counter(), self.left() - self._between)
        return min(max(until, 0.0), most)

    def due(self) -> Literal["", "pause", "seconds"]:
        """Return the reason for a rest of the workers now; "" if there is none."""
        if self.is_over():
            return "seconds"
        return "pause" if time.perf_counter() >= self._rest_at else ""

    def begins(self, done: float) -> Floats:
        """Return the rates of an epoch; those of its remaining part are computed again.

        Parameters
        ----------
        done : float
            Epochs that are done when the workers begin.

        Returns
        -------
        float32 array (LRS_PER_EPOCH,)
        """
        now = time.perf_counter()
        if self._rested_at and done == math.floor(done):
            self._between = now - self._rested_at
        start = math.floor(done) * LRS_PER_EPOCH
        for step in range(math.floor(done * LRS_PER_EPOCH), start + LRS_PER_EPOCH):
            position = step / LRS_PER_EPOCH
            if self.planned < self._epochs:  # else the rates are those without a budget
                last = self._from + (self.planned - self._from) * _LAST_SHARE
                position = min(max(position, done), last)
            self._lrs[step - start] = rate_at(self._schedule, self._lr, position, self.planned)
        self._mark = time.perf_counter(), done
        return self._lrs

    def rests(self, done: float) -> None:
        """Measure the speed and plan the epochs; the workers rest after `done` epochs."""
        now = self._rested_at = time.perf_counter()
        began, before = self._mark
        if done > before and now > began:
            speed = (done - before) / (now - began)
            if self._speed:
                speed = self._speed + _NEWEST * (speed - self._speed)
            if not self._between:
                self._between = self._extra_share / speed
            self._speed = speed
        if self._speed:
            self.planned = min(self._epochs, self._fitting(done))
        if now >= self._rest_at:
            self._rest_at = now + max(_PERIOD_SHARE * self.seconds, _LEAST_PERIOD)

    def _fitting(self, done: float) -> float:
        """Return how many epochs there will be in all."""
        left, epoch = self.left(), math.floor(done) + 1 - done
        if left - self._between > epoch / self._speed:  # the open one will be completed
            left -= epoch / self._speed + self._between
            done += epoch
            whole = 1.0 / self._speed + self._between
            more = math.floor(max(left, 0.0) / whole)
            left -= more * whole
            done += more
        return done + max((left - self._between) * self._speed, 1e-6 * done, 1e-9)


class ToldBudget(Budget):
    """The time of one node's part of a run: the driver keeps it, and tells all nodes the same.

    The rates of an epoch follow from the epochs that fit, as the driver said before it, and stay
    as they are within the epoch: so all nodes have the same. For the first one they are a guess.
    """

    def __init__(self, seconds: float, started: float) -> None:
        super().__init__(seconds, started)
        self._is_over = False
        self._told = 0.0  # epochs; 0: nothing yet

    def tell(self, planned: float) -> None:
        """Note how many epochs there will be in all, while no epoch is open; 0: as before."""
        self._told = planned or self._told

    def end(self) -> None:
        """Note that the time is over; any thread may call it."""
        self._is_over = True

    def recall(self, seconds: float, planned: float) -> None:
        """Go on with the rates of another node."""
        super().recall(seconds, planned)
        self._told = planned

    def is_over(self) -> bool:
        """Return whether the driver has said that the time is over."""
        return self._is_over

    def wait(self, most: float) -> float:
        """Return `most`: the workers need no rest."""
        return most

    def due(self) -> Literal["", "pause", "seconds"]:
        """Return "": a step of all nodes ends the run."""
        return ""

    def rests(self, done: float) -> None:
        """Do nothing: the driver measures the speed."""

    def begins(self, done: float) -> Floats:
        """Return the rates of an epoch; they do not depend on how much of it is done."""
        if self._told:
            self.planned = min(self._epochs, self._told)
        return super().begins(float(math.floor(done)))

"""What users write: every checker must accept it. Checked, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier, LinearRegressor

X: npt.NDArray[np.float32] = np.ones((4, 2), np.float32)
y = np.array([0, 1, 0, 1])

result = ht.train(ht.Linear(loss="logistic", l2=1e-6), (X, y), strategy="hybrid", epochs=2)
assert_type(result, ht.Result)
assert_type(result.history, tuple[ht.EpochRecord, ...])
assert_type(result.ledger, tuple[ht.LedgerRecord, ...])
assert_type(result.workers, tuple[ht.WorkerReport, ...])
assert_type(result.nodes, tuple[ht.NodeReport, ...])
assert_type(result.staleness, ht.Staleness)
assert_type(result.workers[0].staleness, ht.Staleness | None)
assert_type(result.history[0].staleness, ht.Staleness | None)
assert_type(ht.Async(every=64, staleness=4).staleness, int | None)
assert_type(result.history[0].loss, float)
assert_type(result.model, ht.Linear)
score: float = result.score(X, y)
settings: Mapping[str, Any] = result.settings

strategies: list[ht.Strategy] = [ht.Hogwild(), ht.Hybrid(hot=0.5, every=4096), ht.Sync(exact=False)]
strategies += [ht.LocalSGD(every=4, outer=ht.Nesterov(lr=0.5)), ht.LocalSGD(outer="slowmo")]
optimizers: list[ht.Optimizer] = [ht.SGD(momentum=0.9), ht.AdaGrad(lr=0.1), ht.Adam(), ht.FTRL()]
schedules: list[ht.Schedule] = [ht.Constant(), ht.Cosine(), ht.Warmup(1.0, ht.LinearDecay())]
grouped = ht.Hierarchical(groups=[{0, 1}, {2, 3}], between=ht.Async(staleness=4))
strategies += [grouped, ht.Hierarchical(within="sync", groups=1)]
switch = ht.Switch(("sync", 1), (ht.Hybrid(), "plateau"), ("hogwild", None))
for strategy in (*strategies, switch):
    ht.train(ht.Linear(), (X, y, np.ones(4)), strategy=strategy, optimizer=optimizers[0], workers=2)


plan = ht.chaos.Plan([ht.chaos.Kill(worker=1, at="after commit", step=40), ht.chaos.Fail("EIO")])
rehearsed = ht.train(ht.Linear(), (X, y), backend="processes", chaos=plan)
assert_type(rehearsed.faults, tuple[ht.chaos.FaultRecord, ...])


for nodes in (2, "env", ["10.0.0.5:7000"], ht.Nodes(2, listen="10.0.0.4:7000", wait=60.0)):
    ht.train(ht.Linear(), "rows.npz", strategy="sync", nodes=nodes)


def report(record: ht.EpochRecord) -> bool | None:
    """End a run early."""
    return record.validation_loss is not None and record.validation_loss < 0.1


ht.train(ht.Linear(loss="huber", delta=0.5), "rows.svm", validation=0.1, callbacks=[report])
comparison = ht.compare(ht.Linear(), (X, y), strategies=["sync", ht.Hybrid()], validation=0.2)
assert_type(comparison, ht.Comparison)
assert_type(comparison.runs[0], ht.ComparedRun)
assert_type(comparison.strategies[0], ht.ComparedStrategy)
assert_type(ht.compare(ht.Linear(), (X, y), seeds=range(5)).seeds, tuple[int, ...])

try:
    ht.load("model.npz").save("copy")
except ht.HybridTrainError as error:
    print(error)
try:
    ht.train(ht.Linear(), (X, y))
except ht.TrainingInterrupted as interrupted:
    assert_type(interrupted.result, ht.Result)

rows, labels = ht.read_data("rows.npz")
flights = ht.datasets.flights()
classifier = LinearClassifier(loss="softmax", strategy=ht.Sync(), epochs=3).fit(X, y)
probabilities: npt.NDArray[np.float32] = classifier.predict_proba(X)
LinearRegressor(loss="quantile", q=0.9).fit(X, y)

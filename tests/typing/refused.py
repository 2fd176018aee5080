"""Mistakes of users: every checker must refuse each marked line, and no other. Never run."""

from __future__ import annotations

import numpy as np

import hybridtrain as ht
from hybridtrain.sklearn import LinearClassifier

X, y = np.ones((4, 2), np.float32), np.array([0, 1, 0, 1])

ht.Linear(loss="logistik")  # refused
ht.Linear("logistic")  # refused
ht.Linear(l2="small")  # refused
ht.Hybrid(every=0.5)  # refused
ht.Sync(exakt=True)  # refused
ht.SGD(rate=0.1)  # refused
ht.train(ht.Linear(), (X, y), strategy=ht.SGD())  # refused
ht.Switch("sync", 1)  # refused
ht.Switch(("sync", "soon"), ("hybrid", None))  # refused
ht.train(ht.Linear(), (X, y), optimizer=ht.Sync())  # refused
ht.train(ht.Linear(), (X, y), workers="all")  # refused
ht.train(ht.Linear(), (X, y), callbacks=[print, 1])  # refused
ht.trian(ht.Linear(), (X, y))  # refused
ht.compare(ht.Linear(), (X, y), strategies=[1])  # refused
ht.compare(ht.Linear(), (X, y), seeds=5)  # refused
print(ht.train(ht.Linear(), (X, y)).histroy)  # refused
ht.Sync().exact = False  # refused
LinearClassifier(lr=None)  # refused

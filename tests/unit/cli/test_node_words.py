# SPDX-License-Identifier: BSD-3-Clause
"""`hybridtrain node`, and where `train` finds nodes: words that need no node."""

from __future__ import annotations

import pytest

from hybridtrain.cli import main
from hybridtrain.transport.security import Security


def test_a_new_token_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["node", "--new-token"]) == 0
    token = capsys.readouterr().out.strip()
    assert len(Security(token).job("any")) == 16


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        ("node", 2, "one of the arguments --join --listen --new-token is required"),
        ("node --join a:1 --listen b:1", 2, "not allowed with"),
        ("node --listen b:1 --address a:1", 1, "--address goes with --join"),
        ("node --join a:1 --workers 0", 1, "--workers must be >= 1, got 0"),
        ("node --join a:1 --wait 0", 1, "--wait must be > 0 seconds, got 0.0"),
        ("node --join a:1 --insecure --token-file t", 1, "leave --token-file out"),
        ("train rows.svm --listen a:1", 1, "--listen, --token-file and --insecure need --nodes"),
        ("train rows.svm --strategy sync --nodes four", 1, "--nodes must be a number of nodes"),
        ("train rows.svm --strategy sync --nodes env", 1, "srun, mpiexec or torchrun"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    words: str,
    code: int,
    what: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert main(words.split()) == code
    assert what in capsys.readouterr().err

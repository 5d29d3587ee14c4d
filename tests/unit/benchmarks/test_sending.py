from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.benchmarks.ct_studies import SentStudy
from tests.benchmarks.receivers import Running
from tests.benchmarks.sending import NotReceived, check_received, exit_codes

_SENT = SentStudy((Path("unused"),), "1.2", frozenset({"1.2.1", "1.2.2"}), 2_000_000)


def test_all_children_are_waited_for_and_their_codes_come_in_order() -> None:
    children = [_shell("sleep 0.1; exit 3"), _shell("exit 0")]

    assert exit_codes(children, timeout_s=60) == [3, 0]


def test_a_child_that_runs_too_long_is_killed() -> None:
    children = [_shell("exit 0"), _shell("exec sleep 60")]

    assert exit_codes(children, timeout_s=0.2) == [0, -9]


def test_all_that_was_sent_is_received() -> None:
    check_received(_having({"1.2.1": 1_000_000, "1.2.2": 1_000_000}), [_SENT])


@pytest.mark.parametrize(
    ("received", "told"),
    [
        ({"1.2.1": 2_000_000}, "1 of 2 instances are missing"),
        ({"1.2.1": 1_000_000, "1.2.2": 1_000_000, "1.2.3": 9}, "1 are foreign"),
        ({"1.2.1": 1_000_000, "1.2.2": 500_000}, "1500000 bytes of 2000000"),
    ],
)
def test_what_is_missing_foreign_or_short_is_told(received: dict[str, int], told: str) -> None:
    with pytest.raises(NotReceived, match=told):
        check_received(_having(received), [_SENT])


def _having(received: dict[str, int]) -> Running:
    return Running(0, "ANY", (), lambda: received)


def _shell(command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", command])

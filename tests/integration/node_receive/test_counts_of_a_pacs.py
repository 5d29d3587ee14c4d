from __future__ import annotations

import time
from pathlib import Path

import pytest

from config.settings import SenderSettings
from node.errors import CountsUnavailable
from node.find_counts import PacsCounts, SeriesCount, ask_counts
from tests.integration.node_receive.counting_pacs import UNABLE_TO_PROCESS, CountingPacs
from tests.integration.node_receive.mr_study import ROOT, SERIES, STUDY, mr_series
from tests.integration.node_receive.running_listener import CALLED, CALLING, Running
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port


def _sender(port: int, ae_title: str) -> SenderSettings:
    return SenderSettings(
        ae_title="GATEWAY", find_host="127.0.0.1", find_port=port, find_ae_title=ae_title
    )


def _ask(port: int, ae_title: str = "COUNTING", *, timeout_s: float = 5) -> PacsCounts:
    return ask_counts(
        _sender(port, ae_title), STUDY, calling_ae_title="RADNODE", timeout_s=timeout_s
    )


@pytest.mark.peer("orthanc")
def test_orthanc_counts_by_study_and_series(tmp_path: Path) -> None:
    other = f"{ROOT}.1.2"
    with Orthanc([Modality("radnode", "RADNODE", free_port())]) as orthanc:
        unknown = _ask(orthanc.dicom_port, orthanc.aet)
        for path in mr_series(tmp_path / "a", 3) + mr_series(tmp_path / "b", 2, series=other):
            orthanc.upload(path)

        known = _ask(orthanc.dicom_port, orthanc.aet)

    assert unknown == PacsCounts()
    assert known == PacsCounts(5, {SERIES: SeriesCount("MR", 3), other: SeriesCount("MR", 2)})


def test_a_pacs_may_leave_the_counts_out() -> None:
    with CountingPacs({SERIES: ("MR", 3)}, knows_counts=False) as pacs:
        assert _ask(pacs.port) == PacsCounts(None, {SERIES: SeriesCount("MR", None)})


def test_a_failed_query_is_no_count() -> None:
    with (
        CountingPacs({SERIES: ("MR", 3)}, status=UNABLE_TO_PROCESS) as pacs,
        pytest.raises(CountsUnavailable, match="0xC001"),
    ):
        _ask(pacs.port)


def test_a_slow_pacs_is_left_after_the_timeout() -> None:
    begin = time.monotonic()
    with (
        CountingPacs({SERIES: ("MR", 3)}, delay_s=3) as pacs,
        pytest.raises(CountsUnavailable, match="in time"),
    ):
        _ask(pacs.port, timeout_s=0.3)
    assert time.monotonic() - begin < 10


def test_a_pacs_that_is_called_something_else_says_no() -> None:
    with CountingPacs() as pacs, pytest.raises(CountsUnavailable, match="rejected"):
        _ask(pacs.port, "OTHER")


def test_a_receiver_that_answers_no_queries_is_told_so(running: Running) -> None:
    sender = _sender(running.port, CALLED)

    with pytest.raises(CountsUnavailable, match="does not serve Study Root"):
        ask_counts(sender, STUDY, calling_ae_title=CALLING, timeout_s=5)


def test_nobody_there_is_said_so() -> None:
    with pytest.raises(CountsUnavailable, match="not reachable"):
        _ask(free_port())

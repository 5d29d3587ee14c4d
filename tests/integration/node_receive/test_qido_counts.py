from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import SenderSettings
from node.errors import CountsUnavailable
from node.find_counts import PacsCounts, SeriesCount
from node.pacs_query import ask_pacs
from tests.integration.node_receive.mr_study import SERIES, STUDY
from tests.peers.ports import free_port
from tests.peers.scripted_http import Answer, Request, ScriptedHttpServer


def _series(uid: str, modality: str | None, count: object) -> dict[str, object]:
    item: dict[str, object] = {"0020000E": {"vr": "UI", "Value": [uid]}}
    if modality is not None:
        item["00080060"] = {"vr": "CS", "Value": [modality]}
    if count is not None:
        item["00201209"] = {"vr": "IS", "Value": [count]}
    return item


def _sender(url: str, **changes: object) -> SenderSettings:
    return SenderSettings(ae_title="PACS", qido_url=url).model_copy(update=changes)


def _ask(sender: SenderSettings, timeout_s: float = 5) -> PacsCounts:
    return ask_pacs(sender, STUDY, calling_ae_title="RADNODE", timeout_s=timeout_s)


def _asked(body: object, status: int = 200, **changes: object) -> tuple[PacsCounts, Request]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with ScriptedHttpServer(lambda _: Answer(status, content)) as server:
        counts = _ask(_sender(server.base_url, **changes))
        (request,) = server.requests
    return counts, request


def test_a_server_counts_by_series() -> None:
    found = [_series(SERIES, "MR", 36), _series("1.2.9", "SR", "1"), _series("1.2.8", None, None)]

    counts, request = _asked(found)

    assert counts == PacsCounts(
        series={
            SERIES: SeriesCount("MR", 36),
            "1.2.9": SeriesCount("SR", 1),
            "1.2.8": SeriesCount("", None),
        }
    )
    assert request.path == f"/fhir/studies/{STUDY}/series?includefield=00201209"
    assert request.headers["Accept"] == "application/dicom+json"
    assert "Authorization" not in request.headers


def test_a_token_is_sent_where_there_is_one() -> None:
    _, request = _asked([], qido_bearer_token=SecretStr("secret"))

    assert request.headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(("status", "body"), [(200, []), (204, b"")])
def test_a_study_that_the_server_does_not_know_has_no_counts(status: int, body: object) -> None:
    assert _asked(body, status)[0] == PacsCounts()


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"{}\xff", {"a": 1}, [1], [{}], [_series(SERIES, "MR", "many")], b"[" * 9999],
    ids=["html", "bytes", "object", "number", "empty", "count", "deep"],
)
def test_an_answer_that_is_no_dicom_json_is_no_evidence(body: object) -> None:
    with pytest.raises(CountsUnavailable, match="no DICOM JSON"):
        _asked(body)


@pytest.mark.parametrize("status", [302, 401, 404, 500])
def test_a_failure_is_no_evidence_and_names_no_study(status: int) -> None:
    with pytest.raises(CountsUnavailable, match=str(status)) as caught:
        _asked(b"", status)
    assert STUDY not in str(caught.value)


def test_nobody_there_is_said_so() -> None:
    with pytest.raises(CountsUnavailable, match="ConnectError") as caught:
        _ask(_sender(f"http://127.0.0.1:{free_port()}"))
    assert STUDY not in str(caught.value)


def test_an_endless_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.qido_counts._MOST_BYTES", 1000)
    with pytest.raises(CountsUnavailable, match="too long"):
        _asked(b"[" + b" " * 2000 + b"]")


def test_certificates_that_cannot_be_read_are_no_reason_to_trust(tmp_path: Path) -> None:
    sender = _sender("https://127.0.0.1:1", qido_ca_file=tmp_path / "none.pem")

    with pytest.raises(CountsUnavailable, match="qido_ca_file"):
        _ask(sender)

from __future__ import annotations

import socket
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir.client import FhirClient
from fhir.errors import PatientNotResolved, PermanentFhirError, TransientFhirError
from fhir.transport import retry_after_s
from tests.integration.fhir.ehr import destination
from tests.integration.fhir.scripted_answers import (
    CAPABLE,
    anna,
    answers,
    deliver,
    found,
    told,
)
from tests.peers.dripping_http import DrippingServer
from tests.peers.scripted_http import Answer, ScriptedHttpServer
from tests.unit.fhir.finished_jobs import with_findings


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_cannot_now_is_asked_again(scripted: ScriptedHttpServer, status: int) -> None:
    scripted.answer = answers(Patient=told({}, status))
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted)
    assert caught.value.code == f"http_{status}"
    assert caught.value.retry_after_s is None


def test_the_server_says_when_to_ask_again(scripted: ScriptedHttpServer) -> None:
    scripted.answer = answers(metadata=Answer(429, headers={"Retry-After": "120"}))
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted)
    assert caught.value.retry_after_s == 120


@pytest.mark.parametrize("status", [409, 423])
def test_a_report_that_meets_what_others_write_is_sent_again(
    scripted: ScriptedHttpServer, status: int
) -> None:
    scripted.answer = answers(Patient=found(anna()), transaction=told({}, status))
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted)
    assert caught.value.code == f"http_{status}"


@pytest.mark.parametrize("status", [400, 410, 412, 413, 415, 422])
def test_a_refusal_of_the_report_is_for_good(scripted: ScriptedHttpServer, status: int) -> None:
    scripted.answer = answers(Patient=found(anna()), transaction=told({}, status))
    with pytest.raises(PermanentFhirError) as caught:
        deliver(scripted)
    assert caught.value.code == f"http_{status}"


@pytest.mark.parametrize("path", ["metadata", "DiagnosticReport", "Patient", "ImagingStudy"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422])
def test_a_refusal_of_a_question_says_nothing_of_the_report_and_waits(
    scripted: ScriptedHttpServer, path: str, status: int
) -> None:
    scripted.answer = answers(**{"Patient": found(anna()), path: told({}, status)})
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted)
    assert caught.value.code == f"http_{status}"


@pytest.mark.parametrize("status", [302, 401, 403, 404, 405, 407, 421, 425])
@pytest.mark.parametrize("path", ["metadata", "Patient", "transaction"])
def test_trouble_on_the_way_waits_whatever_was_sent(
    scripted: ScriptedHttpServer, path: str, status: int
) -> None:
    page = Answer(status, b"<html>Not here</html>", {"Retry-After": "60"})
    scripted.answer = answers(**{"Patient": found(anna()), path: page})
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted)
    assert (caught.value.code, caught.value.retry_after_s) == (f"http_{status}", 60)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(scripted: ScriptedHttpServer, status: int) -> None:
    elsewhere = {"Location": f"{scripted.base_url}/elsewhere"}
    scripted.answer = answers(DiagnosticReport=Answer(status, headers=elsewhere))
    with pytest.raises(TransientFhirError, match=f"http_{status}"):
        deliver(scripted, bearer_token="secret")
    assert not any("elsewhere" in request.path for request in scripted.requests)


@pytest.mark.parametrize("version", ["5.0.0", "4.3.0", "3.0.2", "4.0", "", None])
def test_another_version_of_fhir_waits_before_anything_is_sent(
    scripted: ScriptedHttpServer, version: str | None
) -> None:
    scripted.answer = answers(metadata=told({**CAPABLE, "fhirVersion": version}))
    with pytest.raises(TransientFhirError, match="fhir_version"):
        deliver(scripted)
    assert [request.path for request in scripted.requests] == ["/fhir/metadata"]


def test_a_server_that_does_not_answer_in_time_is_asked_again(
    scripted: ScriptedHttpServer,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base_url = f"http://127.0.0.1:{silent.getsockname()[1]}/fhir"
        settings_ = destination(base_url, timeout_s=0.2)
        with (
            FhirClient(settings_, "Radiology", "UTC") as client,
            pytest.raises(TransientFhirError) as caught,
        ):
            client.deliver(with_findings())
    assert caught.value.code == "timeout"


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_is_ended_although_no_single_wait_is_long(
    certificate: tuple[Path, Path], start: bytes, is_tls: bool
) -> None:
    pem, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    with DrippingServer(start, context if is_tls else None) as server:
        ehr = destination(server.base_url, timeout_s=0.5, ca_file=pem)
        with (
            FhirClient(ehr, "Radiology", "UTC") as client,
            pytest.raises(TransientFhirError) as caught,
        ):
            client.deliver(with_findings())
    assert caught.value.code == "timeout"
    assert not server.has_ended


def test_an_answer_is_not_read_without_end(scripted: ScriptedHttpServer) -> None:
    scripted.answer = answers(metadata=Answer(200, b'{"x": "' + b"x" * (33 * 2**20) + b'"}'))
    with pytest.raises(TransientFhirError) as caught:
        deliver(scripted)
    assert caught.value.code == "answer_too_large"


def test_a_base_url_that_is_none_waits_for_whoever_corrects_it() -> None:
    with (
        FhirClient(destination("http://ehr/f\x01hir"), "Radiology", "UTC") as client,
        pytest.raises(TransientFhirError) as caught,
    ):
        client.deliver(with_findings())
    assert caught.value.code == "base_url"


def test_a_server_that_is_down_is_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        base_url = f"http://127.0.0.1:{closed.getsockname()[1]}/fhir"
    with (
        FhirClient(destination(base_url), "Radiology", "UTC") as client,
        pytest.raises(TransientFhirError) as caught,
    ):
        client.deliver(with_findings())
    assert caught.value.code == "connection"
    assert base_url not in str(caught.value)


def test_requests_speak_fhir_json(scripted: ScriptedHttpServer) -> None:
    scripted.answer = answers(Patient=found(anna()))
    with pytest.raises(TransientFhirError):
        deliver(scripted, bearer_token="secret")
    for request in scripted.requests:
        assert request.headers["Accept"] == "application/fhir+json"
        assert request.headers["Authorization"] == "Bearer secret"
    assert scripted.requests[-1].path == "/fhir"
    assert scripted.requests[-1].headers["Content-Type"] == "application/fhir+json"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    pem, key = folder / "server.pem", folder / "server.key"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(pem), "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
        check=True,
        capture_output=True,
    )
    return pem, key


def test_a_server_is_trusted_only_by_its_certificate(certificate: tuple[Path, Path]) -> None:
    pem, key = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, key)
    with ScriptedHttpServer(answers(), tls) as server:
        with pytest.raises(TransientFhirError, match="connection"):
            deliver(server)
        assert server.requests == []
        with pytest.raises(PatientNotResolved):
            deliver(server, ca_file=pem)


def test_a_missing_ca_file_is_told_at_once(tmp_path: Path) -> None:
    missing = destination("https://127.0.0.1/fhir", ca_file=tmp_path / "missing.pem")
    with pytest.raises(PermanentFhirError, match="ca_file"):
        FhirClient(missing, "Radiology", "UTC")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        (" 5 ", 5.0),
        ("0", 0.0),
        ("Tue, 04 Mar 2025 10:00:30 GMT", 30.0),
        ("Tue, 04 Mar 2025 09:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, datetime(2025, 3, 4, 10, 0, tzinfo=UTC)) == seconds


@given(st.text(max_size=40))
@example("0\x1f")
def test_any_retry_after_is_read_or_passed_over(header: str) -> None:
    seconds = retry_after_s(header)
    assert seconds is None or seconds >= 0

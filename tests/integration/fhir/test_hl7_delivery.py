from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import hl7
import pytest

from fhir.errors import FhirError, PermanentFhirError, TransientFhirError
from fhir.hl7_delivery import Hl7Client
from storage.records import FinishedJob
from tests.peers.dripping_http import DrippingServer
from tests.peers.mllp import END, START, Hl7Receiver, raw_receiver
from tests.peers.ports import free_port
from tests.unit.fhir.finished_jobs import with_findings
from tests.unit.fhir.test_hl7_report import destination


def deliver(port: int, finished: FinishedJob | None = None, **changes: Any) -> dict[str, str]:
    client = Hl7Client(destination(port=port, **{"timeout_s": 5} | changes), "UTC")
    return dict(client.deliver(finished or with_findings()))


def framed(text: str) -> bytes:
    return START + text.encode() + END


def test_an_independent_receiver_parses_the_report_and_acknowledges_it() -> None:
    with Hl7Receiver() as receiver:
        receipt = deliver(receiver.port)

    (message,) = receiver.taken
    assert receipt == {"control_id": str(hl7.parse(message).segment("MSH")[10]), "ack": "AA"}
    assert str(hl7.parse(message).segment("PID")[5]).startswith("MÜLLER^ANNA MARIA")


def test_a_repeat_carries_the_same_control_id() -> None:
    with Hl7Receiver() as receiver:
        assert deliver(receiver.port) == deliver(receiver.port)
    assert receiver.taken[0] == receiver.taken[1]


@pytest.mark.parametrize("code", ["AE", "AR"])
def test_a_receiver_that_refuses_ends_the_delivery(code: str) -> None:
    with Hl7Receiver(code) as receiver, pytest.raises(PermanentFhirError) as caught:
        deliver(receiver.port)
    assert caught.value.code == f"ack_{code.lower()}"


def test_latin_1_is_sent_where_the_receiver_wants_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(TransientFhirError):
            deliver(server.getsockname()[1], character_set="8859/1", timeout_s=0.2)
        connection, _ = server.accept()
        with connection:
            content = connection.recv(65536)
    assert b"M\xdcLLER" in content
    assert b"8859/1" in content


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "no_answer"),
        (framed("MSH|^~\\&|RIS")[:-1], "no_answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\x1c\r", "bad_response"),
        (framed("MSH|^~\\&|RIS\rMSA|AA|another\r"), "bad_response"),
        (b"x" * (1 << 21), "bad_response"),
    ],
    ids=["nothing", "half", "no frame", "another id", "endless"],
)
def test_an_answer_that_is_none_waits(answer: bytes, code: str) -> None:
    with raw_receiver(answer) as port, pytest.raises(TransientFhirError) as caught:
        deliver(port)
    assert caught.value.code in (code, "no_connection")


def test_nobody_there_waits() -> None:
    with pytest.raises(TransientFhirError) as caught:
        deliver(free_port())
    assert caught.value.code == "no_connection"


def test_an_answer_that_drips_for_ever_is_given_up() -> None:
    with DrippingServer(START) as server:
        port = int(server.base_url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(TransientFhirError) as caught:
            deliver(port, timeout_s=0.25)
    assert caught.value.code == "timeout"
    assert not server.has_ended


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert), "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
        check=True,
        capture_output=True,
    )
    return cert, key


def _server_tls(certificate: tuple[Path, Path], *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate[0])
    return context


@pytest.mark.parametrize("asks", [False, True], ids=["TLS", "mutual TLS"])
def test_the_report_travels_over_tls(certificate: tuple[Path, Path], asks: bool) -> None:
    cert, key = certificate
    answer = framed("MSH|^~\\&|RIS\rMSA|AE|someone else\r")
    own: dict[str, Any] = {"certificate_file": cert, "key_file": key} if asks else {}
    tls = _server_tls(certificate, asks=asks)
    with raw_receiver(answer, tls) as port, pytest.raises(TransientFhirError) as caught:
        deliver(port, tls=True, ca_file=cert, **own)
    # It came as far as the answer, which is one to another message.
    assert caught.value.code == "bad_response"


def test_a_receiver_that_is_not_trusted_gets_nothing(certificate: tuple[Path, Path]) -> None:
    with (
        raw_receiver(b"", _server_tls(certificate)) as port,
        pytest.raises(TransientFhirError) as caught,
    ):
        deliver(port, tls=True)
    assert caught.value.code == "tls"


def test_a_receiver_that_asks_for_a_certificate_is_not_reached_without(
    certificate: tuple[Path, Path],
) -> None:
    with (
        raw_receiver(b"", _server_tls(certificate, asks=True)) as port,
        pytest.raises(FhirError) as caught,
    ):
        deliver(port, tls=True, ca_file=certificate[0])
    assert caught.value.code in ("tls", "no_connection", "no_answer")


def test_certificates_that_cannot_be_used_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PermanentFhirError, match="certificates cannot be used"):
        deliver(1, tls=True, ca_file=tmp_path / "none.pem")

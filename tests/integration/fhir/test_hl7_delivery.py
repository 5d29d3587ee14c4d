from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import hl7
import pytest

from fhir.bundle import finished_at
from fhir.errors import PermanentFhirError, TransientFhirError
from fhir.hl7_delivery import Hl7Client
from fhir.hl7_report import build_oru
from storage.records import FinishedJob
from tests.peers.certificates import Site, make_site
from tests.peers.dripping_http import DrippingServer
from tests.peers.mllp import END, START, Hl7Receiver, raw_receiver
from tests.peers.openssl_ca import OpensslCa
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


@pytest.fixture
def certificates(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


def _server_tls(site: Site, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.pacs.certificate_file, site.pacs.key_file)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(site.ca_file)
    return context


@pytest.mark.parametrize("asks", [False, True], ids=["TLS", "mutual TLS"])
def test_the_report_travels_over_tls(certificates: Site, asks: bool) -> None:
    job = with_findings()
    control_id = build_oru(
        job, destination=destination(), timezone="UTC", issued=finished_at(job)
    ).control_id
    answer = framed(f"MSH|^~\\&|RIS\rMSA|AA|{control_id}\r")
    with raw_receiver(answer, _server_tls(certificates, asks=asks)) as port:
        assert deliver(port, job, tls=certificates.client())["ack"] == "AA"


def test_a_receiver_of_another_ca_gets_nothing(certificates: Site, tmp_path: Path) -> None:
    other = make_site(tmp_path / "other")
    tls = certificates.client(ca_file=other.ca_file)
    with (
        raw_receiver(b"", _server_tls(certificates)) as port,
        pytest.raises(TransientFhirError) as caught,
    ):
        deliver(port, tls=tls)
    assert caught.value.code == "tls"


def test_a_receiver_whose_certificate_was_withdrawn_gets_nothing(
    certificates: Site, tmp_path: Path
) -> None:
    ca = OpensslCa(certificates.ca_file.parent)
    ca.withdraw(certificates.pacs.certificate_file)
    tls = certificates.client(revocation_lists=(ca.write_list(tmp_path / "ca.crl"),))
    with (
        raw_receiver(b"", _server_tls(certificates)) as port,
        pytest.raises(TransientFhirError, match="withdrawn"),
    ):
        deliver(port, tls=tls)


def test_a_receiver_that_asks_for_a_certificate_is_not_reached_without(
    certificates: Site,
) -> None:
    tls = certificates.client(certificate_file=None, key_file=None)
    with (
        raw_receiver(b"", _server_tls(certificates, asks=True)) as port,
        pytest.raises(TransientFhirError) as caught,
    ):
        deliver(port, tls=tls)
    assert caught.value.code in ("tls", "no_connection", "no_answer")


def test_a_receiver_may_be_known_by_another_name(certificates: Site) -> None:
    known = certificates.client(host_name="pacs.example")
    unknown = certificates.client(host_name="ris.example")
    for tls, code in ((known, "no_answer"), (unknown, "tls")):
        with (
            raw_receiver(b"", _server_tls(certificates)) as port,
            pytest.raises(TransientFhirError) as caught,
        ):
            deliver(port, tls=tls)
        assert caught.value.code == code


def test_certificates_that_cannot_be_used_wait_for_better_ones(certificates: Site) -> None:
    certificates.node.key_file.chmod(0o644)
    with pytest.raises(TransientFhirError) as caught:
        deliver(1, tls=certificates.client())
    assert caught.value.code == "certificates"
    assert "chmod 600" in caught.value.text

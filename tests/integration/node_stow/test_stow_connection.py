"""Servers that are down, slow, half open, endless or not the one they should be."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.certificate_maker import CertificateMaker
from node.errors import TransientDelivery
from node.stow import exchange
from tests.integration.node_stow.scripted_stow import StowScript
from tests.integration.node_stow.stow_sending import Tries
from tests.peers.certificates import Site, age, make_site, mutual_tls_server
from tests.peers.dripping_http import DrippingServer
from tests.peers.ports import free_port
from tests.peers.scripted_http import Answer, ScriptedHttpServer


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


@pytest.fixture
def server(site: Site) -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer(StowScript(), mutual_tls_server(site)) as running:
        yield running


def _ours(site: Site, **changes: Any) -> dict[str, Any]:
    files = {
        "ca_file": site.ca_file,
        "certificate_file": site.node.certificate_file,
        "key_file": site.node.key_file,
    }
    return {**files, **changes}


def test_both_sides_prove_themselves(tries: Tries, server: ScriptedHttpServer, site: Site) -> None:
    assert len(tries.send(server.base_url, **_ours(site))) == 2


def test_a_server_of_another_ca_gets_nothing(
    tries: Tries, server: ScriptedHttpServer, site: Site, tmp_path: Path
) -> None:
    other = make_site(tmp_path / "other")
    failure = tries.failure(server.base_url, **_ours(site, ca_file=other.ca_file))
    assert (type(failure), failure.code) == (TransientDelivery, "tls_certificate_untrusted")
    assert server.requests == []


def test_a_certificate_for_another_host_is_taken_only_where_the_site_says_so(
    tries: Tries, site: Site, tmp_path: Path
) -> None:
    named = CertificateMaker(tmp_path / "site").make("named", ["pacs.example"], days=9)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(named.certificate_file, named.key_file)
    with ScriptedHttpServer(StowScript(), tls) as server:
        failure = tries.failure(server.base_url, **_ours(site))
        sent = tries.send(server.base_url, **_ours(site, verify_host_name=False))

    assert (type(failure), failure.code) == (TransientDelivery, "tls_host_name_differs")
    assert len(sent) == 2


def test_an_expired_certificate_of_ours_waits_and_a_renewed_one_is_used_at_once(
    tries: Tries, server: ScriptedHttpServer, site: Site, tmp_path: Path
) -> None:
    age(site.node.certificate_file, tmp_path / "site")
    failure = tries.failure(server.base_url, **_ours(site))
    age(site.node.certificate_file, tmp_path / "site", days_left=30)

    assert (type(failure), failure.code) == (TransientDelivery, "tls_files")
    assert len(tries.send(server.base_url, **_ours(site))) == 2


def test_without_a_certificate_nothing_is_taken(
    tries: Tries, server: ScriptedHttpServer, site: Site
) -> None:
    failure = tries.failure(server.base_url, ca_file=site.ca_file)
    assert isinstance(failure, TransientDelivery)
    assert server.requests == []


def test_a_server_that_is_down_waits(tries: Tries) -> None:
    failure = tries.failure(f"http://127.0.0.1:{free_port()}/dicom-web")
    assert (type(failure), failure.code) == (TransientDelivery, "connection")


def test_a_server_that_takes_the_connection_and_nothing_more_is_given_up(tries: Tries) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/dicom-web"
        failure = tries.failure(url, timeout_s=0.3)
    assert (type(failure), failure.code) == (TransientDelivery, "timeout")


def test_an_answer_that_drips_is_ended_although_no_single_wait_is_long(tries: Tries) -> None:
    with DrippingServer(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n") as server:
        failure = tries.failure(server.base_url, timeout_s=0.5)
    assert (type(failure), failure.code) == (TransientDelivery, "timeout")
    assert not server.has_ended


def test_an_endless_answer_is_not_read(tries: Tries) -> None:
    endless = Answer(200, b" " * (exchange.MOST_MIB * 2**20 + 1))
    with ScriptedHttpServer(lambda _: endless) as server:
        failure = tries.failure(server.base_url)
    assert (type(failure), failure.code) == (TransientDelivery, "answer_too_large")

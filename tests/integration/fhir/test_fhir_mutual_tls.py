"""An EHR that asks for a client certificate gets ours, as the files have it at that moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir.client import FhirClient
from fhir.errors import PatientNotResolved, TransientFhirError
from tests.integration.fhir.ehr import destination
from tests.integration.fhir.scripted_answers import answers
from tests.peers.certificates import Site, age, make_site, mutual_tls_server
from tests.peers.openssl_ca import OpensslCa
from tests.peers.scripted_http import ScriptedHttpServer
from tests.unit.fhir.finished_jobs import with_findings


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


@pytest.fixture
def server(site: Site) -> Iterator[ScriptedHttpServer]:
    with ScriptedHttpServer(answers(), mutual_tls_server(site)) as running:
        yield running


def _client(server: ScriptedHttpServer, site: Site, **changes: Any) -> FhirClient:
    values = {
        "ca_file": site.ca_file,
        "certificate_file": site.node.certificate_file,
        "key_file": site.node.key_file,
        **changes,
    }
    return FhirClient(destination(server.base_url, **values), "Radiology", "UTC")


def _code(client: FhirClient) -> str:
    with pytest.raises(TransientFhirError) as caught:
        client.deliver(with_findings())
    return caught.value.code


def test_our_certificate_opens_the_way(server: ScriptedHttpServer, site: Site) -> None:
    with _client(server, site) as client, pytest.raises(PatientNotResolved):
        client.deliver(with_findings())
    assert server.requests


def test_without_a_certificate_nothing_is_asked(server: ScriptedHttpServer, site: Site) -> None:
    with _client(server, site, certificate_file=None, key_file=None) as client:
        assert _code(client) == "connection"
    assert server.requests == []


def test_a_server_of_another_ca_gets_nothing(
    server: ScriptedHttpServer, site: Site, tmp_path: Path
) -> None:
    other = make_site(tmp_path / "other")
    with _client(server, site, ca_file=other.ca_file) as client:
        assert _code(client) == "connection"
    assert server.requests == []


def test_an_expired_certificate_waits_for_its_renewal_and_needs_no_restart(
    server: ScriptedHttpServer, site: Site, tmp_path: Path
) -> None:
    good = site.node.certificate_file.read_bytes()
    age(site.node.certificate_file, tmp_path / "site")
    with _client(server, site) as client:
        assert _code(client) == "client_certificate"
        site.node.certificate_file.write_bytes(good)
        with pytest.raises(PatientNotResolved):
            client.deliver(with_findings())


def test_a_key_that_others_can_read_is_not_used(server: ScriptedHttpServer, site: Site) -> None:
    site.node.key_file.chmod(0o644)
    with _client(server, site) as client:
        assert _code(client) == "client_certificate"
    assert server.requests == []


def test_an_ehr_whose_certificate_was_withdrawn_gets_nothing_from_then_on(
    server: ScriptedHttpServer, site: Site, tmp_path: Path
) -> None:
    ca = OpensslCa(site.ca_file.parent)
    path = ca.write_list(tmp_path / "ca.crl")
    with _client(server, site, revocation_lists=(path,)) as client:
        with pytest.raises(PatientNotResolved):
            client.deliver(with_findings())
        asked = len(server.requests)
        ca.withdraw(site.pacs.certificate_file)
        ca.write_list(path)
        with pytest.raises(TransientFhirError, match="withdrawn"):
            client.deliver(with_findings())
        path.write_bytes(b"")
        assert _code(client) == "revocation_lists"
    assert len(server.requests) == asked

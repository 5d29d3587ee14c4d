"""An update that names the version it replaces: refused where another version is the newest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fhir.errors import FhirError, PermanentFhirError, TransientFhirError
from fhir.transport import FhirTransport
from tests.integration.fhir.ehr import destination, imaging_study, patient
from tests.integration.fhir.scripted_answers import told
from tests.peers.fhir_server import FhirServer
from tests.peers.scripted_http import ScriptedHttpServer

Json = dict[str, Any]
Writing = Callable[[FhirTransport, Json, str], Any]


def in_a_transaction(transport: FhirTransport, study: Json, if_match: str) -> None:
    request = {"method": "PUT", "url": f"ImagingStudy/{study['id']}", "ifMatch": if_match}
    full_url = "urn:uuid:00000000-0000-4000-8000-000000000000"
    entry = {"fullUrl": full_url, "resource": study, "request": request}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    transport.transaction(json.dumps(bundle), is_guarded=True)


def alone(transport: FhirTransport, study: Json, if_match: str) -> None:
    transport.update("ImagingStudy", study, if_match)


WAYS: dict[str, Writing] = {"transaction": in_a_transaction, "update": alone}


@pytest.mark.peer("fhir_server")
@pytest.mark.parametrize("way", WAYS)
def test_the_newest_version_may_be_replaced_and_no_older_one(server: FhirServer, way: str) -> None:
    server.reset([patient(), imaging_study()])
    (study,) = server.all("ImagingStudy")
    newest = f'W/"{study.pop("meta")["versionId"]}"'
    changed = study | {"numberOfInstances": 40}
    with FhirTransport(destination(server.base_url)) as transport:
        WAYS[way](transport, changed, newest)
        with pytest.raises(TransientFhirError, match="changed_meanwhile"):
            WAYS[way](transport, study, newest)
    assert server.all("ImagingStudy")[0]["numberOfInstances"] == 40


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("status", "issue", "kind"),
    [
        (409, "conflict", TransientFhirError),
        (412, "conflict", TransientFhirError),
        (412, "multiple-matches", PermanentFhirError),
        (422, "processing", PermanentFhirError),
    ],
)
def test_only_a_newer_version_is_worth_another_try(
    scripted: ScriptedHttpServer, way: str, status: int, issue: str, kind: type[FhirError]
) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": issue}]}
    scripted.answer = lambda _request: told(outcome, status)
    with (
        FhirTransport(destination(scripted.base_url)) as transport,
        pytest.raises(kind, match=f"status {status}: {issue}"),
    ):
        WAYS[way](transport, imaging_study(), 'W/"1"')


def test_a_refusal_of_what_named_no_version_is_for_good(scripted: ScriptedHttpServer) -> None:
    scripted.answer = lambda _request: told({}, 412)
    with FhirTransport(destination(scripted.base_url)) as transport:
        with pytest.raises(PermanentFhirError, match="http_412"):
            transport.transaction("{}")
        with pytest.raises(PermanentFhirError, match="http_412"):
            transport.update("ImagingStudy", imaging_study())

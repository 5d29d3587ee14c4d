"""Answers of an EHR that is not as it should be, for the scripted server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fhir.client import FhirClient
from storage.records import FinishedJob
from tests.integration.fhir.ehr import PATIENT_SYSTEM, destination
from tests.peers.scripted_http import Answer, Request, ScriptedHttpServer
from tests.unit.fhir.finished_jobs import with_findings

CAPABLE = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
NOTHING = {"resourceType": "Bundle", "type": "searchset", "total": 0}


def told(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def answers(**by_path: Answer) -> Callable[[Request], Answer]:
    """Answer by the last part of the path; searches find nothing unless told otherwise."""

    def answer(request: Request) -> Answer:
        path = request.path.removeprefix("/fhir").strip("/") or "transaction"
        name = path.removesuffix("/_search")
        default = told(CAPABLE) if name == "metadata" else told(NOTHING)
        return by_path.get(name, default)

    return answer


def found(*resources: dict[str, Any], **bundle: Any) -> Answer:
    entries = [{"resource": each, "search": {"mode": "match"}} for each in resources]
    return told({**NOTHING, "entry": entries, **bundle})


def anna(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": PATIENT_SYSTEM, "value": "MRN-4711"}],
        "name": [{"family": "Müller"}],
        "birthDate": "1961-05-17",
        **changes,
    }


def deliver(server: ScriptedHttpServer, finished: FinishedJob | None = None, **more: Any) -> None:
    with FhirClient(destination(server.base_url, **more), "Radiology", "UTC") as client:
        client.deliver(finished or with_findings())

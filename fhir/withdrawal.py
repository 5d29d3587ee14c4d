"""Taking back what was told of a result that newer work has replaced.

R4 keeps a wrong report and marks it `entered-in-error`: report and Observations are updated under
their ids, and a Provenance says when and by whom. What a person has signed is left to persons.
"""

from __future__ import annotations

import json
from html import escape
from typing import Final
from uuid import uuid5

from fhir.codes import DiagnosticReportStatus, System, concept
from fhir.errors import PermanentFhirError
from fhir.identifiers import NAMESPACE, ResultIdentity, measurement_role
from fhir.json_reading import Json
from fhir.narrative import withdrawn
from fhir.observation import qualified
from fhir.references import literal, organization
from fhir.renewal import found_before, guarded, is_ours
from fhir.resources.R4B.provenance import Provenance, ProvenanceAgent
from fhir.search import Searchable
from fhir.study_time import issued_at
from storage.records import FinishedJob

IN_ERROR: Final = DiagnosticReportStatus.ENTERED_IN_ERROR.value


def withdrawals(
    server: Searchable, finished: FinishedJob, identity: ResultIdentity, report: tuple[str, str]
) -> list[Json]:
    """What the server has of a result and does not know as withdrawn, as it shall be now.

    As entries of a transaction, which the server refuses where a person was faster. `report` is the
    type and role of the report, which comes last. Empty when there is nothing to take back: it
    never arrived, or it is withdrawn already.

    Raises:
        PermanentFhirError: a person has signed or amended the report.
    """
    roles = [
        ("Observation", measurement_role(each[0])) for each in qualified(finished.measurements)
    ]
    found = [_found(server, identity, kind, role) for kind, role in [*roles, report]]
    last = found[-1]
    if last is not None and not is_ours(last):
        text = "a person has signed or amended the report: take it back in the EHR"
        raise PermanentFhirError("report_signed", text)
    told = (each for each in found if each is not None and is_ours(each))
    why = withdrawn(finished)
    standing = [each for each in told if each["status"] != IN_ERROR]
    return [guarded(update_entry(_withdrawn(each, why)), each) for each in standing]


def place_of(resource: Json) -> str:
    """`Type/id`."""
    return f"{resource['resourceType']}/{resource['id']}"


def update_entry(resource: Json) -> Json:
    """A resource of the server's as the entry of a transaction."""
    request = {"method": "PUT", "url": place_of(resource)}
    return {"fullUrl": _full_url(resource), "resource": resource, "request": request}


def provenance_entry(withdrawn: list[Json], finished: FinishedJob, organization_name: str) -> Json:
    """Who took it back and when: the site, at the time when newer work replaced it."""
    assert finished.withdrawn_at is not None
    provenance = Provenance(
        # The report first: a Provenance is known again by it.
        target=[literal(each["resourceType"], each["id"]) for each in reversed(withdrawn)],
        recorded=issued_at(finished.withdrawn_at),
        activity=concept(System.V3_DATA_OPERATION, "NULLIFY", "nullify"),
        agent=[
            ProvenanceAgent(
                type=concept(System.PARTICIPANT_TYPE, "author", "Author"),
                who=organization(organization_name),
            )
        ],
    )
    resource = json.loads(provenance.model_dump_json())
    full_url = f"urn:uuid:{uuid5(NAMESPACE, place_of(withdrawn[-1]) + ' withdrawal')}"
    request = {"method": "POST", "url": "Provenance"}
    return {"fullUrl": full_url, "resource": resource, "request": request}


def _found(server: Searchable, identity: ResultIdentity, kind: str, role: str) -> Json | None:
    own = identity.identifier(role)
    identifier = {"system": own.system, "value": own.value}
    return found_before(server, {"resourceType": kind, "identifier": [identifier]})


def _withdrawn(resource: Json, why: str) -> Json:
    kept = {name: value for name, value in resource.get("meta", {}).items() if name == "security"}
    told = {**resource, "status": IN_ERROR, **_words(resource["resourceType"], why)}
    told.pop("meta", None)
    return {**told, "meta": kept} if kept else told


def _words(kind: str, why: str) -> Json:
    if kind == "DocumentReference":
        return {"docStatus": IN_ERROR, "description": why}
    if kind == "DiagnosticReport":
        page = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(why)}</p></div>'
        return {"conclusion": why, "text": {"status": "generated", "div": page}}
    return {}


def _full_url(resource: Json) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE, place_of(resource))}"

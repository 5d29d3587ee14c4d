"""What a server already has of a result, and whether that is still what there is to tell.

A job that failed and succeeds later, or whose result was withdrawn and is current again, keeps its
identifiers: what was told before is updated under its id. What a person has signed since is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from fhir.errors import PatientNotResolved, PatientProblem, PermanentFhirError
from fhir.json_reading import Json, child, objects, string
from fhir.search import Searchable, search_by_identifier

RENEWED: Final = ("Observation", "DiagnosticReport", "DocumentReference")
"""Of our resources, those that say something about the patient; the others stay as they are."""

_OURS: Final = frozenset(("preliminary", "cancelled", "entered-in-error", "current"))
_TELLING: Final = ("status", "docStatus", "conclusion")


class Updating(Searchable, Protocol):
    """Whatever can search and update; a `fhir.transport.FhirTransport`."""

    def update(self, resource_type: str, resource: Json, if_match: str = "") -> str:
        """PUT [base]/[type]/[id]: `Type/id`; `if_match` is the version that it shall replace."""
        ...


def found_before(server: Searchable, resource: Json) -> Json | None:
    """What the server has under the first identifier of a resource of ours.

    Raises:
        PermanentFhirError: it has several.
    """
    kind = string(resource, "resourceType")
    own = objects(resource.get("identifier"))[0]
    hits = search_by_identifier(server, kind, string(own, "system"), string(own, "value"))
    if hits.are_many:
        text = f"the server has several resources {kind} with the identifier of this result"
        raise PermanentFhirError("result_ambiguous", text)
    return hits.only


def is_outdated(found: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    """Whether what the server has says something else than what is to be told now."""
    if not is_ours(found):
        return False
    differs = any(found.get(name) != wanted.get(name) for name in _TELLING)
    return differs or _page(found) != _page(wanted)


def names_another(found: Json, wanted: Json) -> bool:
    """Whether both name a patient by id, and not the same one; servers may put their base first."""
    named = [patient_of(each) for each in (found, wanted)]
    return all(named) and named[0] != named[1]


def patient_of(resource: Json) -> str:
    """The id of the patient that a resource names literally, whatever the version, or ""."""
    reference = string(child(resource, "subject"), "reference")
    return reference.partition("/_history/")[0].rpartition("/")[2]


def of_another_patient() -> PatientNotResolved:
    """What was told before names another patient than the study does now."""
    text = "the EHR has this report under another patient: take it back there"
    return PatientNotResolved(PatientProblem.PATIENT_MISMATCH, text)


def is_ours(found: Mapping[str, object]) -> bool:
    """Whether nobody has signed or amended it since: its status is one that we give."""
    return found.get("status") in _OURS and found.get("docStatus") != "final"


def as_update(entry: Json, found: Json) -> Json:
    """The entry of a Bundle that replaces what the server has."""
    kind, own_id = string(found, "resourceType"), string(found, "id")
    request = {"method": "PUT", "url": f"{kind}/{own_id}"}
    return {**entry, "resource": {**entry["resource"], "id": own_id}, "request": request}


def guarded(update: Json, found: Json) -> Json:
    """The update, for the server to refuse where somebody else has changed it meanwhile."""
    if_match = version_of(found)
    return {**update, "request": {**update["request"], "ifMatch": if_match}} if if_match else update


def version_of(found: Json) -> str:
    """The entity tag of what the server has; "" where it keeps no versions."""
    version = string(child(found, "meta"), "versionId")
    return f'W/"{version}"' if version else ""


def as_updates(server: Searchable, entries: list[Json]) -> list[Json]:
    """The entries of a Bundle, as updates where the server has them already and outdated."""
    return [_as_update_where_outdated(server, each) for each in entries]


def _as_update_where_outdated(server: Searchable, entry: Json) -> Json:
    resource = entry["resource"]
    if resource["resourceType"] not in RENEWED:
        return entry
    found = found_before(server, resource)
    if found is None or not is_outdated(found, resource):
        return entry
    # A person may sign it between our reading and our writing.
    return guarded(as_update(entry, found), found)


def _page(resource: Mapping[str, object]) -> str:
    """The hash of a document's page; "" for what is no document."""
    contents = objects(resource.get("content"))
    return string(child(contents[0], "attachment"), "hash") if contents else ""

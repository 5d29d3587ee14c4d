"""Creating the entries of a Bundle one by one, for servers that take no transaction.

What a step made is kept before the next one is taken. Before anything is created it is looked
for by its identifier, so that an answer that was lost does not make it a second time.
"""

from __future__ import annotations

from typing import Protocol

from fhir.identifiers import if_none_exist
from fhir.json_reading import Json, child, objects, string
from fhir.parts import with_places
from fhir.patient import is_merged_into
from fhir.progress import Progress
from fhir.renewal import (
    RENEWED,
    Updating,
    found_before,
    is_outdated,
    names_another,
    of_another_patient,
    patient_of,
    version_of,
)
from fhir.resources.R4B.identifier import Identifier
from fhir.search import search
from fhir.study_time import same_second


class Creating(Updating, Protocol):
    """Whatever can search, create and update; a `fhir.transport.FhirTransport`."""

    def create(self, resource_type: str, resource: Json, if_none_exist: str = "") -> str:
        """POST [base]/[type]: `Type/id` of what was made, or is what the search finds."""
        ...


def create_one_by_one(server: Creating, entries: list[Json], progress: Progress) -> None:
    """Create what is missing and update what is outdated, in order.

    `progress` knows the place of each entry then.

    Raises:
        TransientFhirError: try again later; what was made until then is kept.
        PermanentFhirError: the server refused a resource, or has several of one identifier.
    """
    for entry in entries:
        full_url = string(entry, "fullUrl")
        if full_url not in progress.places:
            resource = with_places(entry["resource"], progress.places)
            progress.add({full_url: _written(server, entry, resource)})


def write_one_by_one(server: Creating, entries: list[Json]) -> None:
    """Update what has an id, create what has none and is not there yet; in order.

    Raises:
        TransientFhirError: try again later. PermanentFhirError: the server refused a resource.
    """
    for entry in entries:
        resource = entry["resource"]
        if "id" in resource:
            _update(server, entry, resource)
        elif _kept(server, resource) is None:
            _create(server, entry, resource)


def _written(server: Creating, entry: Json, resource: Json) -> str:
    if "id" in resource:
        return _update(server, entry, resource)
    return _kept(server, resource) or _create(server, entry, resource)


def _update(server: Creating, entry: Json, resource: Json) -> str:
    if_match = string(child(entry, "request"), "ifMatch")
    return server.update(string(resource, "resourceType"), resource, if_match)


def _create(server: Creating, entry: Json, resource: Json) -> str:
    return server.create(string(resource, "resourceType"), resource, _condition(entry, resource))


def _condition(entry: Json, resource: Json) -> str:
    """A search by an identifier of our own: it is a header, and those may stand in logs."""
    if resource["resourceType"] != "ImagingStudy":
        return string(child(entry, "request"), "ifNoneExist")
    # The first one is the study's UID, the last one marks it as ours.
    own = objects(resource["identifier"])[-1]
    return if_none_exist(Identifier(system=own["system"], value=own["value"]))


def _kept(server: Creating, resource: Json) -> str | None:
    """`Type/id` of this very resource, if an earlier try, or telling, has made it."""
    kind = string(resource, "resourceType")
    found = _known_provenance(server, resource)
    if kind != "Provenance":
        found = found_before(server, resource)
        if found and kind in RENEWED and is_outdated(found, resource):
            return server.update(kind, {**resource, "id": found["id"]}, version_of(found))
        if found and kind in RENEWED and _is_of_another(server, found, resource):
            raise of_another_patient()
    return f"{kind}/{found['id']}" if found else None


def _is_of_another(server: Creating, found: Json, wanted: Json) -> bool:
    """Whether both name different patients; one that was merged into the other is none."""
    if not names_another(found, wanted):
        return False
    return not is_merged_into(server, patient_of(found), patient_of(wanted))


def _known_provenance(server: Creating, resource: Json) -> Json | None:
    """A Provenance has no identifier in R4: it is known by its report and its time."""
    if resource["resourceType"] != "Provenance":
        return None
    report = string(objects(resource.get("target"))[0], "reference")
    found = search(server, "Provenance", {"target": report})
    recorded = string(resource, "recorded")
    about = (each for each in found.resources if _is_about(each, report))
    same = (each for each in about if same_second(string(each, "recorded"), recorded))
    return next(same, None)


def _is_about(provenance: Json, report: str) -> bool:
    targets = objects(provenance.get("target"))
    return any(string(each, "reference").endswith(report) for each in targets)

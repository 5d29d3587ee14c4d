"""Creating the entries of a Bundle one by one, for servers that take no transaction.

What a step made is kept before the next one is taken. Before anything is created it is looked
for by its identifier, so that an answer that was lost does not make it a second time.
"""

from __future__ import annotations

from typing import Protocol

from fhir.errors import PermanentFhirError
from fhir.json_reading import Json, objects, string
from fhir.parts import with_places
from fhir.progress import Progress
from fhir.search import Hits, Searchable, search, search_by_identifier


class Creating(Searchable, Protocol):
    """Whatever can search and create; a `fhir.transport.FhirTransport`."""

    def create(self, resource_type: str, resource: Json) -> str:
        """POST [base]/[type]: `Type/id` of what was made."""
        ...


def create_one_by_one(server: Creating, entries: list[Json], progress: Progress) -> None:
    """Create what is missing, in order; `progress` knows the place of each entry then.

    Raises:
        TransientFhirError: try again later; what was made until then is kept.
        PermanentFhirError: the server refused a resource, or has several of one identifier.
    """
    for entry in entries:
        full_url = string(entry, "fullUrl")
        if full_url not in progress.places:
            resource = with_places(entry["resource"], progress.places)
            progress.add({full_url: _found(server, resource) or _create(server, resource)})


def _create(server: Creating, resource: Json) -> str:
    return server.create(string(resource, "resourceType"), resource)


def _found(server: Creating, resource: Json) -> str | None:
    """`Type/id` of this very resource, if an earlier try has made it."""
    kind = string(resource, "resourceType")
    hits = _hits(server, kind, resource)
    if hits.are_many:
        text = f"the server has several resources {kind} with the identifier of this result"
        raise PermanentFhirError("result_ambiguous", text)
    return f"{kind}/{hits.only['id']}" if hits.only else None


def _hits(server: Creating, kind: str, resource: Json) -> Hits:
    identifiers = objects(resource.get("identifier"))
    if identifiers:
        own = identifiers[0]
        return search_by_identifier(server, kind, string(own, "system"), string(own, "value"))
    # A Provenance has no identifier in R4: it is known by the report that it is about.
    report = string(objects(resource.get("target"))[0], "reference")
    found = search(server, kind, {"target": report})
    about = (each for each in found.resources if _is_about(each, report))
    return Hits(tuple(about), found.has_more)


def _is_about(provenance: Json, report: str) -> bool:
    targets = objects(provenance.get("target"))
    return any(string(each, "reference").endswith(report) for each in targets)

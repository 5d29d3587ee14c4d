"""Searching by identifier, with the answer checked before it is believed.

A lenient server may ignore a parameter that it does not know and answer with anything it has, so
each hit must carry the identifier that was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from fhir.errors import TransientFhirError
from fhir.identifiers import token
from fhir.json_reading import Json, child, objects, string

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


class Searchable(Protocol):
    """Whatever can send a search; a `fhir.transport.FhirTransport`."""

    def search(self, resource_type: str, parameters: Mapping[str, str]) -> Json:
        """The searchset Bundle."""
        ...


@dataclass(frozen=True, slots=True)
class Hits:
    """The matching resources of the first page, and whether there are further pages."""

    resources: tuple[Json, ...]
    has_more: bool

    @property
    def only(self) -> Json | None:
        """The one hit; None when there is none, or more than one."""
        return self.resources[0] if len(self.resources) == 1 and not self.has_more else None

    @property
    def are_many(self) -> bool:
        """More than one hit."""
        return self.has_more or len(self.resources) > 1


def search_by_identifier(server: Searchable, resource_type: str, system: str, value: str) -> Hits:
    """Resources that carry this very identifier."""
    found = search(server, resource_type, {"identifier": token(system, value)})
    matching = (each for each in found.resources if carries(each, system, value))
    return Hits(tuple(matching), found.has_more)


def search_by_id(server: Searchable, resource_type: str, resource_id: str) -> Hits:
    """The resource with this id, by search too: a read would put the id in a URL."""
    found = search(server, resource_type, {"_id": resource_id})
    matching = (each for each in found.resources if each["id"] == resource_id)
    return Hits(tuple(matching), found.has_more)


def search(server: Searchable, resource_type: str, parameters: Mapping[str, str]) -> Hits:
    """What the server finds; whether it did as it was asked is for the caller to see."""
    answer = server.search(resource_type, parameters)
    if answer.get("resourceType") != "Bundle" or answer.get("type") != "searchset":
        text = f"search for {resource_type}: the answer is no searchset"
        raise TransientFhirError("bad_response", text)
    entries = objects(answer.get("entry"))
    resources = (child(entry, "resource") for entry in entries if _is_match(entry))
    has_more = any(string(link, "relation") == "next" for link in objects(answer.get("link")))
    usable = (each for each in resources if _is_usable(each, resource_type))
    return Hits(tuple(usable), has_more)


def _is_match(entry: Json) -> bool:
    return string(child(entry, "search"), "mode") in ("", "match")


def _is_usable(resource: Json, resource_type: str) -> bool:
    has_type = resource.get("resourceType") == resource_type
    return has_type and _ID.fullmatch(string(resource, "id")) is not None


def carries(resource: Json, system: str, value: str) -> bool:
    """Whether a resource carries this very identifier."""
    carried = objects(resource.get("identifier"))
    return any(each.get("system") == system and each.get("value") == value for each in carried)

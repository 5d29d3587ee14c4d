"""A Bundle cut into parts, for servers that take no large one, or none at all.

References between parts become literal once what they point at is on the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fhir.json_reading import Json, child, string

_BELONG_TOGETHER: Final = 2
"""The report and its Provenance end a Bundle, and are never torn apart."""


def parts_of(entries: list[Json], most_entries: int | None) -> list[list[Json]]:
    """The entries in their order, in parts of at most `most_entries` (at least 2; None: one)."""
    if most_entries is None or len(entries) <= most_entries:
        return [entries]
    sources, report = entries[:-_BELONG_TOGETHER], entries[-_BELONG_TOGETHER:]
    starts = range(0, len(sources), most_entries)
    return [*(sources[start : start + most_entries] for start in starts), report]


def self_contained_parts(entries: list[Json], most_entries: int | None) -> list[list[Json]]:
    """As `parts_of`, for parts that are posted in turn by somebody who reads no answers.

    What stands in another part is named by a conditional reference, `Type?identifier=...`.
    """
    conditions = {string(each, "fullUrl"): _condition(each) for each in entries}
    return [_self_contained(part, conditions) for part in parts_of(entries, most_entries)]


def _self_contained(part: list[Json], conditions: Mapping[str, str]) -> list[Json]:
    own = {string(each, "fullUrl") for each in part}
    others = {url: told for url, told in conditions.items() if url not in own}
    told: list[Json] = with_places(part, others)
    return told


def _condition(entry: Json) -> str:
    request = child(entry, "request")
    url, query = string(request, "url"), string(request, "ifNoneExist")
    return f"{url}?{query}" if query else url


def with_places(value: Any, places: Mapping[str, str]) -> Any:
    """JSON with each reference to a `fullUrl` that has a place (`Type/id`) made literal."""
    if isinstance(value, list):
        return [with_places(each, places) for each in value]
    if not isinstance(value, dict):
        return value
    told = {name: with_places(each, places) for name, each in value.items()}
    reference = told.get("reference")
    if isinstance(reference, str) and reference in places:
        told["reference"] = places[reference]
    return told

"""Whether a server can do what the settings ask of it, by its CapabilityStatement.

None of this is a verdict on a report: the EHR may be in the middle of an upgrade, or `base_url`
name the wrong endpoint. The reports wait, visibly, rather than die one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from config.settings import FhirDestination
from fhir.errors import TransientFhirError
from fhir.json_reading import Json, objects, string

_FHIR_4_0: Final = re.compile(r"4\.0\.\d+")
_CREATED: Final[Mapping[str, tuple[str, ...]]] = {
    "sequential": ("Device", "Observation", "DiagnosticReport", "Provenance"),
    "documentreference": ("DocumentReference",),
}


def check_capability(statement: Json, destination: FhirDestination) -> None:
    """Make sure that the server speaks FHIR 4.0 and takes reports in the configured mode.

    Raises:
        TransientFhirError: code `bad_response`, `fhir_version` or `mode_impossible`.
    """
    if statement.get("resourceType") != "CapabilityStatement":
        text = "metadata: the answer is no CapabilityStatement"
        raise TransientFhirError("bad_response", text)
    if _FHIR_4_0.fullmatch(string(statement, "fhirVersion")) is None:
        text = "the server does not speak FHIR R4 (4.0.x), the only version that is sent"
        raise TransientFhirError("fhir_version", text)
    missing = _missing(statement, destination)
    if missing:
        text = f"mode {destination.mode}: the server does not offer {missing}; set another mode"
        raise TransientFhirError("mode_impossible", text)


def _missing(statement: Json, destination: FhirDestination) -> str:
    """What the mode needs and the statement lacks; a statement that lists nothing lacks nothing."""
    servers = [each for each in objects(statement.get("rest")) if _is_server(each)]
    if destination.mode == "transaction":
        offered = _codes(interaction for each in servers for interaction in _interactions(each))
        return "transaction" if offered and "transaction" not in offered else ""
    resources = [each for server in servers for each in objects(server.get("resource"))]
    if not resources:
        return ""
    creatable = {
        string(each, "type") for each in resources if "create" in _codes(_interactions(each))
    }
    wanted = _CREATED[destination.mode]
    return ", ".join(f"create of {each}" for each in wanted if each not in creatable)


def _is_server(rest: Json) -> bool:
    return string(rest, "mode") in ("server", "")


def _interactions(value: Json) -> list[Json]:
    return objects(value.get("interaction"))


def _codes(interactions: Iterable[Json]) -> set[str]:
    return {string(each, "code") for each in interactions}

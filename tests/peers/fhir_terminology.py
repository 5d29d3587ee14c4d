"""Codes as HL7 and NEMA publish them: which of those that a resource states do not exist."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydicom.sr.codedict import codes

from tests.peers.fhir_server import FOLDER

Json = dict[str, Any]

_DEFINITIONS = FOLDER / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4"
_HL7 = ("http://terminology.hl7.org/", "http://hl7.org/fhir/")
_DICOM = {
    "http://dicom.nema.org/resources/ontology/DCM": "DCM",
    "http://snomed.info/sct": "SCT",
}
_OWN = "urn:radnode:"
_KNOWN_ELSEWHERE = frozenset({"http://loinc.org", "http://unitsofmeasure.org"})
"""UCUM is judged by the server's grammar; of LOINC there is no list to be had here."""

_PUBLISHED_LATER = frozenset(
    {("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "AIAST")}
)
"""HL7 Terminology grows beside R4, whose own copy of it is of 2019."""


def unknown_codes(resource: Json) -> list[str]:
    """Every `system|code` in a resource that its publisher does not know."""
    return sorted({f"{s}|{c}" for s, c in _codings(resource) if not _exists(s, c)})


def _codings(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for each in value:
            yield from _codings(each)
    if isinstance(value, Mapping):
        if isinstance(value.get("system"), str) and isinstance(value.get("code"), str):
            yield value["system"], value["code"]
        for each in value.values():
            yield from _codings(each)


def _exists(system: str, code: str) -> bool:
    if system.startswith(_OWN) or system in _KNOWN_ELSEWHERE or (system, code) in _PUBLISHED_LATER:
        return True
    if system in _DICOM:
        return code in _dicom_codes(_DICOM[system])
    if system == "urn:ietf:rfc:3986":
        return code.startswith(("urn:oid:", "urn:uuid:"))
    return system.startswith(_HL7) and code in _hl7_codes().get(system, frozenset())


@cache
def _dicom_codes(scheme: str) -> frozenset[str]:
    collection = getattr(codes, scheme)
    return frozenset(getattr(collection, keyword).value for keyword in collection.dir())


@cache
def _hl7_codes() -> Mapping[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for file in ("v3-codesystems.json", "v2-tables.json", "valuesets.json"):
        for entry in json.loads((_DEFINITIONS / file).read_text())["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "CodeSystem":
                found[resource["url"]] = frozenset(_concepts(resource.get("concept", [])))
    return found


def _concepts(listed: list[Json]) -> Iterator[str]:
    for each in listed:
        yield each["code"]
        yield from _concepts(each.get("concept", []))

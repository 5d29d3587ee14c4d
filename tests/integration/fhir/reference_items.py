"""The items in which two Bundles about one report are compared, and why they differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
Pick = Callable[[Json], Any]


def resource(bundle: Json, kind: str) -> Json:
    """The first resource of a kind; empty where there is none."""
    found = (entry["resource"] for entry in bundle["entry"])
    return next((each for each in found if each["resourceType"] == kind), {})


def observation(bundle: Json, quantity: str) -> Json:
    """The Observation of a quantity; empty where there is none."""
    kinds = (entry["resource"] for entry in bundle["entry"])
    found = (each for each in kinds if each["resourceType"] == "Observation")
    return next((each for each in found if code(each.get("code"))[1].endswith(quantity)), {})


def value(told: Json) -> float:
    """The number of an Observation."""
    return float(told["valueQuantity"]["value"])


def code(concept: Json | None) -> tuple[str, str]:
    """`system code` and display of the first coding."""
    first: Json = next(iter((concept or {}).get("coding", [])), {})
    return f"{first.get('system', '')} {first.get('code', '')}".strip(), first.get("display", "")


def kinds(bundle: Json) -> str:
    """How many resources of which kind, in the order in which they stand."""
    names = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))


def _of(kind: str, pick: Pick) -> Pick:
    return lambda bundle: pick(resource(bundle, kind))


def _volume(pick: Pick) -> Pick:
    return lambda bundle: pick(observation(bundle, "Volume"))


def _coded(name: str) -> Pick:
    return lambda told: code(told.get(name))[0]


def _quantity(told: Json) -> str:
    found = told["valueQuantity"]
    return f"{found['value']:g} {found['unit']}, {found['system']} {found['code']}"


def _identifiers(told: Json) -> str:
    found = told.get("identifier", [])
    return ", ".join(f"{one['system']} {_short(one['value'])}" for one in found)


def _short(text: str) -> str:
    return text if len(text) <= 44 else f"{text[:41]}..."


def _reference(told: Any) -> str:
    first = told[0] if isinstance(told, list) and told else told
    return str((first or {}).get("reference", "")).split("/")[0].split(":")[0] if first else ""


def _series(told: Json) -> str:
    found = told.get("series", [])
    return ", ".join(
        f"{one['modality']['code']} with {len(one.get('instance', []))} instances listed"
        for one in found
    )


def _sop_class(study: Json) -> str:
    listed = [one for series in study["series"] for one in series.get("instance", [])]
    kind = listed[0]["sopClass"]
    return kind if isinstance(kind, str) else _short(f"{kind['system']} {kind['code']}")


ROWS: tuple[tuple[str, Pick, str], ...] = (
    (
        "resources",
        kinds,
        "A Device and a Provenance say which model it was; nobody is created as patient. "
        "Intensities are not measured.",
    ),
    (
        "how it may be repeated",
        lambda b: "conditional" if "ifNoneExist" in b["entry"][0]["request"] else "not",
        "A delivery is repeated when an answer is lost.",
    ),
    (
        "request.url",
        lambda b: b["entry"][0]["request"]["url"] or "empty",
        "R4 wants the type for a create.",
    ),
    (
        "report: status",
        _of("DiagnosticReport", lambda r: r["status"]),
        "Theirs was verified by a reader, ours by nobody.",
    ),
    (
        "report: code",
        _of("DiagnosticReport", _coded("code")),
        "LOINC is what EHRs file reports by; 126000 is the title of the SR.",
    ),
    (
        "report: category",
        _of("DiagnosticReport", lambda r: ", ".join(code(c)[0] for c in r.get("category", []))),
        "US Core asks for it.",
    ),
    (
        "report: identifier",
        _of("DiagnosticReport", _identifiers),
        "The SR's UID is there, too, as R4 writes UIDs; our own identifier finds the report"
        " before there is an SR.",
    ),
    (
        "report: subject",
        _of("DiagnosticReport", lambda r: _reference(r["subject"])),
        "The same.",
    ),
    (
        "report: performer",
        _of(
            "DiagnosticReport",
            lambda r: (
                "actor (STU3)"
                if "actor" in r["performer"][0]
                else r["performer"][0].get("display", "")
            ),
        ),
        "R4 has no `actor`; the site answers for a device.",
    ),
    (
        "report: imagingStudy",
        _of("DiagnosticReport", lambda r: "stated" if r.get("imagingStudy") else ""),
        "The same.",
    ),
    (
        "report: basedOn",
        _of("DiagnosticReport", lambda r: _reference(r.get("basedOn"))),
        "The order is known by its accession number.",
    ),
    (
        "report: effective[x]",
        _of("DiagnosticReport", lambda r: r.get("effectiveDateTime", "")),
        "When the images were made.",
    ),
    (
        "report: conclusionCode",
        _of("DiagnosticReport", lambda r: code(next(iter(r.get("conclusionCode", [])), None))[0]),
        "That the algorithm succeeded, with or without findings (CID 6047).",
    ),
    (
        "report: security label",
        _of(
            "DiagnosticReport",
            lambda r: "AIAST" if "AIAST" in json.dumps(r.get("meta", {})) else "",
        ),
        "An algorithm asserts it.",
    ),
    (
        "patient",
        lambda b: "created" if resource(b, "Patient") else "referred to",
        "A patient is looked up, and never made.",
    ),
    (
        "volume: code",
        _volume(_coded("code")),
        "G-D705 is the same concept in SNOMED RT, which DICOM has retired for SNOMED CT.",
    ),
    (
        "volume: value",
        _volume(_quantity),
        "The SR states both units; 1 mL is 1000 mm3. `.m3` is no UCUM code, and a system is a URI.",
    ),
    (
        "volume: bodySite",
        _volume(_coded("bodySite")),
        "The same concept (T-62000 is its former code).",
    ),
    (
        "volume: status",
        _volume(lambda o: o["status"]),
        "As the report.",
    ),
    (
        "volume: category",
        _volume(lambda o: code(next(iter(o.get("category", [])), None))[0]),
        "Charts sort by it.",
    ),
    (
        "volume: identifier",
        _volume(_identifiers),
        "The tracking UID of SEG and SR, and one of our own for each quantity.",
    ),
    (
        "volume: subject",
        _volume(lambda o: _reference(o.get("subject"))),
        "Without it an Observation belongs to nobody.",
    ),
    (
        "volume: method",
        _volume(lambda o: "empty" if "method" in o else ""),
        "The model is the Device; an empty element is not valid R4.",
    ),
    (
        "volume: device",
        _volume(lambda o: "stated" if o.get("device") else ""),
        "One Device for each digest of a model.",
    ),
    (
        "volume: derivedFrom",
        _volume(lambda o: "stated" if o.get("derivedFrom") else ""),
        "The study whose images were measured.",
    ),
    (
        "attenuation",
        lambda b: (
            f"{len(observation(b, 'Attenuation Coefficient').get('component', []))} components"
            if observation(b, "Attenuation Coefficient")
            else ""
        ),
        "Mean, least, greatest and deviation of intensities are not measured by this node.",
    ),
    (
        "study: identity",
        _of("ImagingStudy", lambda s: "uid (STU3)" if "uid" in s else _identifiers(s)),
        "R4 has identifiers alone; the one of ours says that we made it.",
    ),
    (
        "study: modality",
        _of(
            "ImagingStudy",
            lambda s: (
                "modalityList (STU3)"
                if "modalityList" in s
                else ", ".join(m["code"] for m in s["modality"])
            ),
        ),
        "R4 calls it modality; the results' own are among them.",
    ),
    (
        "study: started",
        _of("ImagingStudy", lambda s: s["started"]),
        "A dateTime has a T and, with a time, a zone.",
    ),
    (
        "study: series",
        _of("ImagingStudy", _series),
        "The images are counted, and the instances of SEG and SR listed; theirs leaves the "
        "SEG out.",
    ),
    (
        "study: sopClass",
        _of("ImagingStudy", lambda s: _sop_class(s)),
        "A Coding in R4.",
    ),
    (
        "study: procedureCode",
        _of("ImagingStudy", lambda s: code(next(iter(s.get("procedureCode", [])), None))[0]),
        "P0-0099A says no more than that there was an imaging procedure.",
    ),
)
"""Item, how to find it in a Bundle, and why ours is as it is."""

"""Where a server has put what was sent: `Type/id`, from its answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fhir.errors import PermanentFhirError, TransientFhirError
from fhir.json_reading import Json, child, objects, string
from fhir.operation_outcome import summary

_LOCATION: Final = re.compile(r"(?:^|/)([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?$")
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def made_place(kind: str, location: str, resource: Json) -> str:
    """`Type/id` from the Location of an answer, or from the resource in it.

    Raises:
        TransientFhirError: neither tells; it may be stored all the same, the next try finds it.
    """
    match = _LOCATION.search(location)
    if match and match[1].startswith(f"{kind}/"):
        return match[1]
    resource_id = string(resource, "id")
    if match is None and _ID.fullmatch(resource_id):
        return f"{kind}/{resource_id}"
    text = f"the answer does not say where the {kind} is"
    raise TransientFhirError("bad_response", text)


def places_of_answer(sent: list[Json], answer: Json) -> dict[str, str]:
    """`Type/id` by `fullUrl`, from a transaction-response, which keeps the order of what was sent.

    Raises:
        PermanentFhirError: an entry was refused. TransientFhirError: the answer does not tell.
    """
    entries = objects(answer.get("entry"))
    if answer.get("resourceType") != "Bundle" or len(entries) != len(sent):
        text = "transaction: the answer does not tell what became of each entry"
        raise TransientFhirError("bad_response", text)
    pairs = zip(sent, entries, strict=True)
    return {string(entry, "fullUrl"): _entry_place(entry, made) for entry, made in pairs}


def receipt_of(made: Sequence[str]) -> dict[str, str]:
    """The receipt of a delivery: the report (or document), and the observations if there are."""
    reports = [each for each in made if each.startswith(("DiagnosticReport/", "DocumentRef"))]
    observations = [each for each in made if each.startswith("Observation/")]
    return {"report": reports[0], "observations": " ".join(observations)}


def _entry_place(entry: Json, made: Json) -> str:
    kind = string(child(entry, "resource"), "resourceType")
    request, response = child(entry, "request"), child(made, "response")
    if not string(response, "status").startswith("2"):
        text = f"transaction: {kind} was refused: {summary(response.get('outcome'))}"
        raise PermanentFhirError("entry_refused", text)
    if string(request, "method") == "PUT":
        return string(request, "url")
    return made_place(kind, string(response, "location"), child(made, "resource"))

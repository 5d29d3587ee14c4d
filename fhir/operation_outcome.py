"""What a server says went wrong, reduced to words of FHIR itself.

`diagnostics` and `details.text` quote what was sent, so they may hold patient data and are never
read. Of `code` and `expression` only known words pass: issue types of R4, element names of the
resources that we send, array indexes. No server can put a name or a number of its own in a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from fhir.json_reading import objects, strings
from fhir.resources.R4B.annotation import Annotation
from fhir.resources.R4B.attachment import Attachment
from fhir.resources.R4B.bundle import Bundle, BundleEntry, BundleEntryRequest
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.coding import Coding
from fhir.resources.R4B.device import Device, DeviceDeviceName, DeviceVersion
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.documentreference import (
    DocumentReference,
    DocumentReferenceContent,
    DocumentReferenceContext,
)
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.imagingstudy import (
    ImagingStudy,
    ImagingStudySeries,
    ImagingStudySeriesInstance,
)
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.narrative import Narrative
from fhir.resources.R4B.observation import Observation, ObservationComponent
from fhir.resources.R4B.provenance import Provenance, ProvenanceAgent, ProvenanceEntity
from fhir.resources.R4B.quantity import Quantity
from fhir.resources.R4B.reference import Reference

# fmt: off
ISSUE_TYPES: Final = frozenset((
    "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown",
    "expired", "forbidden", "suppressed", "processing", "not-supported", "duplicate",
    "multiple-matches", "not-found", "deleted", "too-long", "code-invalid", "extension",
    "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store",
    "exception", "timeout", "incomplete", "throttled", "informational",
))
# fmt: on
"""http://hl7.org/fhir/ValueSet/issue-type (R4)."""

MOST_ISSUES: Final = 5

_MODELS: Final = (
    *(Bundle, BundleEntry, BundleEntryRequest, Device, DeviceDeviceName, DeviceVersion),
    *(DiagnosticReport, ImagingStudy, ImagingStudySeries, ImagingStudySeriesInstance),
    *(Observation, ObservationComponent, Provenance, ProvenanceAgent, ProvenanceEntity),
    *(DocumentReference, DocumentReferenceContent, DocumentReferenceContext),
    *(Annotation, Attachment, CodeableConcept, Coding, Identifier, Meta, Narrative),
    *(Quantity, Reference),
)
_WORDS: Final = frozenset(
    {name for model in _MODELS for name in model.model_fields}
    | {model.get_resource_type() for model in _MODELS}
    | {"effective", "ofType"}
)
_STEP: Final = re.compile(r"([A-Za-z]+)(?:\(([A-Za-z]+)\))?((?:\[\d{1,3}\])*)", re.ASCII)


def summary(resource: Any) -> str:
    """The issues of an OperationOutcome, such as `required at Bundle.entry[2].resource.status`.

    Anything else than an OperationOutcome, or one without known words, gives "no reason given".
    """
    if not isinstance(resource, dict) or resource.get("resourceType") != "OperationOutcome":
        return "no reason given"
    issues = list(dict.fromkeys(map(_issue, objects(resource.get("issue")))))
    return "; ".join(issues[:MOST_ISSUES]) or "no reason given"


def _issue(issue: dict[str, Any]) -> str:
    code = issue.get("code")
    kind = code if isinstance(code, str) and code in ISSUE_TYPES else "unknown"
    places = list(_known_expressions(strings(issue.get("expression"))))
    return f"{kind} at {', '.join(places)}" if places else kind


def _known_expressions(expressions: Iterable[str]) -> Iterator[str]:
    for expression in expressions:
        steps = [_STEP.fullmatch(step) for step in expression.split(".")]
        if all(step is not None and _is_known(step) for step in steps):
            yield expression


def _is_known(step: re.Match[str]) -> bool:
    return all(word in _WORDS for word in (step[1], step[2]) if word is not None)

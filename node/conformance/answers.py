"""Statuses, rejections and aborts: what we answer, and what an answer makes us do."""

from __future__ import annotations

from node.conformance.markdown import code, hexadecimal, table
from node.errors import PermanentDelivery, TransientDelivery
from node.receive.admission import Rejection
from node.receive.association_ends import AbortReason
from node.receive.dimse_status import SUCCESS, StoreFailure
from node.store_status import failure_of, is_of_form

_RESULTS = {1: "permanent", 2: "transient"}
_SOURCES = {1: "service user", 2: "service provider (ACSE)", 3: "service provider (presentation)"}

# PS3.4 table B.2-1 and PS3.7 C: each status, or one of each range, that an SCP may answer.
_STORE_ANSWERS = (
    (0x0000, "Success"),
    (0x0001, "Requested optional attributes not supported"),
    (0x0107, "Attribute list error"),
    (0x0110, "Processing failure"),
    (0x0111, "Duplicate SOP Instance"),
    (0x0116, "Attribute value out of range"),
    (0x0117, "Invalid SOP Instance"),
    (0x0122, "SOP Class not supported"),
    (0x0124, "Not authorised"),
    (0x0210, "Duplicate invocation"),
    (0x0211, "Unrecognised operation"),
    (0x0212, "Mistyped argument"),
    (0x0213, "Resource limitation"),
    (0xA700, "Out of resources (0xA7xx)"),
    (0xA900, "Data set does not match SOP Class (0xA9xx)"),
    (0xB000, "Coercion of data elements (0xBxxx)"),
    (0xC000, "Cannot understand (0xCxxx)"),
)


def scp_statuses() -> list[str]:
    """Return what a C-STORE request is answered."""
    rows = [
        (
            hexadecimal(SUCCESS),
            "",
            "the instance is kept: its file is at its place and its row committed (for a "
            "moment a receipt may stand for both, with `durability: fsync` one that is on "
            "the disk, as the file is; what turns out then to contradict is quarantined "
            "all the same), or the very same data set was here before",
        )
    ]
    rows += [
        (hexadecimal(failure.status), code(failure.code), failure.comment)
        for failure in sorted(StoreFailure, key=lambda failure: failure.status)
    ]
    head = ("status", "in log and audit trail", "Error Comment (0000,0902), or when")
    return [
        "### C-STORE as SCP: what we answer",
        *table(head, rows),
        "After 0xA7xx the same instance can be accepted later without a change; what is refused "
        "otherwise stays refused until sender or configuration change.",
    ]


def scu_statuses() -> list[str]:
    """Return what the answer of a destination makes us do."""
    rows = [(hexadecimal(status), name, _consequence(status)) for status, name in _STORE_ANSWERS]
    rows.append(("none", "no answer, or the association ended", _consequence(None)))
    return [
        "### C-STORE as SCU: what an answer means to us",
        *table(("status", "meaning", "the delivery"), rows),
        "Another encoding is tried of segmentations only, and only while none is there; after the "
        "last one goes what the profile has in their place (`fallback`).",
    ]


def rejections() -> list[str]:
    """Return why an association is rejected."""
    head = ("reason", "result", "source", "reason/diagnostic")
    return [
        "### Associations that are rejected",
        *table(head, map(_rejection_row, Rejection)),
    ]


def aborts() -> list[str]:
    """Return the reasons with which the service provider ends an association."""
    rows = ((reason.name.lower().replace("_", " "), str(reason.value)) for reason in AbortReason)
    return [
        "### Associations that are aborted",
        *table(("reason of the service provider (source 2)", "value"), rows),
        "A peer that falls silent, and what is left when the node stops, is aborted by the "
        "service user (source 0).",
        "",
    ]


def _rejection_row(rejection: Rejection) -> tuple[str, ...]:
    result, source, diagnostic = rejection.primitive
    words = rejection.code.replace("_", " ")
    return (
        words,
        f"{result} ({_RESULTS[result]})",
        f"{source} ({_SOURCES[source]})",
        str(diagnostic),
    )


def _consequence(status: int | None) -> str:
    match failure_of(status, "object", "destination"):
        case None:
            return "is done"
        case TransientDelivery():
            return "is tried again by its retry curve"
        case PermanentDelivery() if status is not None and is_of_form(status):
            return "gives way to the next encoding of the profile, else is dead"
        case PermanentDelivery():
            return "is dead until a person retries it"

"""What the node does as a client of DICOMweb: STOW-RS (PS3.18 10.5), and what an answer means."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.uid import SegmentationStorage

from node.conformance.markdown import code, table
from node.errors import FormRefused, PermanentDelivery, TransientDelivery
from node.stow.answer import StoreAnswer
from node.stow.exchange import ACCEPT, LONGEST_EXCHANGE, LONGEST_PER_MIB_S, MOST_MIB
from node.stow.verdict import verdict_of

_UID = "2.25.1"
_STATUSES = (
    (200, "OK"),
    (202, "Accepted"),
    (301, "Moved, or another redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (413, "Payload Too Large"),
    (415, "Unsupported Media Type"),
    (429, "Too Many Requests"),
    (500, "Internal Server Error"),
    (503, "Service Unavailable"),
)
_REASONS = (
    (0x0110, "Processing failure"),
    (0x0111, "Duplicate SOP Instance"),
    (0x0122, "Referenced SOP Class not supported"),
    (0x0124, "Not authorised"),
    (0xA700, "Out of resources (0xA7xx)"),
    (0xA900, "Data set does not match SOP Class (0xA9xx)"),
    (0xC000, "Cannot understand (0xCxxx)"),
    (0xC122, "Referenced transfer syntax not supported"),
)


def store_client() -> list[str]:
    """Return what is sent to a DICOMweb server, and what its answer makes us do."""
    return [
        "### As a client of DICOMweb",
        "",
        "Store transaction (STOW-RS) to each destination of type `stow`: POST of `url`/studies,",
        "`multipart/related` of `application/dicom`, no identifier in the URL, one connection for",
        "each exchange, redirects not followed, TLS as below, with a client certificate, a bearer",
        "token or a login where they are set. Segmentations are posted before what refers to them.",
        f"Accept is {code(ACCEPT)}; an answer of more than {MOST_MIB} MiB is not read. An exchange",
        f"may take {LONGEST_EXCHANGE} times `timeout_s`, and {LONGEST_PER_MIB_S} s for each MiB.",
        "",
        "What the Referenced SOP Sequence (0008,1199) of the answer names is confirmed, and never",
        "sent again. Of what the Failed SOP Sequence (0008,1198) names the Failure Reason decides,",
        "whatever the status:",
        *table(("Failure Reason", "meaning", "the object"), _reason_rows()),
        "The status decides where the answer names none of the objects:",
        *table(("status", "meaning", "the delivery"), _status_rows()),
        "Objects that were sent and not confirmed are looked for by QIDO-RS (`confirm: find`), at",
        "`url`/studies/{study}/instances with SeriesInstanceUID and SOPInstanceUID, one search for",
        "each object, in DICOM JSON. The delivery is confirmed when all are listed; anything else",
        "proves nothing, and is asked again by the retry curve.",
        "",
        "Retry-After is honoured. After 413 and 415 what was posted together goes in halves first.",
        "",
    ]


def _reason_rows() -> Iterator[tuple[str, ...]]:
    for reason, meaning in _REASONS:
        answer = StoreAnswer({}, {_UID: reason})
        yield f"0x{reason:04X}", meaning, _consequence(409, answer)


def _status_rows() -> Iterator[tuple[str, ...]]:
    for status, meaning in _STATUSES:
        yield str(status), meaning, _consequence(status, StoreAnswer())


def _consequence(status: int, answer: StoreAnswer) -> str:
    verdict = verdict_of("", status, answer, {_UID: str(SegmentationStorage)})
    match verdict.failure:
        case None:
            return "is done" if verdict.is_proved else "is sent, and not confirmed"
        case FormRefused():
            return "gives way to the next encoding of the profile, else is dead"
        case TransientDelivery():
            return "is tried again by its retry curve"
        case PermanentDelivery():
            return "is dead until a person retries it"
        case other:
            raise TypeError(f"{type(other).__name__} is no verdict")

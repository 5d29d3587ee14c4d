"""What a receiver says to a message (HL7 v2.5.1, 2.9.2): MSA, and the code of ERR."""

from __future__ import annotations

import re
from typing import Final

from fhir.errors import PermanentFhirError, TransientFhirError

_ACCEPTED: Final = frozenset({"AA", "CA"})
_REFUSED: Final = frozenset({"AE", "AR", "CE", "CR"})
_PASSING: Final = frozenset({"206", "207"})
"""Table 0357: a record is locked, an internal error; of the message itself they say nothing."""
_ERROR_CODE: Final = re.compile(r"[0-9A-Za-z]{1,10}")
_HEADER: Final = re.compile(r"MSH.{5}", re.DOTALL)


def check_acknowledgement(content: str, control_id: str) -> str:
    """Return the code (MSA-1) of an answer that accepts the message.

    The texts of a refusal are dropped: they may quote what was sent.

    Raises:
        PermanentFhirError: it refuses the message (AE, AR).
        TransientFhirError: it cannot take it now; the answer is none, or one to another message.
    """
    segments = _segments(content)
    acknowledgement = segments.get("MSA", [])
    code, answered = _field(acknowledgement, 1), _field(acknowledgement, 2)
    if code not in _ACCEPTED | _REFUSED:
        raise TransientFhirError("bad_response", "the answer is no HL7 acknowledgement")
    if answered != control_id:
        text = "the answer acknowledges another message"
        raise TransientFhirError("bad_response", text)
    if code in _REFUSED:
        error = _error_code(segments.get("ERR", []), content[4])
        reason = f", error code {error}" if error else ""
        kind = TransientFhirError if error in _PASSING else PermanentFhirError
        raise kind(f"ack_{code.lower()}", f"the receiver answered {code}{reason}")
    return code


def _segments(content: str) -> dict[str, list[str]]:
    """The first segment of each name, as fields split by the answer's own separator (MSH-1)."""
    if _HEADER.match(content) is None:
        return {}
    separator = content[3]
    found: dict[str, list[str]] = {}
    for line in re.split(r"[\r\n]+", content):
        fields = line.split(separator)
        found.setdefault(fields[0], fields)
    return found


def _error_code(fields: list[str], component_separator: str) -> str:
    """ERR-3 (HL7 error code, table 0357) where it is fit for a log, or nothing."""
    code = _field(fields, 3).split(component_separator)[0]
    return code if _ERROR_CODE.fullmatch(code) else ""


def _field(fields: list[str], number: int) -> str:
    return fields[number].strip() if number < len(fields) else ""

"""Text that came from DICOM headers or settings, made fit for FHIR strings and XHTML."""

from __future__ import annotations

import re

_NOT_XML_CHARACTERS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str | None:
    """The text without what XML 1.0 forbids and without outer white space; None when empty.

    FHIR strings may not be empty (R4 datatypes, `string`), and the same text goes into XHTML.
    """
    return _NOT_XML_CHARACTERS.sub("", text).strip() or None

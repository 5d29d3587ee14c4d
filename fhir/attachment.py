"""Documents inside resources: bytes in base64, with their size and hash (R4 Attachment)."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import Final

from fhir.resources.R4B.attachment import Attachment

PDF: Final = "application/pdf"


def data_length(content: bytes) -> int:
    """How many characters of base64 the bytes are as `data`."""
    return (len(content) + 2) // 3 * 4


def attachment(content: bytes, content_type: str, *, title: str, creation: datetime) -> Attachment:
    """The bytes as an Attachment in English."""
    return Attachment(
        contentType=content_type,
        language="en",
        data=base64.b64encode(content),
        size=len(content),
        # R4 says SHA-1, for changes on the way and not against forgery.
        hash=base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()),
        title=title,
        creation=creation,
    )

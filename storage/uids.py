"""DICOM UIDs (PS3.5 9.1), as they come from others: checked before they become a part of a path."""

from __future__ import annotations

import hashlib
import re

from storage.errors import InvalidUid

MAX_UID_LENGTH = 64
# Leading zeros in a component are wrong (PS3.5 9.1), but devices write them; they do no harm.
UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def uid_tag(uid: str) -> str:
    """A short stand-in for a UID in logs: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(uid.encode("utf-8", "replace")).hexdigest()[:12]


def validated_uid(uid: str) -> str:
    """`uid` itself if it is a DICOM UID (PS3.5 9.1): digits and single dots, at most 64.

    Raises:
        InvalidUid: it is not; the text does not repeat it.
    """
    if len(uid) > MAX_UID_LENGTH or not UID.fullmatch(uid):
        raise InvalidUid(f"not a DICOM UID (length {len(uid)}, tag {uid_tag(uid)})")
    return uid

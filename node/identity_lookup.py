"""Whom and which order a study belongs to by now: asked of the PACS that sent it.

C-FIND at the STUDY level (PS3.4 C.6.2.1), or QIDO-RS where a URL is configured (PS3.18 10.6). What
the PACS does not tell, or leaves empty, is not known; that is no contradiction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset

from config.settings import SenderSettings
from node.errors import CountsUnavailable
from node.find_scu import find, find_association_of
from node.qido_counts import qido_answer
from node.receive.parse_errors import PARSE_ERRORS

Attributes = Mapping[str, str]
"""Values by keyword of the attributes in `ASKED`; what is not told is missing."""

ASKED = {
    "PatientID": "00100020",
    "IssuerOfPatientID": "00100021",
    "PatientName": "00100010",
    "PatientBirthDate": "00100030",
    "AccessionNumber": "00080050",
}
"""Keyword and tag of what is asked for."""


def ask_identity(
    sender: SenderSettings, study_instance_uid: str, *, calling_ae_title: str, timeout_s: float
) -> tuple[Attributes, ...]:
    """Return what the PACS behind `sender` says of a study: nothing, once, or, split, several.

    Raises:
        CountsUnavailable: it cannot be asked, or gives no usable answer.
    """
    if sender.qido_url is not None:
        return tuple(_by_qido(sender, study_instance_uid, timeout_s))
    with find_association_of(
        sender, calling_ae_title=calling_ae_title, timeout_s=timeout_s
    ) as assoc:
        matches = find(assoc, _query(study_instance_uid))
    try:
        return tuple(_told(match) for match in matches if _is_of(match, study_instance_uid))
    except PARSE_ERRORS as error:
        name = type(error).__name__
        raise CountsUnavailable(f"the C-FIND answer cannot be read: {name}") from None


def _query(study_instance_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = study_instance_uid
    for keyword in ASKED:
        setattr(query, keyword, "")
    return query


def _is_of(match: Dataset, study_instance_uid: str) -> bool:
    return str(match.get("StudyInstanceUID") or "") == study_instance_uid


def _told(match: Dataset) -> Attributes:
    match.decode()
    values = {keyword: str(match.get(keyword) or "").strip() for keyword in ASKED}
    # Without a character set, what is not ASCII cannot be compared.
    is_declared = bool(match.get("SpecificCharacterSet"))
    return {
        key: value for key, value in values.items() if value and (is_declared or _is_plain(value))
    }


def _is_plain(value: str) -> bool:
    return value.isascii()


def _by_qido(sender: SenderSettings, study_uid: str, timeout_s: float) -> Iterator[Attributes]:
    parameters = {"StudyInstanceUID": study_uid, "includefield": ",".join(ASKED.values())}
    content = qido_answer(sender, "studies", parameters, timeout_s)
    try:
        for item in json.loads(content or b"[]"):
            if _value(item, "0020000D") == study_uid:
                values = {keyword: _value(item, tag) for keyword, tag in ASKED.items()}
                yield {keyword: value for keyword, value in values.items() if value}
    except (*PARSE_ERRORS,):
        raise CountsUnavailable("the QIDO-RS answer is no DICOM JSON") from None


def _value(item: Mapping[str, Any], tag: str) -> str:
    """Give the first value; of a name all its component groups."""
    (value, *_) = item.get(tag, {}).get("Value") or [""]
    if isinstance(value, Mapping):
        groups = [str(value.get(name, "")) for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=").strip()
    return str(value if value is not None else "").strip()

"""A receipt as text: one line that holds all that the row of an instance needs.

A check sum, a blank, and JSON. A killed process may leave half a line behind; nobody was told
anything about that one, so it is passed over.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from zlib import crc32

from storage.dicom_records import (
    CodedConcept,
    IncomingInstance,
    PatientIdentity,
    SeriesHeader,
    StudyHeader,
)
from storage.errors import StorageError

_CHECK_DIGITS = 8
_MOST_KNOWN = 64


class _Known(NamedTuple):
    """The text of two headers; as long as they are held here, nothing else has their identity."""

    study: StudyHeader
    series: SeriesHeader
    text: str


class ReceiptWriter:
    """Writes the lines of one process; slice after slice, study and series are the same."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], _Known] = OrderedDict()

    def line(self, incoming: IncomingInstance) -> bytes:
        """Return the receipt of an instance."""
        headers = self._headers(incoming.study, incoming.series)
        content = f"{headers}, {json.dumps(_own(incoming))[1:]}".encode("ascii")
        return b"%08x %s\n" % (crc32(content), content)

    def _headers(self, study: StudyHeader, series: SeriesHeader) -> str:
        key = id(study), id(series)
        known = self._known.get(key)
        if known is None:
            text = json.dumps({"study": asdict(study), "series": asdict(series)})[:-1]
            known = self._known[key] = _Known(study, series, text)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return known.text


def read_receipts(content: bytes) -> Iterator[IncomingInstance]:
    """Yield the instances of the lines that are whole.

    Raises:
        StorageError: a line is whole, and not of this version.
    """
    for given in _whole(content):
        try:
            yield _incoming(given)
        except (KeyError, TypeError, ValueError):
            raise StorageError("a receipt of another version") from None


def receipt_paths(content: bytes) -> Iterator[str]:
    """Yield the paths of the files that the lines stand for, whichever version wrote them."""
    for given in _whole(content):
        yield str(given.get("path", ""))


def _whole(content: bytes) -> Iterator[Mapping[str, Any]]:
    for line in content.split(b"\n"):
        check, _, text = line.partition(b" ")
        if len(check) == _CHECK_DIGITS and check == b"%08x" % crc32(text):
            yield json.loads(text)


def _own(incoming: IncomingInstance) -> dict[str, Any]:
    return {
        "sop_instance_uid": incoming.sop_instance_uid,
        "sop_class_uid": incoming.sop_class_uid,
        "transfer_syntax_uid": incoming.transfer_syntax_uid,
        "instance_number": incoming.instance_number,
        "path": str(incoming.path),
        "size_bytes": incoming.size_bytes,
        "dataset_digest": incoming.dataset_digest,
        "calling_ae_title": incoming.calling_ae_title,
        "association_id": incoming.association_id,
        "is_own_result": incoming.is_own_result,
        "received_at": incoming.received_at.isoformat(),
        "is_late": incoming.is_late,
    }


def _incoming(given: Mapping[str, Any]) -> IncomingInstance:
    code = given["study"]["procedure_code"]
    study = given["study"] | {
        "patient": PatientIdentity(**given["study"]["patient"]),
        "procedure_code": None if code is None else CodedConcept(**code),
    }
    changed = {
        "study": StudyHeader(**study),
        "series": SeriesHeader(**given["series"]),
        "path": PurePosixPath(given["path"]),
        "received_at": datetime.fromisoformat(given["received_at"]),
    }
    return IncomingInstance(**{**given, **changed})

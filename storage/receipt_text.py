"""A receipt as text: one line that holds all that the row of an instance needs, but the digest.

Where that is missing, it is the digest of the file; earlier versions wrote it.

A check sum, a blank, and JSON. A killed process may leave half a line behind; nobody was told
anything about that one, so it is passed over.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from json.encoder import encode_basestring_ascii as quoted
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

_Key = tuple[int, int, str, str, str, int | None, bool]


class _Known(NamedTuple):
    """The text of two headers; as long as they are held here, nothing else has their identity."""

    study: StudyHeader
    series: SeriesHeader
    text: str


class ReceiptWriter:
    """Writes the lines of one process; slice after slice, most of the text is the same."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, _Known] = OrderedDict()

    def line(self, incoming: IncomingInstance) -> bytes:
        """Return the receipt of an instance."""
        content = f"{self._shared(incoming)}, {_own(incoming)}}}".encode("ascii")
        return b"%08x %s\n" % (crc32(content), content)

    def pieces(self, like: IncomingInstance) -> tuple[bytes, bytes, bytes, bytes]:
        """Return what stands before UID, Instance Number, path and size of a receipt.

        It is one of any instance of the series of `like`. Behind the size come, as in `line`, an
        empty digest and the time. UID and path are checked digits and dots, and need no quoting.
        """
        to_uid = f'{self._shared(like)}, "sop_instance_uid": "'.encode("ascii")
        return to_uid, b'", "instance_number": ', b', "path": "', b'", "size_bytes": '

    def _shared(self, incoming: IncomingInstance) -> str:
        key = (
            id(incoming.study),
            id(incoming.series),
            incoming.sop_class_uid,
            incoming.transfer_syntax_uid,
            incoming.calling_ae_title,
            incoming.association_id,
            incoming.is_own_result,
        )
        known = self._known.get(key)
        if known is None:
            text = _shared_text(incoming)
            known = self._known[key] = _Known(incoming.study, incoming.series, text)
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


def _shared_text(incoming: IncomingInstance) -> str:
    """Return what all instances have in common that a series gets over one association."""
    shared = {
        "study": asdict(incoming.study),
        "series": asdict(incoming.series),
        "sop_class_uid": incoming.sop_class_uid,
        "transfer_syntax_uid": incoming.transfer_syntax_uid,
        "calling_ae_title": incoming.calling_ae_title,
        "association_id": incoming.association_id,
        "is_own_result": incoming.is_own_result,
    }
    return json.dumps(shared)[:-1]


def _own(incoming: IncomingInstance) -> str:
    """Return what is of the one instance alone; made without a mapping, for it is made often."""
    number = incoming.instance_number
    return (
        f'"sop_instance_uid": {quoted(incoming.sop_instance_uid)}, '
        f'"instance_number": {"null" if number is None else number}, '
        f'"path": {quoted(incoming.path)}, '
        f'"size_bytes": {incoming.size_bytes}, '
        f'"dataset_digest": {quoted(incoming.dataset_digest)}, '
        f'"received_at": {quoted(incoming.received_at.isoformat())}'
    )


def _incoming(given: Mapping[str, Any]) -> IncomingInstance:
    code = given["study"]["procedure_code"]
    study = given["study"] | {
        "patient": PatientIdentity(**given["study"]["patient"]),
        "procedure_code": None if code is None else CodedConcept(**code),
    }
    changed = {
        "study": StudyHeader(**study),
        "series": SeriesHeader(**given["series"]),
        "path": str(given["path"]),
        "received_at": datetime.fromisoformat(given["received_at"]),
    }
    return IncomingInstance(**{**given, **changed})

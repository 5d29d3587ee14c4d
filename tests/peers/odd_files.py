"""Any file as something to send: its bytes stay, what is missing around them is guessed."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from tests.peers.raw_scu import (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    Answer,
    Proposal,
    RawAssociation,
)

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_INVENTED_UID = "1.2.826.0.1.3680043.10.1561.74.1"
_UID = re.compile(r"[0-9.]{1,64}")
_PREFIX_AT = 128
_LONG_VRS = frozenset({b"OB", b"UN", b"OW", b"SQ", b"UT"})
_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0002, 0x0003, 0x0010


@dataclass(frozen=True, slots=True)
class OddFile:
    """The data set's bytes as the file has them, and what to say of them in the command."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes

    def send(self, port: int) -> tuple[Answer, bool]:
        """Send it over an association of its own.

        The second value tells whether the declared SOP class and transfer syntax were accepted;
        where not, the bytes go out as a Secondary Capture in Explicit VR Little Endian.
        """
        syntaxes = (self.transfer_syntax_uid, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN)
        proposals = [Proposal(self.sop_class_uid, (one,)) for one in dict.fromkeys(syntaxes)]
        proposals.append(Proposal(SECONDARY_CAPTURE))
        with RawAssociation(port, proposals) as association:
            is_accepted = 0 in association.accepted
            chosen = 0 if is_accepted else len(proposals) - 1
            sop_class = proposals[chosen].abstract_syntax
            answer = association.store(chosen, sop_class, self.sop_instance_uid, self.data_set)
        return answer, is_accepted


def odd_file(path: Path) -> OddFile:
    """Read a file, DICOM or not, with or without preamble and File Meta Information."""
    content = path.read_bytes()
    start = _PREFIX_AT + 4 if content[_PREFIX_AT : _PREFIX_AT + 4] == b"DICM" else 0
    meta: dict[int, str] = {}
    for element, value, end in _file_meta(content, start):
        meta[element] = value.rstrip(b"\0 ").decode("ascii", "replace")
        start = end
    data_set = content[start:]
    guessed = meta.get(_TRANSFER_SYNTAX, "")
    syntax = guessed if _UID.fullmatch(guessed) else _guessed_syntax(data_set)
    named = _named_inside(path, data_set)
    return OddFile(
        path=path,
        sop_class_uid=_first_uid(named[0], meta.get(_SOP_CLASS), SECONDARY_CAPTURE),
        sop_instance_uid=_first_uid(named[1], meta.get(_SOP_INSTANCE), _INVENTED_UID),
        transfer_syntax_uid=syntax,
        data_set=data_set,
    )


def _file_meta(content: bytes, start: int) -> Iterator[tuple[int, bytes, int]]:
    """Give element number, value and end of each element of group 0002, while there are some."""
    while content[start : start + 2] == b"\x02\x00" and len(content) >= start + 12:
        (element,) = struct.unpack_from("<H", content, start + 2)
        if content[start + 4 : start + 6] in _LONG_VRS:
            (length,) = struct.unpack_from("<L", content, start + 8)
            begin = start + 12
        else:
            (length,) = struct.unpack_from("<H", content, start + 6)
            begin = start + 8
        start = begin + length
        yield element, content[begin:start], start


def _guessed_syntax(data_set: bytes) -> str:
    return EXPLICIT_LITTLE_ENDIAN if data_set[4:6].isupper() else IMPLICIT_LITTLE_ENDIAN


def _named_inside(path: Path, data_set: bytes) -> tuple[str | None, str | None]:
    """Return SOP Class and SOP Instance UID of the data set, as far as a reader can tell."""
    for source in (path, BytesIO(data_set)):
        try:
            found = _read_names(source)
        except Exception:  # noqa: BLE001 -- no reader is expected to survive all of these files
            continue
        if any(found):
            return found
    return None, None


def _read_names(source: Path | BytesIO) -> tuple[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = dcmread(source, force=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        return str(header.get("SOPClassUID") or ""), str(header.get("SOPInstanceUID") or "")


def _first_uid(*candidates: str | None) -> str:
    return next(one for one in candidates if one and _UID.fullmatch(one))

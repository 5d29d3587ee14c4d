"""What a Key Object Selection says, if it is a rejection note (IHE RAD-66; PS3.16 TID 2010)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from node.receive.parse_errors import PARSE_ERRORS
from storage.rejection_records import ReadNote, RejectionCode

_DCM = "DCM"
_MOST_REFERENCES = 200_000


class NoteUnreadable(Exception):
    """The file is no Key Object Selection that can be interpreted."""


def read_note(path: Path, study_instance_uid: str) -> ReadNote | None:
    """Read a note's title and the instances of this study that it names; None: rejects nothing.

    What the content names counts; where it names nothing, the evidence does. An instance is of the
    study that the evidence files it under, and of the note's own without evidence.

    Raises:
        NoteUnreadable: it cannot be interpreted. OSError: the file cannot be read now.
    """
    try:
        note = dcmread(path)
        title = _title(note)
        if title is None:
            return None
        studies = dict(_evidence(note))
        named = set(_content(note)) or set(studies)
    except OSError as error:
        # pydicom raises it, without a number, where a file is cut.
        if error.errno is not None:
            raise
        raise NoteUnreadable("it is cut") from None
    except (InvalidDicomError, *PARSE_ERRORS) as error:
        raise NoteUnreadable(type(error).__name__) from None
    if len(named) > _MOST_REFERENCES:
        raise NoteUnreadable("too many references")
    own = {uid for uid in named if studies.get(uid, study_instance_uid) == study_instance_uid}
    return ReadNote(title, tuple(sorted(own)))


def _title(note: Dataset) -> RejectionCode | None:
    """Give the title, if it is one that rejects; others mark key images."""
    for item in note.get("ConceptNameCodeSequence") or []:
        value = str(item.get("CodeValue", "")).strip()
        if str(item.get("CodingSchemeDesignator", "")).strip() == _DCM and value in _TITLES:
            return RejectionCode(value)
    return None


_TITLES = frozenset(code.value for code in RejectionCode)


def _evidence(note: Dataset) -> Iterator[tuple[str, str]]:
    """Give SOP Instance UID and Study Instance UID of what the note lists as evidence."""
    for study in note.get("CurrentRequestedProcedureEvidenceSequence") or []:
        for series in study.get("ReferencedSeriesSequence") or []:
            for uid in _references(series):
                yield uid, str(study.get("StudyInstanceUID", ""))


def _content(note: Dataset) -> Iterator[str]:
    """Give what the content refers to; it is flat in TID 2010, and no deeper level is trusted."""
    for item in note.get("ContentSequence") or []:
        yield from _references(item)


def _references(item: Dataset) -> Iterator[str]:
    for reference in item.get("ReferencedSOPSequence") or []:
        uid = str(reference.get("ReferencedSOPInstanceUID", "")).strip()
        if uid:
            yield uid

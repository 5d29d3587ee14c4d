"""Frozen values of rejection notes (IHE IOCM, RAD-66): what they say, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
"""Key Object Selection Document Storage: rejection notes, and notes on key images."""


class RejectionCode(StrEnum):
    """Titles (CID 7010, scheme DCM) that make a Key Object Selection a rejection note."""

    QUALITY = "113001"
    PATIENT_SAFETY = "113037"
    INCORRECT_WORKLIST_ENTRY = "113038"
    RETENTION_EXPIRED = "113039"

    @property
    def withdraws(self) -> bool:
        """Whether results that were made of the images must not stand.

        Images that are deleted because their time is over were not wrong.
        """
        return self is not RejectionCode.RETENTION_EXPIRED

    @property
    def meaning(self) -> str:
        """The Code Meaning of the title."""
        return _MEANINGS[self]


_MEANINGS = {
    RejectionCode.QUALITY: "Rejected for Quality Reasons",
    RejectionCode.PATIENT_SAFETY: "Rejected for Patient Safety Reasons",
    RejectionCode.INCORRECT_WORKLIST_ENTRY: "Incorrect Modality Worklist Entry",
    RejectionCode.RETENTION_EXPIRED: "Data Retention Policy Expired",
}


class NoteState(StrEnum):
    """What came of a Key Object Selection.

    `NO_REJECTION`: it has another title. `OTHER_STUDY`: it names nothing of the study it is in.
    `WAITING`: no image of the study is here yet, so that nobody can tell who may reject it.
    """

    UNREAD = "unread"
    UNREADABLE = "unreadable"
    NO_REJECTION = "no_rejection"
    OTHER_STUDY = "other_study"
    WAITING = "waiting"
    OBEYED = "obeyed"
    NOT_OBEYED = "not_obeyed"


@dataclass(frozen=True, slots=True)
class KeptNote:
    """A note whose file is to be read, or that waits for images."""

    note_id: int
    study_instance_uid: str
    path: PurePosixPath
    calling_ae_title: str


@dataclass(frozen=True, slots=True)
class ReadNote:
    """What a note says: its title, and the instances of its own study that it names."""

    title: RejectionCode
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoteRow:
    """What a person sees of a note; no patient data."""

    title: str
    state: NoteState
    calling_ae_title: str
    received_at: datetime

"""Notes that are odd, broken or cut take nothing back."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from node.rejection_note_reading import NoteUnreadable, read_note
from storage.rejection_records import NoteState, ReadNote, RejectionCode
from tests.integration.node_receive.mr_study import SERIES, STUDY, write
from tests.integration.node_receive.noted_node import Node, node, note, routed

__all__ = ["node", "routed"]


OTHER = f"{STUDY}.2"


def _broken(made: Dataset, fault: str) -> Dataset:
    match fault:
        case "title is text":
            made.ConceptNameCodeSequence[0].CodeValue = "113037 " + "x"
        case "no title":
            del made.ConceptNameCodeSequence
        case "evidence of another study":
            made.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID = OTHER
        case "empty":
            del made.ContentSequence
            del made.CurrentRequestedProcedureEvidenceSequence
        case "no instance uid":
            del made.ContentSequence[-1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            del made.CurrentRequestedProcedureEvidenceSequence
    return made


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("title is text", NoteState.NO_REJECTION),
        ("no title", NoteState.NO_REJECTION),
        ("evidence of another study", NoteState.OTHER_STUDY),
        ("empty", NoteState.OTHER_STUDY),
        ("no instance uid", NoteState.OTHER_STUDY),
    ],
)
def test_an_odd_note_takes_nothing_back(
    routed: Node, tmp_path: Path, fault: str, state: NoteState
) -> None:
    routed.send_note(tmp_path / "note", _broken(note(1), fault))
    routed.assemble()
    assert routed.jobs() == [("queued", "", 6)]
    expected = [] if state is NoteState.NO_REJECTION else [state]
    assert [each.state for each in routed.shown().rejection_notes] == expected


def test_a_file_that_is_cut_is_unreadable_and_never_a_crash(tmp_path: Path) -> None:
    content = write(note(1, 2), tmp_path).read_bytes()
    whole = ReadNote(RejectionCode.PATIENT_SAFETY, (f"{SERIES}.1", f"{SERIES}.2"))
    for length in range(0, len(content) + 1, 7):
        (tmp_path / "cut.dcm").write_bytes(content[:length])
        try:
            read = read_note(tmp_path / "cut.dcm", STUDY)
        except NoteUnreadable:
            continue
        assert read is None or len(read.sop_instance_uids) <= len(whole.sop_instance_uids)
    assert read_note(write(note(1, 2), tmp_path), STUDY) == whole


def test_evidence_alone_is_believed_where_the_content_names_nothing(tmp_path: Path) -> None:
    made = note(1, 2)
    del made.ContentSequence
    read = read_note(write(made, tmp_path), STUDY)
    assert read is not None
    assert len(read.sop_instance_uids) == 2

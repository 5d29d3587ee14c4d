"""Over HTTP, too, a replaced result is taken back, and why there is none is told."""

from __future__ import annotations

from pydicom.dataset import FileDataset
from pydicom.uid import (
    KeyObjectSelectionDocumentStorage,
)

from tests.integration.node_stow.scripted_serving import Serve, refusing, serve
from tests.integration.node_stow.scripted_stow import StowScript
from tests.integration.node_stow.stow_sending import Tries

__all__ = ["serve"]


def test_a_replaced_result_is_taken_back_by_a_note_on_all_that_is_there(
    tries: Tries, serve: Serve
) -> None:
    script = StowScript()
    url = serve(script).base_url
    sent = tries.send(url)
    tries.take_back(url, superseded="rejection_note")

    (note,) = script.posts[-1]
    assert note.SOPClassUID == KeyObjectSelectionDocumentStorage
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert _named(note) == {item.sop_instance_uid for item in sent}


def test_what_a_broken_try_may_have_brought_is_taken_back_too(tries: Tries, serve: Serve) -> None:
    script = StowScript(refusing("SR", 0xA700))
    url = serve(script).base_url
    tries.failure(url)
    tries.take_back(url, superseded="rejection_note")
    (note,) = script.posts[-1]
    assert set(script.stored) - {note.SOPInstanceUID} <= _named(note)


def test_nothing_is_taken_back_where_nothing_was_sent(tries: Tries, serve: Serve) -> None:
    script = StowScript()
    assert tries.take_back(serve(script).base_url, superseded="rejection_note") == ()
    assert script.posts == []


def test_why_there_is_no_result_is_told_and_taken_back(tries: Tries, serve: Serve) -> None:
    script = StowScript()
    url = serve(script).base_url
    (told,) = tries.tell_refusal(url)
    (report,) = script.posts[-1]
    assert (report.Modality, report.SOPInstanceUID) == ("SR", told.sop_instance_uid)
    assert "missing_slices: 2 are missing" in report.to_json()

    tries.take_back(url, superseded="rejection_note")
    (note,) = script.posts[-1]
    assert _named(note) == {told.sop_instance_uid}


def _named(note: FileDataset) -> set[str]:
    evidence = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    return {str(one.ReferencedSOPInstanceUID) for s in evidence for one in s.ReferencedSOPSequence}

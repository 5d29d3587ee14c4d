"""Studies that the PACS takes back by rejection notes: what was told goes back, the model stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom as hd
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.send import send_folder
from pipelines.registry import SHIPPED_DEFINITIONS
from tests.acceptance.pacs_stand_in import (
    AE_TITLE,
    NODE_AE_TITLE,
    PacsStandIn,
    association_to_node,
    send,
)
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.scenario import site, slow_bundle, wait_for_report
from tests.acceptance.small_study import PATIENT_TEXTS, SmallStudy, write_small_study


def note_on(study: SmallStudy, folder: Path, port: int) -> None:
    """The PACS sends a note that takes back every image for patient safety."""
    images = [dcmread(path, stop_before_pixels=True) for path in study.paths]
    title = hd.sr.CodedConcept("113037", "DCM", "Rejected for Patient Safety Reasons")
    note: Dataset = hd.ko.KeyObjectSelectionDocument(
        images,
        hd.ko.KeyObjectSelection(title, images),
        series_instance_uid=f"{study.study_instance_uid}.77",
        series_number=77,
        sop_instance_uid=f"{study.study_instance_uid}.77.1",
        instance_number=1,
        manufacturer="PACS of others",
    )
    folder.mkdir()
    note.save_as(folder / "note.dcm", enforce_file_format=True)
    assert not send_folder(folder, "127.0.0.1", port, NODE_AE_TITLE, AE_TITLE).failed


def jobs(node: RadnodeProcess, study: SmallStudy) -> list[tuple[str, str, str]]:
    """Pipeline, state and reason of each job of a study."""
    return [
        (job["pipeline_name"], job["state"], job["reason_code"])
        for one in node.studies()
        if one["study_instance_uid"] == study.study_instance_uid
        for job in one["jobs"]
    ]


STOPPED = [
    ("hippocampus_mr", "superseded", "images_rejected"),
    ("", "refused", "images_rejected"),
]


def test_a_note_withdraws_what_was_told_and_stops_what_is_computed(tmp_path: Path) -> None:
    first, second = (write_small_study(tmp_path / f"{n}", number=n) for n in (1, 2))
    pacs, (bundles, marker) = PacsStandIn(), slow_bundle(tmp_path)
    pipelines = {"bundles_dir": str(bundles), "definitions_dir": str(SHIPPED_DEFINITIONS)}
    settings = site(tmp_path, pacs, pipelines=pipelines)
    settings["destinations"][0] |= {"superseded": "rejection_note", "confirm": "none"}

    with pacs.up(), RadnodeProcess(tmp_path, settings) as node:
        with association_to_node(node.port) as association:
            send(association, first.paths)
        wait_for_report(node, tmp_path)
        sent = set(pacs.datasets)
        note_on(first, tmp_path / "note 1", node.port)
        node.wait_until_shown(lambda: jobs(node, first) == STOPPED, what="the end of the study")
        node.wait_until(lambda: pacs.of_modality("KO"), what="the note to the PACS")
        node.wait_until(
            lambda: status(tmp_path) == ["entered-in-error"], what="the report's withdrawal"
        )
        (note,) = pacs.of_modality("KO")
        assert named(note) == sent

        marker.unlink()
        with association_to_node(node.port) as association:
            send(association, second.paths)
        node.wait_until(marker.exists, what="the model's work")
        note_on(second, tmp_path / "note 2", node.port)
        node.wait_until_shown(
            lambda: jobs(node, second) == STOPPED, what="the end of the second study"
        )
        node.wait_until(lambda: len(node.events("worker_ready")) == 2, what="another worker")

        assert len(node.events("job_stopped_by_rejection_note")) == 1
        assert len(pacs.datasets) == len(sent) + 1
        for shown in node.studies():
            assert shown["rejected_count"] == len(first.paths)
            assert [each["state"] for each in shown["rejection_notes"]] == ["obeyed"]
        assert not any(text in node.output() for text in PATIENT_TEXTS)


def status(folder: Path) -> list[str]:
    """The status of each report in the folder."""
    bundles: list[dict[str, Any]] = [
        json.loads(path.read_text()) for path in (folder / "ehr").glob("report-*.json")
    ]
    resources = [entry["resource"] for bundle in bundles for entry in bundle["entry"]]
    return [one["status"] for one in resources if one["resourceType"] == "DiagnosticReport"]


def named(note: Dataset) -> set[str]:
    evidence = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    return {str(one.ReferencedSOPInstanceUID) for s in evidence for one in s.ReferencedSOPSequence}

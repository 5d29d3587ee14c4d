"""A PACS learns, where it wants to, that a study was not processed or that the work failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.delivery_plan import plan_of
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.job_inputs import InputInstance, JobInput
from storage.jobs import fail_job, list_jobs, refuse_job, retry_job
from storage.records import DeliveryState, NewJob, Purpose, Refusal
from storage.studies import route
from tests.integration.node_receive.superseding_site import (
    Pacs,
    Site,
    db,
    kept,
    named,
    predecessors,
    running,
    site,
)
from tests.peers.dcmtk import IMPLICIT_ONLY, StoreScp
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port
from tests.unit.pipelines_objects.kept_result import Kept
from tests.unit.pipelines_objects.synthetic_series import STUDY as IMAGES_STUDY
from tests.unit.storage.samples import (
    STUDY,
    WORKER,
    claim,
    incoming,
    make_job,
    make_ready,
    new_job,
    receive,
)

__all__ = ["db", "kept"]

ALL = ["findings", "no_findings", "not_processed", "failed", "no_pipeline"]


def reading(kept: Kept, digest: str = "in-1") -> NewJob:
    """A job whose images are the files of the kept series."""
    images = sorted((kept.folder / "images").iterdir())
    instances = tuple(
        InputInstance("", PurePosixPath("images") / image.name, "") for image in images
    )
    return replace(new_job(digest), inputs=(JobInput("t1", "", "", instances),), destinations=())


def end(here: Site, job: NewJob, outcome: str = "refused") -> int:
    """Have a new state of the study end without a result."""
    now = datetime.now(UTC)
    job_id = make_job(here.db, job, now=now)
    claim(here.db, now=now)
    told: Any = {"worker_id": WORKER, "now": now, "plan": plan_of((here.destination,), now)}
    if outcome == "refused":
        refuse_job(here.db, job_id, code="missing_slices", text="2 are missing", **told)
    else:
        fail_job(here.db, job_id, code="out_of_memory", text="too big", retry_at=None, **told)
    return job_id


def text_of(report: Dataset) -> str:
    items = report.ContentSequence[-1].ContentSequence
    return next(str(item.TextValue) for item in items if item.ValueType == "TEXT")


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("refused", "not processed (missing_slices: 2 are missing)"),
        ("failed", "failed (out_of_memory: the computer has not enough memory for these images)"),
    ],
)
def test_a_job_without_a_result_is_told_beside_its_images(
    db: Database, kept: Kept, outcome: str, told: str
) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, outcomes=ALL)
        job_id = end(here, reading(kept), outcome)
        here.deliver()

    (report,) = pacs.taken
    image = dcmread(next((kept.folder / "images").iterdir()))
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
        assert report[keyword].value == image[keyword].value
    assert report.Modality == "SR"
    assert told in text_of(report)
    assert here.delivery(job_id).state is DeliveryState.SENT


def test_a_pacs_that_did_not_ask_for_it_gets_nothing(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port)
        end(here, reading(kept))
        here.deliver()
    assert pacs.taken == []


def test_a_study_that_no_pipeline_takes_is_told_by_what_is_here_of_it(
    db: Database, kept: Kept
) -> None:
    now = datetime.now(UTC)
    image = next((kept.folder / "images").iterdir())
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, outcomes=ALL)
        receive(db, incoming())
        InstanceFiles(kept.folder).absolute(f"instances/{STUDY}/1").mkdir(parents=True)
        (kept.folder / f"instances/{STUDY}/1/a.dcm").write_bytes(b"broken")
        (kept.folder / f"instances/{STUDY}/1/b.dcm").write_bytes(image.read_bytes())
        route(
            db,
            STUDY,
            generation=make_ready(db),
            jobs=(),
            refusal=Refusal("no_pipeline_matches", "none"),
            now=now,
            plan=plan_of((here.destination,), now),
        )
        here.deliver()
    (report,) = pacs.taken
    assert "not processed (no_pipeline_matches: none)" in text_of(report)
    assert list_jobs(db, limit=1)[0].pipeline_name == ""


def test_without_a_readable_header_there_is_no_report_and_that_is_said(
    db: Database, kept: Kept
) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, outcomes=ALL)
        for image in (kept.folder / "images").iterdir():
            image.write_bytes(b"broken")
        job_id = end(here, reading(kept))
        here.deliver()
    delivery = here.delivery(job_id)
    assert (delivery.state, delivery.reason_code) == (DeliveryState.DEAD, "no_readable_header")
    assert pacs.taken == []


def test_a_success_after_a_failure_names_the_report_of_it(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, outcomes=ALL)
        job_id = end(here, reading(kept), "failed")
        here.deliver()
        retry_job(db, job_id, now=datetime.now(UTC))
        here.finish(job_id)
        here.deliver()
    failure, _, success = pacs.taken
    assert predecessors(success) == [str(failure.SOPInstanceUID)]


def test_a_refusal_follows_on_the_result_that_it_replaces(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, outcomes=ALL)
        here.run(reading(kept))
        here.deliver()
        end(here, reading(kept, "in-2"))
        here.deliver()
    _, result, refusal = pacs.taken
    assert predecessors(refusal) == [str(result.SOPInstanceUID)]


def test_a_refusal_that_is_replaced_is_rejected_by_a_note(db: Database, kept: Kept) -> None:
    with running(Pacs()) as pacs:
        here = site(db, kept, pacs.port, outcomes=ALL, superseded="rejection_note")
        job_id = end(here, reading(kept))
        here.deliver()
        here.run(reading(kept, "in-2"))
        here.deliver()
    assert here.delivery(job_id).purpose is Purpose.WITHDRAW
    assert sorted(pacs.kinds()) == ["KO", "SEG", "SR", "SR"]
    (note,) = (item for item in pacs.taken if item.Modality == "KO")
    assert named(note) == {str(pacs.taken[0].SOPInstanceUID)}


@pytest.mark.peer("dcmtk")
def test_a_pacs_of_implicit_alone_gets_it_too_whatever_its_profile(
    db: Database, kept: Kept, tmp_path: Any
) -> None:
    with StoreScp(tmp_path / "taken", options=IMPLICIT_ONLY) as scp:
        deflated = ["1.2.840.10008.1.2.1.99"]
        here = site(db, kept, scp.port, scp.ae_title, outcomes=ALL, transfer_syntaxes=deflated)
        end(here, reading(kept))
        here.deliver()
        assert len(scp.files()) == 1


@pytest.mark.peer("orthanc")
def test_orthanc_files_it_in_the_study_and_a_repeat_is_the_same(db: Database, kept: Kept) -> None:
    with Orthanc([Modality("radnode", "RADNODE", free_port())]) as orthanc:
        here = site(db, kept, orthanc.dicom_port, orthanc.aet, outcomes=ALL)
        end(here, reading(kept))
        here.deliver()
        (found,) = orthanc.instances(IMAGES_STUDY)
        report = dcmread(BytesIO(orthanc.file(found["ID"])))
    assert report.CompletionFlag == "COMPLETE"
    assert report.VerificationFlag == "UNVERIFIED"

"""A patient or order that is corrected after the report was told is shown to a person."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from config.settings import FolderDestination, NodeSettings, Settings
from node.delivery import DeliveryLoop
from node.dispatch import sender_for
from node.identity_check import IdentityCheck
from node.identity_recheck import IdentityRecheck
from node.status_table import status_table
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.jobs import finish_job
from storage.overview import study_rows
from storage.overview_rows import StudyRow
from storage.records import DestinationKind, NewDelivery
from tests.integration.node_receive.test_identity_is_looked_up import (
    MERGED,
    SAME,
    Archive,
    answering,
    settings_of,
)
from tests.integration.node_receive.test_superseded_results_at_a_pacs import db
from tests.unit.storage.samples import NOW, WORKER, claim, job_result, make_job, new_job

__all__ = ["db"]


class Told:
    """A report in a folder, and the archive that lists its study."""

    def __init__(self, db: Database, folder: Path, archive: Archive, settings: Settings) -> None:
        self.db, self.archive = db, archive
        self.now = NOW
        self.recheck = IdentityRecheck(settings, db, clock=lambda: self.now)
        ehr = FolderDestination(type="folder", name="ehr", folder=folder / "out")
        make_job(db, new_job(), now=NOW)
        job = claim(db, now=NOW)
        told = (NewDelivery("ehr", DestinationKind.FOLDER, NOW),)
        finish_job(db, job.job_id, worker_id=WORKER, result=job_result(), deliveries=told, now=NOW)
        loop = DeliveryLoop(
            ehr,
            sender_for(ehr, NodeSettings(), InstanceFiles(folder)),
            db,
            worker_id=WORKER,
            clock=lambda: self.now,
            check=IdentityCheck(settings, db),
        )
        assert loop.deliver_next(threading.Event())
        archive.asked = 0

    def pass_hours(self, hours: float) -> None:
        """Let time pass, with a round each quarter of an hour."""
        for _ in range(round(4 * hours)):
            self.now += timedelta(minutes=15)
            self.recheck.ask_due()

    @property
    def shown(self) -> StudyRow:
        (row,) = study_rows(self.db, 10)
        return row

    @property
    def outdated(self) -> list[str]:
        return list(self.shown.jobs[0].deliveries[0].outdated)


@pytest.fixture
def archive() -> Iterator[Archive]:
    with answering(Archive([SAME])) as running:
        yield running


@pytest.fixture
def told(db: Database, tmp_path: Path, archive: Archive) -> Told:
    return Told(db, tmp_path, archive, settings_of(archive.port))


def test_a_correction_after_the_report_is_shown_and_logged(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    told.pass_hours(1)
    assert (told.archive.asked, told.outdated) == (1, [])
    told.archive.entries = [MERGED | {"AccessionNumber": "A2"}]
    told.pass_hours(0.75)
    assert told.outdated == []
    told.pass_hours(0.25)

    assert told.outdated == ["PatientID", "AccessionNumber"]
    (cell,) = [
        str(cell)
        for column in status_table((told.shown,)).columns
        for cell in column.cells
        if "told under another" in str(cell)
    ]
    assert "told under another PatientID, AccessionNumber" in cell
    log = "".join(capsys.readouterr())
    assert "told_under_former_identity" in log
    assert not any(value in log + cell for value in ("MERGED", "New^Name", "A2"))


def test_a_correction_that_is_taken_back_is_not_shown_any_more(told: Told) -> None:
    told.archive.entries = [MERGED]
    told.pass_hours(1)
    assert told.outdated == ["PatientID"]
    told.archive.entries = [SAME]
    told.pass_hours(1)
    assert told.outdated == []


def test_the_pacs_is_asked_ever_more_rarely_and_then_no_more(told: Told) -> None:
    told.pass_hours(100)
    assert told.archive.asked == 7
    told.archive.entries = [MERGED]
    told.pass_hours(40)
    assert (told.archive.asked, told.outdated) == (7, [])


def test_a_node_that_was_down_asks_at_its_start(told: Told) -> None:
    told.now += timedelta(hours=30)
    told.archive.entries = [MERGED]
    told.recheck.ask_due()
    assert told.outdated == ["PatientID"]


def test_a_pacs_that_does_not_answer_changes_nothing(told: Told) -> None:
    told.archive.entries = [MERGED]
    told.pass_hours(1)
    told.archive.entries, told.archive.status = [], 0xC001
    told.pass_hours(1)
    assert told.outdated == ["PatientID"]


def test_a_report_that_was_rebuilt_is_not_outdated(
    db: Database, tmp_path: Path, archive: Archive
) -> None:
    archive.entries = [MERGED]
    told = Told(db, tmp_path, archive, settings_of(archive.port, "rebuild"))
    told.pass_hours(1)
    assert (archive.asked, told.outdated) == (1, [])
    archive.entries = [SAME]
    told.pass_hours(1)
    assert told.outdated == ["PatientID"]


@pytest.mark.parametrize("rule", ["never", "ignored"])
def test_a_site_may_have_nobody_asked(
    db: Database, tmp_path: Path, archive: Archive, rule: str
) -> None:
    never = settings_of(archive.port, identity_recheck_h=0)
    settings = never if rule == "never" else settings_of(archive.port, "ignore")
    told = Told(db, tmp_path, archive, settings)
    told.pass_hours(5)
    assert archive.asked == 0

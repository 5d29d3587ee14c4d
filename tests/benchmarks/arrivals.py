"""The ways in which a study arrives, and what is seen of it in the node's database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from pydicom.uid import MRImageStorage

from storage.database import open_database
from storage.job_reads import jobs_of_study
from storage.records import JobRecord, JobState
from storage.studies import get_study
from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.small_study import SmallStudy, write_small_study
from tests.benchmarks.announcements import (
    Announce,
    by_availability_notification,
    by_performed_step,
    by_storage_commitment,
)
from tests.benchmarks.completeness_tables import Arrival
from tests.integration.node_receive.counting_pacs import CountingPacs
from tests.peers.kept_instances import sqlite_of
from tests.peers.part10 import data_set_of
from tests.peers.ports import wait_until
from tests.peers.raw_scu import Proposal, RawAssociation

COUNTING_SENDER = "PACS"
SILENT_SENDER = "SCANNER"
HELD_BEYOND_QUIET_TIME_S = 3.0
HELD_AFTER_PROOF_S = 2.0
_PATIENCE_S = 120
_SETTLED = (JobState.SUCCEEDED, JobState.REFUSED, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Site:
    """A running node, the PACS it may ask, and numbers for new studies."""

    folder: Path
    node: RadnodeProcess
    pacs: CountingPacs
    quiet_time_s: float
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def new_study(self) -> SmallStudy:
        """Write a study that the node has not seen."""
        number = next(self.numbers)
        return write_small_study(self.folder / f"study{number}", number=number)


@dataclass(frozen=True, slots=True)
class Case:
    """One way to arrive; `is_proof`: something tells at once that the study is complete."""

    name: str
    is_proof: bool
    measure: Callable[[Site], Arrival]


@dataclass(frozen=True, slots=True)
class _Sent:
    last_response_at: datetime
    association_end_at: datetime


def _counted(site: Site) -> Arrival:
    study = site.new_study()
    site.pacs.series = {study.series_instance_uid: ("MR", len(study.paths))}
    return _seen(site, study, _send(site, study, COUNTING_SENDER))


def _listed(announce: Announce, *, is_before: bool) -> Callable[[Site], Arrival]:
    """A list comes before the instances, or right after the last of them."""

    def measure(site: Site) -> Arrival:
        study = site.new_study()

        def tell() -> None:
            announce(site.node.port, SILENT_SENDER, study)

        if is_before:
            tell()
        after = None if is_before else tell
        sent = _send(site, study, SILENT_SENDER, hold_s=HELD_AFTER_PROOF_S, after_last=after)
        return _seen(site, study, sent)

    return measure


def _whole(site: Site) -> Arrival:
    study = site.new_study()
    return _seen(site, study, _send(site, study, SILENT_SENDER))


def _quiet(site: Site) -> Arrival:
    study = _with_a_gap(site.new_study())
    return _seen(site, study, _send(site, study, SILENT_SENDER))


def _held(site: Site) -> Arrival:
    study = _with_a_gap(site.new_study())
    hold_s = site.quiet_time_s + HELD_BEYOND_QUIET_TIME_S
    return _seen(site, study, _send(site, study, SILENT_SENDER, hold_s=hold_s))


CASES = (
    Case(
        "list by availability notification before the images, the association stays open",
        True,
        _listed(by_availability_notification, is_before=True),
    ),
    Case(
        "list by storage commitment (N-ACTION) after the last image, the same",
        True,
        _listed(by_storage_commitment, is_before=False),
    ),
    Case(
        "list by MPPS (N-SET, COMPLETED) after the last image, the same",
        True,
        _listed(by_performed_step, is_before=False),
    ),
    Case("counts by C-FIND", True, _counted),
    Case("released, slices without gaps", False, _whole),
    Case("released, a slice is missing: quiet time alone", False, _quiet),
    Case("quiet time, the association stays open 3 s longer", False, _held),
)


def _with_a_gap(study: SmallStudy) -> SmallStudy:
    """Leave a slice in the middle out, so that geometry says nothing for completeness."""
    middle = len(study.paths) // 2
    paths = (*study.paths[:middle], *study.paths[middle + 1 :])
    uids = (*study.sop_instance_uids[:middle], *study.sop_instance_uids[middle + 1 :])
    return replace(study, paths=paths, sop_instance_uids=uids)


def _send(
    site: Site,
    study: SmallStudy,
    calling: str,
    *,
    hold_s: float = 0,
    after_last: Callable[[], None] | None = None,
) -> _Sent:
    proposals = [Proposal(MRImageStorage)]
    with RawAssociation(site.node.port, proposals, calling=calling) as association:
        for path, uid in zip(study.paths, study.sop_instance_uids, strict=True):
            answer = association.store(0, MRImageStorage, uid, data_set_of(path))
            assert answer.status == 0, answer
        last_response_at = datetime.now(UTC)
        if after_last is not None:
            after_last()
        time.sleep(hold_s)
        association_end_at = datetime.now(UTC)
    return _Sent(last_response_at, association_end_at)


def _seen(site: Site, study: SmallStudy, sent: _Sent) -> Arrival:
    """Wait until the study's job is done, so that the next one meets an idle worker."""
    db = open_database(sqlite_of(site.folder / "data"))
    try:
        job, *_ = wait_until(
            lambda: _settled(jobs_of_study(db, study.study_instance_uid)),
            what="the study's job",
            timeout_s=_PATIENCE_S,
        )
        evidence = get_study(db, study.study_instance_uid).complete_evidence
    finally:
        db.close()
    assert job.started_at is not None, f"the job was {job.state}: {job.reason_code}"
    return Arrival(
        evidence=evidence,
        queued_s=(job.created_at - sent.last_response_at).total_seconds(),
        started_s=(job.started_at - sent.last_response_at).total_seconds(),
        after_association_s=(job.started_at - sent.association_end_at).total_seconds(),
    )


def _settled(jobs: tuple[JobRecord, ...]) -> list[JobRecord]:
    return [job for job in jobs if job.state in _SETTLED]

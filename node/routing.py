"""Complete studies become jobs: which pipelines, which series for each of their inputs.

Headers decide, not pixels: of each series one representative instance is read. A study that no
pipeline takes ends in a visible refusal with the reasons of every pipeline.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from config.settings import Settings
from node.delivery_plan import plan_of
from node.receive.admission import senders_named
from node.receive.parse_errors import PARSE_ERRORS
from pipelines.errors import RefusalCode
from pipelines.image_kinds import is_projection, projections_among
from pipelines.registry import RegisteredPipeline, Registry
from pipelines.selection import Chosen, NoMatch, SeriesCandidate, select_inputs
from storage import studies
from storage.database import Database
from storage.dicom_records import InstanceRecord, SeriesRecord, StudyRecord
from storage.errors import DatabaseUnavailable, StorageError
from storage.instance_files import InstanceFiles, uid_tag
from storage.instances import instances_of_series
from storage.job_inputs import InputInstance, JobInput
from storage.records import NewJob, Refusal
from storage.rejection_notes import rejected_count
from storage.telling import nobody

_RANK = {"stat": 0, "high": 1, "routine": 2}
_RANK_STEP = 10_000
"""More than any pipeline's priority, so that a stat sender comes before all routine work."""

_MOST_PROJECTIONS = 64

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A series that selection may choose, with the instances that it would bring along."""

    candidate: SeriesCandidate
    instances: tuple[InstanceRecord, ...]


@dataclass(frozen=True, slots=True)
class _Headers:
    """The readable series of a study by UID, and why the others are not."""

    by_series: Mapping[str, _Candidate]
    unreadable: tuple[str, ...]


def route_ready_studies(
    db: Database, files: InstanceFiles, registry: Registry, settings: Settings, *, now: datetime
) -> int:
    """Route every study that is complete and return how many jobs were made.

    `registry` holds the pipelines that are offered. A refusal counts as no job.

    Raises:
        StorageError: the database is away, or files of a study cannot be read now; the others are
            routed. The round is done again.
    """
    made = 0
    postponed: list[StorageError] = []
    for study in studies.ready_studies(db):
        try:
            made += _route(db, files, registry, settings, study, now)
        except DatabaseUnavailable:
            raise
        except StorageError as error:
            postponed.append(error)
        except Exception as error:  # noqa: BLE001 -- the study's outermost edge; its refusal
            _log.error("routing_failed", study=uid_tag(_uid(study)), exc_info=True)
            _give_up(db, study, error, settings, now)
    if postponed:
        raise postponed[0]
    return made


def _give_up(
    db: Database, study: StudyRecord, error: Exception, settings: Settings, now: datetime
) -> None:
    """End a study that breaks routing, visibly; `radnode retry` routes it again."""
    text = f"routing failed with {type(error).__name__}; see the log, then retry the job"
    refusal, plan = Refusal(RefusalCode.ROUTING_FAILED, text), plan_of(settings.destinations, now)
    routed = study.generation
    studies.route(db, _uid(study), generation=routed, jobs=(), refusal=refusal, now=now, plan=plan)


def _uid(study: StudyRecord) -> str:
    return study.header.study_instance_uid


def _route(
    db: Database,
    files: InstanceFiles,
    registry: Registry,
    settings: Settings,
    study: StudyRecord,
    now: datetime,
) -> int:
    study_uid = _uid(study)
    headers = _read_headers(db, files, study_uid)
    jobs: list[NewJob] = []
    reasons = list(headers.unreadable)
    codes: list[RefusalCode] = []
    for pipeline in offered_to(study.calling_ae_title, registry, settings):
        wanted = _job_or_reasons(pipeline, headers, study, settings)
        if isinstance(wanted, NewJob):
            jobs.append(wanted)
        else:
            reasons += [f"{pipeline.definition.name}: {reason}" for reason in wanted.reasons]
            codes.append(wanted.code)
    refusal = None if jobs else _refusal(reasons, codes, headers, rejected_count(db, study_uid))
    # What was taken back may name the wrong patient: nothing new is told under its headers.
    is_gone = refusal is not None and refusal.code == RefusalCode.IMAGES_REJECTED
    job_ids = studies.route(
        db,
        study_uid,
        generation=study.generation,
        jobs=tuple(jobs),
        refusal=refusal,
        now=now,
        plan=nobody if is_gone else plan_of(settings.destinations, now),
    )
    _log.info(
        "study_routed",
        study=uid_tag(study_uid),
        generation=study.generation,
        pipelines=[job.pipeline_name for job in jobs],
        job_ids=job_ids,
    )
    return len(job_ids) if jobs else 0


def offered_to(
    calling_ae_title: str, registry: Registry, settings: Settings
) -> list[RegisteredPipeline]:
    """Return the pipelines for studies of one sender (`receive.senders[].pipelines`)."""
    offered = list(registry.values())
    for sender in senders_named(settings.receive, calling_ae_title):
        if sender.pipelines is not None:
            offered = [item for item in offered if item.definition.name in sender.pipelines]
    return offered


def _refusal(
    reasons: list[str], codes: list[RefusalCode], headers: _Headers, rejected: int
) -> Refusal:
    if rejected:
        told = f"rejection notes took back {rejected} images of the study"
        if not headers.by_series:
            return Refusal(RefusalCode.IMAGES_REJECTED, f"{told}, and none is left")
        reasons = [told, *reasons]
    text = (
        "; ".join(reasons)
        or "no pipeline is offered: see pipelines.enabled, and the sender's pipelines"
    )
    # Where one pipeline came near, its own code says more than that none matches.
    near = set(codes) - {RefusalCode.NO_PIPELINE_MATCHES}
    return Refusal(near.pop() if len(near) == 1 else RefusalCode.NO_PIPELINE_MATCHES, text)


def read_candidates(db: Database, files: InstanceFiles, study_uid: str) -> Mapping[str, _Candidate]:
    """Return the series of a study that can be read, by UID, as selection sees them."""
    return _read_headers(db, files, study_uid).by_series


def _read_headers(db: Database, files: InstanceFiles, study_uid: str) -> _Headers:
    readable: dict[str, _Candidate] = {}
    unreadable = []
    for record in studies.series_of_study(db, study_uid):
        instances = instances_of_series(db, record.header.series_instance_uid)
        if not instances:
            continue  # all of it was taken back, or it holds notes on images
        header = _representative_header(files, instances)
        if header is None:
            unreadable.append(f"{_told(record)}: no instance can be read")
            continue
        images = _projections(files, instances) if is_projection(header) else ()
        candidate = SeriesCandidate(record, header, len(instances), images)
        readable[record.header.series_instance_uid] = _Candidate(candidate, instances)
    return _Headers(readable, tuple(unreadable))


def _projections(
    files: InstanceFiles, instances: tuple[InstanceRecord, ...]
) -> tuple[Dataset, ...]:
    """Headers of the images of a series of projections, whose views differ; the first ones."""
    paths = (files.absolute(record.path) for record in instances[:_MOST_PROJECTIONS])
    return projections_among(header for path in paths if (header := _header(path)) is not None)


def _representative_header(
    files: InstanceFiles, instances: tuple[InstanceRecord, ...]
) -> Dataset | None:
    """Return the header of the middle instance, or of the first that can be read.

    The middle one, because a series may begin with a localizer.
    """
    middle = len(instances) // 2
    for record in (*instances[middle : middle + 1], *instances):
        header = _header(files.absolute(record.path))
        if header is not None:
            return header
    return None


def _header(path: Path) -> Dataset | None:
    try:
        return dcmread(path, stop_before_pixels=True)
    except OSError as error:
        if error.errno not in (None, errno.ENOENT):
            # Too many open files, a disk that is away: it says nothing about the instance.
            raise StorageError(f"an instance cannot be read now: {error.strerror}") from None
        _log.warning("instance_unreadable", reason=type(error).__name__)
        return None
    except (InvalidDicomError, *PARSE_ERRORS) as error:
        _log.warning("instance_unreadable", reason=type(error).__name__)
        return None


def _job_or_reasons(
    pipeline: RegisteredPipeline, headers: _Headers, study: StudyRecord, settings: Settings
) -> NewJob | NoMatch:
    """Choose the inputs of one pipeline; headers that break this must not stop all routing."""
    try:
        return _job(pipeline, headers, study, settings)
    except PARSE_ERRORS:
        _log.error("selection_failed", pipeline=pipeline.definition.name, exc_info=True)
        return NoMatch(("the headers of the study cannot be interpreted",))


def _job(
    pipeline: RegisteredPipeline, headers: _Headers, study: StudyRecord, settings: Settings
) -> NewJob | NoMatch:
    definition = pipeline.definition
    candidates = [series.candidate for series in headers.by_series.values()]
    selection = select_inputs(definition, candidates)
    if isinstance(selection, NoMatch):
        return selection
    inputs = tuple(_job_input(role, chosen, headers) for role, chosen in selection.inputs.items())
    return NewJob(
        study_instance_uid=study.header.study_instance_uid,
        generation=study.generation,
        pipeline_name=definition.name,
        pipeline_digest=pipeline.pipeline_digest,
        input_digest=input_digest(inputs),
        inputs=inputs,
        algorithm=pipeline.algorithm,
        priority=_priority(study.calling_ae_title, settings) + definition.priority,
        max_attempts=settings.worker.max_attempts,
        destinations=definition.destinations,
    )


def _job_input(role: str, chosen: Chosen, headers: _Headers) -> JobInput:
    series_uid = chosen.candidate.record.header.series_instance_uid
    instances = tuple(
        InputInstance(record.sop_instance_uid, record.path, record.dataset_digest)
        for record in headers.by_series[series_uid].instances
    )
    return JobInput(role, series_uid, chosen.reason, instances)


def input_digest(inputs: tuple[JobInput, ...]) -> str:
    """Return the SHA-256 (hex) over roles and the data sets that fill them, in any order."""
    digest = hashlib.sha256()
    for job_input in sorted(inputs, key=lambda item: item.role):
        digest.update(f"{job_input.role}\n".encode())
        pinned = sorted(
            (item.sop_instance_uid, item.dataset_digest) for item in job_input.instances
        )
        for sop_instance_uid, dataset_digest in pinned:
            digest.update(f"{sop_instance_uid} {dataset_digest}\n".encode())
    return digest.hexdigest()


def _priority(calling_ae_title: str, settings: Settings) -> int:
    senders = senders_named(settings.receive, calling_ae_title)
    rank = min((_RANK[sender.priority] for sender in senders), default=_RANK["routine"])
    return rank * _RANK_STEP


def _told(record: SeriesRecord) -> str:
    number = record.header.series_number
    return "series without number" if number is None else f"series {number}"

"""Complete studies become jobs: which pipelines, which series for each of their inputs.

Headers decide, not pixels (`node.study_headers`). A study that no pipeline takes ends in a visible
refusal with the reasons of every pipeline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from datetime import datetime

import structlog

from config.settings import Settings
from node.delivery_plan import plan_of
from node.receive.admission import senders_named
from node.receive.parse_errors import PARSE_ERRORS
from node.study_headers import StudyHeaders, read_headers
from pipelines.errors import RefusalCode
from pipelines.registry import RegisteredPipeline, Registry
from pipelines.selection import Chosen, NoMatch, select_inputs
from storage import studies
from storage.database import Database
from storage.dicom_records import StudyRecord
from storage.errors import DatabaseUnavailable, StorageError
from storage.instance_files import InstanceFiles, uid_tag
from storage.job_inputs import InputInstance, JobInput
from storage.records import NewJob, Refusal
from storage.rejection_notes import rejected_count
from storage.telling import nobody

_RANK = {"stat": 0, "high": 1, "routine": 2}
_RANK_STEP = 10_000
"""More than any pipeline's priority, so that a stat sender comes before all routine work."""

_log = structlog.get_logger()


def route_ready_studies(
    db: Database,
    files: InstanceFiles,
    registry: Registry,
    settings: Settings,
    *,
    now: datetime,
    held: Container[str] = (),
) -> int:
    """Route every study that is complete and return how many jobs were made.

    `registry` holds the pipelines that are offered; the studies `held`, by their UIDs, wait. A
    refusal counts as no job.

    Raises:
        StorageError: the database is away, or files of a study cannot be read now; the others are
            routed. The round is done again.
    """
    made = 0
    waiting: dict[str, StorageError] = {}
    for study in studies.ready_studies(db):
        if _uid(study) in held:
            continue
        try:
            made += _route(db, files, registry, settings, study, now)
        except DatabaseUnavailable:
            raise
        except StorageError as error:
            waiting[_uid(study)] = error
        except Exception as error:  # noqa: BLE001 -- the study's outermost edge; its refusal
            _log.error("routing_failed", study=uid_tag(_uid(study)), exc_info=True)
            _give_up(db, study, error, settings, now)
    if waiting:
        raise told_together(waiting)
    return made


def told_together(waiting: Mapping[str, StorageError]) -> StorageError:
    """Say of studies that cannot be dealt with now, by their UIDs, how many, which one and why."""
    uid, error = next(iter(waiting.items()))
    others = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    return StorageError(f"study {uid_tag(uid)}{others} waits: {error}")


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
    headers = read_headers(db, files, study_uid)
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
    reasons: list[str], codes: list[RefusalCode], headers: StudyHeaders, rejected: int
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


def _job_or_reasons(
    pipeline: RegisteredPipeline, headers: StudyHeaders, study: StudyRecord, settings: Settings
) -> NewJob | NoMatch:
    """Choose the inputs of one pipeline; headers that break this must not stop all routing."""
    try:
        return _job(pipeline, headers, study, settings)
    except PARSE_ERRORS:
        _log.error("selection_failed", pipeline=pipeline.definition.name, exc_info=True)
        return NoMatch(("the headers of the study cannot be interpreted",))


def _job(
    pipeline: RegisteredPipeline, headers: StudyHeaders, study: StudyRecord, settings: Settings
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


def _job_input(role: str, chosen: Chosen, headers: StudyHeaders) -> JobInput:
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

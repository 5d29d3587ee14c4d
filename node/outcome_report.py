"""The SR that tells a PACS why a study has no result, filed beside one of its images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

from config.settings import NodeSettings, PacsDestination
from node.attempt import software_version
from node.composed_objects import composed
from node.made_objects import PreparedObject
from node.superseding import revised_objects
from pipelines.objects.composing import OutcomeRequest
from storage.instance_files import InstanceFiles, validated_uid
from storage.reason_words import reason_in_words
from storage.records import FinishedJob, JobState

_MOST_IMAGES = 200
_WORTH = "No AI result: this says nothing about the images."


def outcome_report(
    node: NodeSettings, files: InstanceFiles, finished: FinishedJob
) -> PreparedObject:
    """Give the report on a job that was refused or has failed; the same for every try.

    Raises:
        PermanentDelivery: no image of the study has a header that can be read.
        TransientDelivery: the process that makes it broke.
    """
    job = finished.job
    images = tuple(_images(files, finished))
    at = job.created_at.astimezone(ZoneInfo(node.timezone))
    text = _text(finished)
    algorithm = job.algorithm
    role: list[object] = [
        job.pipeline_name,
        job.pipeline_digest,
        job.input_digest,
        text,
        finished.attributes,
    ]
    if not job.pipeline_name:
        role.append(job.generation)

    def request(out_dir: Path) -> OutcomeRequest:
        return OutcomeRequest(
            images=images,
            role=sha256(json.dumps(role).encode()).hexdigest(),
            text=text,
            series_description="not processed" if job.state is not JobState.FAILED else "failed",
            algorithm=(algorithm.name, algorithm.version) if algorithm else None,
            device_uid=algorithm.device_uid if algorithm else "",
            node_name=node.name,
            ae_title=node.ae_title,
            institution_name=node.institution_name,
            software_version=software_version(),
            content_time=at,
            out_dir=out_dir,
            attributes=finished.attributes,
        )

    (made,) = composed(files, job.job_id, (), request)
    return made


def outcome_objects(
    destination: PacsDestination,
    node: NodeSettings,
    files: InstanceFiles,
    finished: FinishedJob,
    receipt: Mapping[str, str],
) -> tuple[PreparedObject, ...]:
    """Give what a PACS gets of such a job: the report, where it takes SRs; raises as that."""
    if "sr" not in destination.objects:
        return ()
    report = outcome_report(node, files, finished)
    unnamed = replace(finished, attributes=())  # the report names whom it is about already
    return revised_objects(files, unnamed, (report,), receipt)


def header_source(node: NodeSettings, files: InstanceFiles, finished: FinishedJob) -> Path:
    """Give a file with the header of the job's study, for what is made of it later."""
    if finished.objects:
        return files.absolute(finished.objects[0].path)
    return outcome_report(node, files, finished).path


def _text(finished: FinishedJob) -> str:
    job = finished.job
    outcome = "failed" if job.state is JobState.FAILED else "not processed"
    reason = ": ".join(part for part in (job.reason_code, reason_in_words(job)) if part)
    analysis = f"{job.algorithm.name} {job.algorithm.version}: " if job.algorithm else ""
    return f"{_WORTH} {analysis}{outcome} ({reason})."


def _images(files: InstanceFiles, finished: FinishedJob) -> Iterator[Path]:
    """Give what the job was to read, else all that is here of the study, in a fixed order."""
    given = [one for each in finished.job.inputs for one in each.instances]
    if given:
        yield from (files.absolute(one.path) for one in given[:_MOST_IMAGES])
        return
    study_uid = validated_uid(finished.study.header.study_instance_uid)
    folder = files.absolute(f"instances/{study_uid}")
    yield from sorted(folder.rglob("*.dcm"))[:_MOST_IMAGES]

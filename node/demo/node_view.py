"""What the node itself says about one study, read from its database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage.database import Database
from storage.delivery_reads import list_deliveries
from storage.dicom_records import StudyRecord, StudyState
from storage.errors import NotFound
from storage.jobs import finished_job, jobs_of_study
from storage.records import DeliveryRecord, DeliveryState, FinishedJob, JobRecord, JobState
from storage.studies import get_study

STAGES = ("sent", "complete", "computed", "delivered")

_UNSETTLED_JOB = {JobState.QUEUED, JobState.RUNNING}
_UNSETTLED_DELIVERY = {DeliveryState.PENDING, DeliveryState.SENDING}


@dataclass(frozen=True, slots=True)
class NodeView:
    """A study with its jobs and their deliveries at one moment."""

    study: StudyRecord | None = None
    jobs: tuple[JobRecord, ...] = ()
    deliveries: tuple[DeliveryRecord, ...] = ()
    finished: FinishedJob | None = None

    @property
    def job(self) -> JobRecord | None:
        """The newest job."""
        return self.jobs[-1] if self.jobs else None

    @property
    def stage_count(self) -> int:
        """How many of `STAGES` are behind the study."""
        if self.study is None:
            return 0
        if self.study.state != StudyState.ROUTED or not self.jobs:
            return 1
        if any(job.state in _UNSETTLED_JOB for job in self.jobs):
            return 2
        if any(one.state in _UNSETTLED_DELIVERY for one in self.deliveries):
            return 3
        return 4

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages behind the study; one that was not computed ends with what it ended as."""
        if self.job and self.is_settled and self.job.state != JobState.SUCCEEDED:
            return (*STAGES[:2], self.job.state.value)
        return STAGES[: self.stage_count]

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen to it of itself."""
        return self.stage_count == len(STAGES)

    @property
    def settled_at(self) -> datetime | None:
        """When the last delivery was settled, or the job where there is nothing to deliver."""
        times = [one.settled_at for one in self.deliveries if one.settled_at]
        if not times and self.job:
            times = [self.job.finished_at or self.job.created_at]
        return max(times, default=None)


def node_view(db: Database, study_uid: str) -> NodeView:
    """Read the study as it stands; empty when the node has not seen it yet."""
    try:
        study = get_study(db, study_uid)
    except NotFound:
        return NodeView()
    jobs = tuple(sorted(jobs_of_study(db, study_uid), key=lambda job: job.job_id))
    deliveries = tuple(
        one for job in jobs for one in list_deliveries(db, job_id=job.job_id, limit=100)
    )
    succeeded = [job.job_id for job in jobs if job.state == JobState.SUCCEEDED]
    finished = finished_job(db, succeeded[-1]) if succeeded else None
    return NodeView(study, jobs, deliveries, finished)

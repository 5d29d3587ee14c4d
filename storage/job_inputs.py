"""What a job reads: the series of each input role, and their instances, pinned by digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class InputInstance:
    """One instance that a job reads, pinned by the digest of its dataset."""

    sop_instance_uid: str
    path: PurePosixPath
    dataset_digest: str


@dataclass(frozen=True, slots=True)
class JobInput:
    """The series chosen for one input role of a pipeline, and why it was chosen."""

    role: str
    series_instance_uid: str
    reason: str
    instances: tuple[InputInstance, ...]

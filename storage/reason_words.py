"""Why a job has no result, in words for the patient's record.

What broke is told there by its kind alone: its full text names files, settings and lines of code,
which say nothing to a physician and too much to everybody else. That text stays with the job, for
`radnode status` and the log. Why images were not processed is told in full: those are figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from storage.records import JobRecord, JobState

_STORAGE: Final = "the database or the disk of the node could not be used"
_FAULT: Final = "the program has failed"

_WORDS: Final[Mapping[str, str]] = {
    # of models and their run
    "invalid_bundle": "the files of the model are missing or cannot be used",
    "invalid_definition": "the settings of the analysis are wrong",
    "inference_failed": "the run of the model broke, or its answer cannot be used",
    "device_out_of_memory": "the computer has not enough memory for these images",
    "out_of_memory": "the computer has not enough memory for these images",
    "device_lost": "the graphics processor stopped working",
    "time_limit": "the analysis took longer than is allowed",
    "worker_lost": "the analysis was broken off",
    "proof_failed": "the result did not pass its check",
    "not_encodable": "the result cannot be written as DICOM",
    "pipeline_error": _FAULT,
    "internal_error": _FAULT,
    # of storage
    "storage_error": _STORAGE,
    "database_unavailable": _STORAGE,
    "contended": _STORAGE,
    "database_in_use": _STORAGE,
    "out_of_space": "the disk of the node is full",
    "unreadable_file": "a file of the images is gone or damaged",
    "not_found": _FAULT,
    "invalid_uid": _FAULT,
    "identity_conflict": _FAULT,
    "quarantined": _FAULT,
    "illegal_transition": _FAULT,
    "lease_lost": _FAULT,
    # of studies that were not processed, for no reason of their images
    "pipeline_changed": "the analysis was changed before it ran",
    "routing_failed": "no analysis could be chosen for the images",
}


def reason_in_words(job: JobRecord) -> str:
    """Why the job has no result, without its code; "" where the code says all there is to tell."""
    if job.reason_code in _WORDS:
        return _WORDS[job.reason_code]
    return "" if job.state is JobState.FAILED else job.reason_text

"""Deterministic UIDs (PS3.5 B.2, UUID-derived): a job run twice names the same objects.

A receiver then sees a repeated result as a duplicate; other inputs, another model or another
definition give other objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

_NAMESPACE = UUID("8b3f5b0e-6c0a-4a57-9d0e-5f1f2f1c7a3d")

IMPLEMENTATION_CLASS_UID = f"2.25.{uuid5(_NAMESPACE, 'implementation').int}"
"""Implementation Class UID (0002,0012) in the files written here."""


@dataclass(frozen=True, slots=True)
class ResultUids:
    """Every UID that the result objects of one job need."""

    seg_series: str
    seg_instance: str
    seg_dimension_organization: str
    sr_series: str
    sr_instance: str
    pdf_series: str
    pdf_instance: str
    sc_series: str
    sc_instance: str
    heat_series: str
    pm_series: str
    pm_dimension_organization: str
    kos_series: str
    kos_instance: str
    pr_series: str
    pr_instance: str


def result_uid(input_digest: str, pipeline_digest: str, role: str) -> str:
    """Give the UID of the object that plays `role` in the result of one job."""
    return _uid("result", input_digest, pipeline_digest, role)


def result_uids(input_digest: str, pipeline_digest: str) -> ResultUids:
    """Give all UIDs of one job's result; roles are the field names of `ResultUids`."""
    return ResultUids(
        *(result_uid(input_digest, pipeline_digest, role) for role in ResultUids.__slots__)
    )


def heat_uid(series_uid: str, output: int, role: str, slice_index: int) -> str:
    """Give the UID of one picture of a heat map: of a class (by output), an input and a slice."""
    return _uid("heat", series_uid, str(output), role, str(slice_index))


def tracking_uid(input_digest: str, pipeline_digest: str, label_value: int, group: str = "") -> str:
    """Give the Tracking UID of one structure, shared by SEG (0062,0021), SR and FHIR.

    `group` names the side or picture that a class is told of, where there are several.
    """
    of = f"{label_value} {group}" if group else str(label_value)
    return _uid("tracking", input_digest, pipeline_digest, of)


def frame_of_reference_uid(series_instance_uid: str) -> str:
    """Give the Frame of Reference of a series that states none: its own, shared with no other."""
    return _uid("frame of reference", series_instance_uid)


def device_uid(model_digest: str) -> str:
    """Give the Device UID (0018,1002) of a model: another digest is another device."""
    return _uid("device", model_digest)


def encoded_uid(kept_uid: str, role: str) -> str:
    """Give the UID of what is made of a kept object for destinations that want it otherwise."""
    return _uid("encoded", kept_uid, role)


def _uid(*parts: str) -> str:
    # The separator keeps ("ab", "c") apart from ("a", "bc").
    return f"2.25.{uuid5(_NAMESPACE, '|'.join(parts)).int}"

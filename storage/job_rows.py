"""Rows of what is done, as frozen records and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import PurePosixPath
from typing import Any, cast

from storage.dicom_records import CodedConcept
from storage.event_records import EventRecord
from storage.job_inputs import InputInstance, JobInput
from storage.job_tables import Delivery, DeliveryEvent, Job, JobEvent, Measurement, ResultObjectRow
from storage.records import (
    AlgorithmIdentity,
    DeliveryRecord,
    JobRecord,
    MeasurementRecord,
    ResultObject,
)
from storage.study_rows import asdict_or_none, concept

JOB_DECODED = ("job_id", "inputs", "algorithm", "destinations", "stage_times_s")
JOB_PLAIN = tuple(field.name for field in fields(JobRecord) if field.name not in JOB_DECODED)
DELIVERY_PLAIN = tuple(
    field.name for field in fields(DeliveryRecord) if field.name not in ("delivery_id", "receipt")
)
EVENT_PLAIN = tuple(field.name for field in fields(EventRecord))
CONCEPTS = ("category", "property_type", "type_modifier", "anatomic_region", "quantity", "unit")
MEASUREMENT_PLAIN = tuple(
    field.name for field in fields(MeasurementRecord) if field.name not in CONCEPTS
)
OBJECT_PLAIN = tuple(field.name for field in fields(ResultObject) if field.name != "path")


def job_record(row: Job) -> JobRecord:
    """A job as a frozen record."""
    return JobRecord(
        job_id=row.id,
        inputs=tuple(_job_input(value) for value in row.inputs),
        algorithm=_algorithm(row.algorithm),
        destinations=tuple(row.destinations),
        stage_times_s=dict(row.stage_times_s),
        **{name: getattr(row, name) for name in JOB_PLAIN},
    )


def inputs_json(inputs: tuple[JobInput, ...]) -> list[dict[str, Any]]:
    """The inputs of a job for a JSON column."""
    return [
        {**asdict(given), "instances": [_instance_map(one) for one in given.instances]}
        for given in inputs
    ]


def delivery_record(row: Delivery) -> DeliveryRecord:
    """A delivery as a frozen record."""
    return DeliveryRecord(
        delivery_id=row.id,
        receipt=dict(row.receipt),
        **{name: getattr(row, name) for name in DELIVERY_PLAIN},
    )


def event_record(row: JobEvent | DeliveryEvent) -> EventRecord:
    """A change of state as a frozen record."""
    return EventRecord(**{name: getattr(row, name) for name in EVENT_PLAIN})


def measurement_columns(record: MeasurementRecord) -> dict[str, Any]:
    """Columns of `measurement`."""
    plain = {name: getattr(record, name) for name in MEASUREMENT_PLAIN}
    return plain | {name: asdict_or_none(getattr(record, name)) for name in CONCEPTS}


def measurement_record(row: Measurement) -> MeasurementRecord:
    """A measurement as a frozen record."""
    return MeasurementRecord(
        category=_code(row.category),
        property_type=_code(row.property_type),
        type_modifier=concept(row.type_modifier),
        anatomic_region=concept(row.anatomic_region),
        quantity=_code(row.quantity),
        unit=_code(row.unit),
        **{name: getattr(row, name) for name in MEASUREMENT_PLAIN},
    )


def object_columns(record: ResultObject) -> dict[str, Any]:
    """Columns of `result_object`."""
    return {name: getattr(record, name) for name in OBJECT_PLAIN} | {"path": str(record.path)}


def object_record(row: ResultObjectRow) -> ResultObject:
    """A result object as a frozen record."""
    plain = {name: getattr(row, name) for name in OBJECT_PLAIN}
    return ResultObject(path=PurePosixPath(row.path), **plain)


def _code(value: Mapping[str, str]) -> CodedConcept:
    return CodedConcept(**value)


def _algorithm(value: Mapping[str, Any] | None) -> AlgorithmIdentity | None:
    if value is None:
        return None
    return AlgorithmIdentity(**{**value, "family": _code(value["family"])})


def _instance_map(instance: InputInstance) -> dict[str, str]:
    return {**asdict(instance), "path": str(instance.path)}


def _job_input(value: Mapping[str, Any]) -> JobInput:
    instances = cast("list[dict[str, str]]", value["instances"])
    return JobInput(
        role=value["role"],
        series_instance_uid=value["series_instance_uid"],
        reason=value["reason"],
        instances=tuple(
            InputInstance(**{**one, "path": PurePosixPath(one["path"])})  # type: ignore[arg-type]
            for one in instances
        ),
    )

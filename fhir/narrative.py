"""What a person reads: the conclusion of the report and its XHTML narrative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from fhir.clean_text import clean
from fhir.codes import NOT_REVIEWED, NarrativeStatus
from fhir.errors import PermanentFhirError
from fhir.observation import label, rounded
from fhir.resources.R4B.narrative import Narrative
from storage.prior_records import PriorResult
from storage.quantities import with_unit
from storage.reason_words import reason_in_words
from storage.records import FinishedJob, MeasurementRecord
from storage.rejected_results import RESULT_REJECTED
from storage.rejection_notes import IMAGES_REJECTED
from storage.telling import WITH_RESULT, Telling, telling
from storage.trend import TrendPoint, change_text, iso_date, trend

_SUMMARY: Final[Mapping[Telling, str]] = {
    Telling.FINDINGS: "findings",
    Telling.NO_FINDINGS: "no findings",
    Telling.NOT_PROCESSED: "not processed",
    Telling.FAILED: "failed",
    Telling.NO_PIPELINE: "not processed",
}
_REPLACED: Final = "Withdrawn: newer work on the study replaces this result."
_REJECTED: Final[Mapping[str, str]] = {
    IMAGES_REJECTED: "Withdrawn: the images that this result rests on were taken back.",
    RESULT_REJECTED: "Withdrawn: this result was rejected in the image archive.",
}
NO_RESULT: Final = "No AI result: this says nothing about the images."


def outcome_of(finished: FinishedJob) -> Telling:
    """What there is to tell.

    Raises:
        PermanentFhirError: the job has come to no end.
    """
    told = telling(finished.job)
    if told is None:
        raise PermanentFhirError("not_finished", "the job has no outcome to report")
    return told


def title(finished: FinishedJob) -> str:
    """The name of the analysis, with the algorithm and its version where there is one."""
    algorithm = finished.job.algorithm
    if algorithm is None:
        return "AI analysis"
    name = clean(f"{algorithm.name} {algorithm.version}") or algorithm.model_digest
    return f"AI analysis: {name}"


def withdrawn(finished: FinishedJob) -> str:
    """Why a result that was told counts no more."""
    return _REJECTED.get(finished.job.reason_code, _REPLACED)


def notice(finished: FinishedJob, outcome: Telling) -> str:
    """What the report is worth, before all else."""
    if finished.withdrawn_at is not None:
        return withdrawn(finished)
    return NOT_REVIEWED if outcome in WITH_RESULT else NO_RESULT


def summary(finished: FinishedJob, outcome: Telling) -> str:
    """The outcome in words; without a result, with its coded reason in words."""
    if outcome in WITH_RESULT:
        return _SUMMARY[outcome]
    job = finished.job
    reason = ": ".join(part for part in map(clean, (job.reason_code, reason_in_words(job))) if part)
    return f"{_SUMMARY[outcome]} ({reason})" if reason else _SUMMARY[outcome]


def conclusion(finished: FinishedJob, outcome: Telling) -> str:
    """One paragraph: what it is worth, which algorithm, what it found."""
    values = "; ".join(_told(each, finished.priors) for each in finished.measurements)
    told = f"{notice(finished, outcome)} {title(finished)}: {summary(finished, outcome)}."
    if finished.review:
        told = f"{told} Marked for review: {clean(finished.review)}."
    return f"{told} {values}." if values else told


def value_text(measurement: MeasurementRecord) -> str:
    """The value with its unit, or that the structure was not detected."""
    if not measurement.has_value:
        return "not detected"
    told = with_unit(f"{rounded(measurement.value):f}", measurement.unit.value)
    if measurement.is_of_class and not measurement.is_qualifying:
        return f"{told} ({'positive' if measurement.is_present else 'negative'})"
    return told


def _told(measurement: MeasurementRecord, priors: Sequence[PriorResult]) -> str:
    """The value and, where there are earlier ones, the last of them."""
    told = f"{label(measurement)}: {value_text(measurement)}"
    points = trend(measurement, priors)
    if not points or not points[-1].was_measured:
        return told
    earlier = _earlier(points[-1], measurement.unit.value)
    change = change_text(points[-1])
    compared = f"{earlier}, change {change}" if change else earlier
    return f"{told} ({iso_date(points[-1].study_date)}: {compared})"


def _earlier(point: TrendPoint, unit: str) -> str:
    if not point.was_measured:
        return "not measured"
    return "not detected" if point.value is None else with_unit(f"{rounded(point.value):f}", unit)


def build_narrative(finished: FinishedJob, outcome: Telling) -> Narrative:
    """The report as generated XHTML (R4 narrative); every text in it is escaped."""
    rows = "".join(_row(each, finished.priors) for each in finished.measurements)
    table = f"<table>{_head(finished.priors)}<tbody>{rows}</tbody></table>" if rows else ""
    head = f"<p><b>{escape(title(finished))}</b></p><p>{escape(notice(finished, outcome))}</p>"
    found = f"<p>Outcome: {escape(summary(finished, outcome))}</p>"
    if finished.review:
        found += f"<p><b>Marked for review</b>: {escape(clean(finished.review) or '')}</p>"
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{head}{found}{table}</div>'
    return Narrative(status=NarrativeStatus.GENERATED, div=div)


def _head(priors: Sequence[PriorResult]) -> str:
    """Column heads, which only a table with earlier studies needs."""
    if not priors:
        return ""
    cells = ("", "now", *(iso_date(each.study_date) for each in priors), "change since the last")
    return "<thead><tr>" + "".join(f"<th>{cell}</th>" for cell in cells) + "</tr></thead>"


def _row(measurement: MeasurementRecord, priors: Sequence[PriorResult]) -> str:
    points = trend(measurement, priors)
    unit = measurement.unit.value
    earlier = [_earlier(point, unit) for point in points]
    change = [change_text(points[-1])] if points else []
    cells = (label(measurement), value_text(measurement), *earlier, *change)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"

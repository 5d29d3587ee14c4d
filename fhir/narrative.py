"""What a person reads: the conclusion of the report and its XHTML narrative."""

from __future__ import annotations

from html import escape

from fhir.clean_text import clean
from fhir.codes import NOT_REVIEWED, NarrativeStatus
from fhir.observation import label, rounded
from fhir.resources.R4B.narrative import Narrative
from storage.records import FinishedJob, MeasurementRecord, Outcome

_SUMMARY = {Outcome.FINDINGS: "findings", Outcome.NO_FINDINGS: "no findings"}


def title(finished: FinishedJob) -> str:
    """The name of the analysis, with the algorithm and its version."""
    algorithm = finished.algorithm
    name = clean(f"{algorithm.name} {algorithm.version}") or algorithm.model_digest
    return f"AI analysis: {name}"


def conclusion(finished: FinishedJob, outcome: Outcome) -> str:
    """One paragraph: what it is worth, which algorithm, what it found."""
    values = "; ".join(f"{label(each)}: {value_text(each)}" for each in finished.measurements)
    summary = f"{NOT_REVIEWED} {title(finished)}: {_SUMMARY[outcome]}."
    if finished.review:
        summary = f"{summary} Marked for review: {clean(finished.review)}."
    return f"{summary} {values}." if values else summary


def value_text(measurement: MeasurementRecord) -> str:
    """The value with its unit, or that the structure was not detected."""
    if not measurement.has_value:
        return "not detected"
    told = f"{rounded(measurement.value):f} {measurement.unit.value}"
    if measurement.is_of_class and not measurement.is_qualifying:
        return f"{told} ({'positive' if measurement.is_present else 'negative'})"
    return told


def build_narrative(finished: FinishedJob, outcome: Outcome) -> Narrative:
    """The report as generated XHTML (R4 narrative); every text in it is escaped."""
    rows = "".join(_row(each) for each in finished.measurements)
    table = f"<table><tbody>{rows}</tbody></table>" if rows else ""
    head = f"<p><b>{escape(title(finished))}</b></p><p>{escape(NOT_REVIEWED)}</p>"
    found = f"<p>Outcome: {_SUMMARY[outcome]}</p>"
    if finished.review:
        found += f"<p><b>Marked for review</b>: {escape(clean(finished.review) or '')}</p>"
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{head}{found}{table}</div>'
    return Narrative(status=NarrativeStatus.GENERATED, div=div)


def _row(measurement: MeasurementRecord) -> str:
    cells = (label(measurement), value_text(measurement))
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"

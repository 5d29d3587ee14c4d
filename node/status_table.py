"""What `radnode status` shows: studies with their jobs and deliveries, without patient data.

The table names a study by the short hash that also stands in the logs; the JSON has its Study
Instance UID as well, for whoever must find it in the PACS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from storage.instance_files import uid_tag
from storage.overview_rows import DeliveryRow, JobRow, StudyRow
from storage.records import DeliveryState, JobState, Purpose
from storage.rejection_records import NoteRow

_COLUMNS = ("images", "state", "job", "pipeline", "outcome", "deliveries")
_STYLES: dict[str, str] = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "bold red",
    JobState.REFUSED: "yellow",
    DeliveryState.DEAD: "bold red",
}
_SECOND = timedelta(seconds=1)
_UNITS = (
    ("days", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("min", timedelta(minutes=1)),
)


def status_table(studies: tuple[StudyRow, ...], now: datetime | None = None) -> Table:
    """One line for each job; a study without a job yet has one line of its own.

    What waits is told from `now` (aware; default: this moment).
    """
    at = now or datetime.now(UTC)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    # What identifies a study and a job must not be cut on a narrow terminal.
    table.add_column("study", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name in ("images", "job"))
    for study in studies:
        for line in _lines(study, at):
            table.add_row(*line)
    return table


def _lines(study: StudyRow, now: datetime) -> Iterator[tuple[str | Text, ...]]:
    tag, images = uid_tag(study.study_instance_uid), str(study.instance_count)
    if study.replaced_count:
        images += f" ({study.replaced_count} replaced)"
    if study.rejected_count:
        images += f" ({study.rejected_count} rejected)"
    state = "\n".join((_state(study), *map(_note, study.rejection_notes)))
    if not study.jobs:
        yield tag, images, state, "", "", "", ""
    for job in study.jobs:
        ways = _ways(job, now)
        yield tag, images, state, str(job.job_id), job.pipeline_name, _outcome(job), ways
        tag = images = state = ""


def _note(note: NoteRow) -> str:
    """Tell one rejection note: its title, who sent it, and what came of it."""
    state = note.state.value.replace("_", " ")
    return f"rejection note {note.title} from {note.calling_ae_title}: {state}"


def _state(study: StudyRow) -> str:
    if study.complete_at is None:
        return study.state
    waited = "" if study.complete_waited_s is None else f", after {study.complete_waited_s:.1f} s"
    return f"{study.state} ({study.complete_evidence}{waited})"


def _outcome(job: JobRow) -> Text:
    words = [str(job.state)]
    if job.outcome:
        words.append(str(job.outcome))
    if job.reason_code:
        words.append(f"{job.reason_code}: {job.reason_text}")
    return Text(" - ".join(words), style=_STYLES.get(job.state, ""))


def _ways(job: JobRow, now: datetime) -> Text:
    return Text("\n").join(_way(delivery, now) for delivery in job.deliveries)


def _way(delivery: DeliveryRow, now: datetime) -> Text:
    words = f"{delivery.delivery_id} {delivery.destination}: {delivery.state}"
    if delivery.purpose is Purpose.WITHDRAW:
        words = f"{delivery.delivery_id} {delivery.destination}: withdrawal {delivery.state}"
    if delivery.reason_code:
        words += " - " + ": ".join(filter(None, (delivery.reason_code, delivery.reason_text)))
    if notes := ", ".join(_notes(delivery, now)):
        words += f" ({notes})"
    return Text(words, style=_STYLES.get(delivery.state, ""))


def _notes(delivery: DeliveryRow, now: datetime) -> Iterator[str]:
    if delivery.reason_code:
        yield f"try {delivery.attempts}"
    if delivery.state is DeliveryState.PENDING:
        yield f"next {_until(delivery.due_at - now)}"
    if delivery.fallback:
        kinds = dict.fromkeys(item.kind.name for item in delivery.sent)
        yield f"no SEG taken: {', '.join(kinds)} instead"
    if delivery.left_out:
        yield f"left out: {delivery.left_out}"
    if delivery.unconfirmed:
        yield f"unconfirmed: {delivery.unconfirmed}"
    if delivery.outdated:
        yield f"told under another {', '.join(delivery.outdated)}"


def _until(wait: timedelta) -> str:
    """Tell a wait in the largest unit of which it has two, rounded up."""
    for unit, size in _UNITS:
        if wait > 2 * size:
            return f"in {-(-wait // size)} {unit}"
    return "now" if wait <= timedelta() else f"in {-(-wait // _SECOND)} s"


def status_json(studies: tuple[StudyRow, ...], left_out: int = 0) -> dict[str, Any]:
    """The same as plain values, with every field; `left_out` is how many studies are not shown."""
    shown = [{"tag": _tag(study), **_plain(asdict(study))} for study in studies]
    return {"studies": shown, "studies_left_out": left_out}


def _tag(study: StudyRow) -> str:
    return uid_tag(study.study_instance_uid)


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case datetime():
            return value.isoformat()
        case Enum():
            return value.value
        case _:
            return value

"""`radnode status`: what the node has, what waits, and what a person has to see to."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple

import typer

from config.errors import Problem
from config.settings import Settings
from node.cli_options import ConfigOption, kept_settings, warn
from node.console import table_console
from node.data_directory import existing_data
from node.quarantine_cli import quarantine_json, quarantine_told
from node.status_gate import MOST_ROWS, certificate_warnings, gate_json, rejections_table
from node.status_machine import Machine, machine, machine_json, machine_warnings
from node.status_table import status_json, status_table
from storage.overview import study_count, study_rows
from storage.overview_rows import StudyRow
from storage.quarantine import QuarantinedRecord, list_quarantine
from storage.rejections import RejectionCount, list_rejections


class _Seen(NamedTuple):
    """All that is shown; `left_out` is how many studies are not."""

    studies: tuple[StudyRow, ...]
    left_out: int
    turned_away: tuple[RejectionCount, ...]
    kept: tuple[QuarantinedRecord, ...]
    warnings: tuple[str, ...]
    machine: Machine
    problems: tuple[Problem, ...]


def status(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="So many of the newest studies, and all that are not done.")
    ] = 50,
) -> None:
    """Show studies, jobs and deliveries, who was turned away, and what keeps the node from work."""
    seen = _look(*kept_settings(config, "status"), limit)
    if as_json:
        typer.echo(json.dumps(_json(seen), indent=2))
    else:
        _tell(seen)


def _look(settings: Settings, problems: tuple[Problem, ...], limit: int) -> _Seen:
    with existing_data(settings) as db:
        studies = study_rows(db, limit)
        # Counted a moment later: a study may be deleted in between.
        left_out = max(0, study_count(db) - len(studies))
        turned_away, kept = list_rejections(db), list_quarantine(db)
    warnings = certificate_warnings(settings)
    return _Seen(studies, left_out, turned_away, kept, warnings, machine(settings), problems)


def _json(seen: _Seen) -> dict[str, Any]:
    gate = gate_json(seen.turned_away, seen.warnings)
    whole = status_json(seen.studies, seen.left_out) | gate | machine_json(seen.machine)
    whole["settings_problems"] = [str(problem) for problem in seen.problems]
    return whole | quarantine_json(seen.kept)


def _tell(seen: _Seen) -> None:
    console = table_console()
    console.print(status_table(seen.studies))
    if seen.left_out:
        typer.echo(f"{seen.left_out} older studies, in which nothing waits, are left out: --limit")
    if seen.turned_away:
        console.print(rejections_table(seen.turned_away[:MOST_ROWS]))
    if more := len(seen.turned_away[MOST_ROWS:]):
        typer.echo(f"{more} more were turned away before: --json names them")
    quarantine_told(seen.kept)
    warn((*seen.warnings, *machine_warnings(seen.machine)))
    if seen.problems:
        warn([f"settings have {len(seen.problems)} problems, named by radnode check-config"])

"""`radnode quarantine`: look at what contradicts the known, accept it or delete it."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from node.cli_options import ConfigOption, kept_settings
from node.console import table_console
from node.data_directory import existing_data, make_private
from storage.instance_files import InstanceFiles, uid_tag
from storage.quarantine import QuarantinedRecord, discard, list_quarantine, quarantine_count
from storage.quarantine_release import release

quarantine_app = typer.Typer(
    help="Instances that contradict what is known of their study, kept aside.",
    no_args_is_help=True,
)

Number = Annotated[int, typer.Argument(min=1, help="As `list` shows it.")]

_COLUMNS = ("reason", "since", "from", "study", "series", "instance")


@quarantine_app.command("list")
def show(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, with UIDs.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
) -> None:
    """List what is kept aside, and what differs."""
    with existing_data(kept_settings(config, "quarantine")[0]) as db:
        kept, count = list_quarantine(db, limit), quarantine_count(db)
    if as_json:
        typer.echo(json.dumps([_plain(one) for one in kept], indent=2))
    else:
        table_console().print(quarantine_table(kept))
    if count > len(kept):
        # Not on standard output, where the JSON is a list and nothing else.
        typer.echo(f"radnode: {count - len(kept)} more, older, are not listed: --limit", err=True)


@quarantine_app.command("release")
def accept(number: Number, config: ConfigOption = None) -> None:
    """Accept it as the truth: what is known of study, series and patient is corrected to agree."""
    settings, _ = kept_settings(config, "quarantine")
    make_private(settings.node.data_dir)
    with existing_data(settings) as db:
        files = InstanceFiles(settings.node.data_dir, settings.storage.durability)
        outcome = release(db, files, number, actor=getpass.getuser())
    typer.echo(f"quarantine {number} is released: {outcome}")


@quarantine_app.command("discard")
def delete(number: Number, config: ConfigOption = None) -> None:
    """Delete it for good; what is known stays as it is."""
    settings, _ = kept_settings(config, "quarantine")
    with existing_data(settings) as db:
        files = InstanceFiles(settings.node.data_dir, settings.storage.durability)
        discard(db, files, number, actor=getpass.getuser())
    typer.echo(f"quarantine {number} is deleted")


def quarantine_table(kept: tuple[QuarantinedRecord, ...]) -> Table:
    """One line for each; studies, series and instances by the hashes of the logs."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("quarantine", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for one in kept:
        uids = (one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid)
        since = one.quarantined_at.isoformat(timespec="seconds")
        line = (str(one.quarantine_id), one.reason.value, since, one.calling_ae_title)
        table.add_row(*line, *map(uid_tag, uids))
    return table


def quarantine_told(kept: tuple[QuarantinedRecord, ...]) -> None:
    """Print the section of `radnode status`, if there is anything to tell."""
    if kept:
        typer.echo(f"{len(kept)} in quarantine: they contradict what is known")
        table_console().print(quarantine_table(kept))
        typer.echo("radnode quarantine release N accepts one, quarantine discard N deletes it")


def quarantine_json(kept: tuple[QuarantinedRecord, ...]) -> dict[str, object]:
    """The section of `radnode status --json`."""
    return {"quarantine": {"count": len(kept), "instances": [_plain(one) for one in kept]}}


def _plain(one: QuarantinedRecord) -> dict[str, object]:
    plain = asdict(one) | {"reason": one.reason.value, "tag": uid_tag(one.study_instance_uid)}
    return plain | {"quarantined_at": one.quarantined_at.isoformat()}

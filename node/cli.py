"""The command `radnode`.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. Expected errors are one line each
on standard error; the unexpected leave class and place, never a text that may quote a data set.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from config.errors import ConfigError, InvalidConfig
from config.load import read_settings
from config.setting_types import is_ae_title
from config.settings import LogSettings
from config.tls_settings import ClientTls
from node.certificate_maker import KeyType
from node.cli_options import ConfigOption, command_settings, config_path, kept_settings, warn
from node.data_directory import (
    directory_problems,
    existing_data,
    kept_data,
    make_private,
    server_problems,
)
from node.errors import NodeError
from node.log_setup import configure_logging, describe_error
from node.make_certificates import made_certificates
from node.model_commands import model_app
from node.offered_pipelines import pipeline_problems
from node.quarantine_cli import quarantine_app
from node.revocation_list_maker import made_revocation_list
from node.run_command import run
from node.send_target import SendTarget
from node.status_command import status
from node.status_gate import certificate_warnings
from pipelines.errors import InvalidBundle, InvalidDefinition, PipelineError
from storage.deliveries import retry_delivery as retry_delivery_now
from storage.errors import StorageError
from storage.jobs import get_job, retry_job
from storage.studies import reopen_for_routing

if TYPE_CHECKING:
    from node.send import FileReport

app = typer.Typer(
    name="radnode",
    help="Takes studies from a PACS, runs models on them, and sends the results back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(quarantine_app, name="quarantine")
app.add_typer(model_app, name="model")
app.command("run")(run)
app.command("status")(status)


def main() -> NoReturn:
    """Run the command line and exit."""
    configure_logging(LogSettings(), process="radnode")
    try:
        app()
    except (InvalidConfig, InvalidDefinition) as error:
        _quit(2, error.problems)
    except (ConfigError, InvalidBundle) as error:
        _quit(2, [error])
    except (NodeError, PipelineError, StorageError) as error:
        _quit(1, [error])
    except Exception as error:  # noqa: BLE001 -- the outermost edge of the process
        _quit(1, [f"internal error: {describe_error(error)}"])
    raise SystemExit(0)


def _quit(code: int, problems: Iterable[object]) -> NoReturn:
    for problem in problems:
        typer.echo(f"radnode: {problem}", err=True)
    raise SystemExit(code)


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the node until it is asked to stop (SIGTERM or Ctrl-C)."""
    from node.service import serve as run_node

    run_node(command_settings(config, "node"), config_path(config))


@app.command(hidden=True)
def worker(
    config: ConfigOption = None,
    parent: Annotated[int | None, typer.Option(help="Process not to outlive.")] = None,
) -> None:
    """Run models; `radnode serve` starts this by itself."""
    from node.worker_process import run_worker_process

    run_worker_process(command_settings(config, "worker"), parent_pid=parent)


def _ae_title(value: str | None) -> str | None:
    if value is not None and not is_ae_title(value):
        raise typer.BadParameter("an AE title has 1 to 16 ASCII characters, no \\, no outer space")
    return value


def _host(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise typer.BadParameter("name a host, or leave it out for this node")
    return value


@app.command()
def send(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    host: Annotated[str | None, typer.Option(help="Default: this node.", callback=_host)] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    called: Annotated[
        str | None, typer.Option(help="AE title of the receiver.", callback=_ae_title)
    ] = None,
    calling: Annotated[
        str | None, typer.Option(help="AE title to send as.", callback=_ae_title)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Send over TLS, and trust these CA certificates.")
    ] = None,
    certificate_file: Annotated[Path | None, typer.Option(help="Certificate to show.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    config: ConfigOption = None,
) -> None:
    """Send a folder of DICOM files, by default to this node as its first sender."""
    from node.send import send_folder

    is_tls = any((ca_file, certificate_file, key_file))
    files = {"ca_file": ca_file, "certificate_file": certificate_file, "key_file": key_file}
    wanted = SendTarget(host, port, called, calling, ClientTls(enabled=is_tls, **files))
    if not wanted.is_complete:
        wanted = wanted.completed(command_settings(config, "send"))
    report = send_folder(folder, *wanted.address(), wanted.tls)
    warn(f"{one.path}: {_told(one)}: taken, but its log says more" for one in report.warned)
    for failure in report.failed:
        typer.echo(f"radnode: {failure.path}: {_told(failure)}", err=True)
    failed, warned, skipped = len(report.failed), len(report.warned), len(report.skipped)
    taken = f"{report.stored} stored" + (f", {warned} taken with a warning" if warned else "")
    typer.echo(f"{taken}, {failed} failed, {skipped} skipped (not DICOM)")
    if failed or not (report.stored or warned):
        raise typer.Exit(1)


def _told(report: FileReport) -> str:
    return report.reason or f"status 0x{report.status or 0:04X}"


@app.command()
def retry(job: Annotated[int, typer.Argument(min=1)], config: ConfigOption = None) -> None:
    """Try a failed or refused job again; a study that no pipeline took is routed again."""
    with existing_data(kept_settings(config, "retry")[0]) as db:
        found = get_job(db, job)
        if found.pipeline_name:
            retry_job(db, job, now=datetime.now(UTC))
            typer.echo(f"job {job} is queued")
        else:
            reopen_for_routing(db, found.study_instance_uid, now=datetime.now(UTC))
            typer.echo(f"the study of job {job} is routed again")


@app.command()
def retry_delivery(
    delivery: Annotated[int, typer.Argument(min=1)], config: ConfigOption = None
) -> None:
    """Try a dead or waiting delivery now."""
    with existing_data(kept_settings(config, "retry-delivery")[0]) as db:
        retry_delivery_now(db, delivery, now=datetime.now(UTC))
    typer.echo(f"delivery {delivery} is pending, due now")


@app.command()
def check_config(config: ConfigOption = None) -> None:
    """Check settings, pipelines and model bundles, and name every problem."""
    path = config_path(config)
    reading = read_settings(path)
    configure_logging(reading.settings.log, process="check-config")
    problems = [*reading.problems, *pipeline_problems(reading.settings, reading.unsure)]
    if "node" not in reading.unsure:
        problems += directory_problems(reading.settings.node.data_dir)
    if not problems:
        problems += server_problems(reading.settings)
    if problems:
        _quit(2, problems)
    warn(certificate_warnings(reading.settings))
    offered = ", ".join(sorted(set(reading.settings.pipelines.enabled))) or "none"
    typer.echo(f"{path or 'defaults'}: ok; pipelines: {offered}")


@app.command()
def migrate(config: ConfigOption = None) -> None:
    """Bring the database to this version; `radnode serve` does it by itself."""
    from storage.migrate import migrate as migrate_database

    settings = command_settings(config, "migrate")
    make_private(settings.node.data_dir)
    with kept_data(settings) as db:
        typer.echo(f"database revision {migrate_database(db)}")


@app.command()
def make_certificates(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Made if need be.")],
    name: Annotated[list[str], typer.Option(help="Host name or address of this node.")],
    peer: Annotated[list[str] | None, typer.Option(help="Host of a peer, such as a PACS.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650)] = 397,
    key_type: Annotated[KeyType, typer.Option(help="Old systems take RSA only.")] = KeyType.RSA,
    renew: Annotated[bool, typer.Option(help="Replace those that are there.")] = False,
) -> None:
    """Make a CA and certificates for DICOM over mutual TLS, and say who needs which."""
    for line in made_certificates(
        folder, name, peer or [], days=days, key_type=key_type, renew=renew
    ):
        typer.echo(line)


@app.command()
def make_revocation_list(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Of the CA.")],
    revoke: Annotated[
        list[str] | None, typer.Option(help="Peer, or certificate file, to withdraw.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Until the next update.")] = 30,
) -> None:
    """Withdraw certificates of that CA, or renew its list of those that are withdrawn."""
    for line in made_revocation_list(folder, revoke or [], days=days):
        typer.echo(line)


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
) -> None:
    """Show the whole way on this machine: PACS stand-in, node, model, results."""
    from node.demo.run import run_demo

    raise typer.Exit(run_demo(out))


@app.command()
def jwks(config: ConfigOption = None) -> None:
    """Print the public keys (JWKS) by which EHRs with SMART know this node."""
    from node.jwks import jwks_json

    typer.echo(jwks_json(command_settings(config, "jwks")))

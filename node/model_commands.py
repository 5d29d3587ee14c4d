"""`radnode model`: look at a model, accept it, list what was accepted."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from node.cli_options import ConfigOption, local_settings
from node.model_choice import ModelChoice, chosen_model
from node.model_page import model_page
from pipelines.acceptance import AcceptedModel, read_acceptances, record_acceptance
from pipelines.errors import InvalidBundle

model_app = typer.Typer(help="Look at models, and accept those that may run.", no_args_is_help=True)

BundleArgument = Annotated[
    str,
    typer.Argument(help="Name under pipelines.bundles_dir, or a path to a folder, .zip or .ts."),
]
CaseArgument = Annotated[
    Path | None,
    typer.Argument(exists=True, file_okay=False, help="Folder with one study to try it on."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


@model_app.command()
def check(
    bundle: BundleArgument,
    case: CaseArgument = None,
    load: Annotated[
        bool,
        typer.Option("--load", help="Load it though it is not accepted: this runs its code."),
    ] = False,
    write_definition: Annotated[
        Path | None, typer.Option(help="Write a first pipeline definition to this file.")
    ] = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
) -> None:
    """Say in one page what a model takes and gives, and whether it runs.

    A model that is not accepted is read but not loaded, unless --load is given.
    """
    choice = chosen_model(local_settings(config, "model"), bundle)
    checked: Any = None
    if choice.acceptance or choice.is_pinned or load:
        from pipelines.model_check import checked_model

        checked = checked_model(choice.registered, case, device, choice.precisions)
    typer.echo(model_page(choice, checked))
    if write_definition is not None:
        _write(write_definition, choice)
    if checked is not None and checked.failure:
        raise typer.Exit(1)


@model_app.command()
def accept(
    bundle: BundleArgument,
    case: CaseArgument = None,
    despite_left_right: Annotated[
        bool,
        typer.Option(help="Accept though the left/right test did not pass, or was not run."),
    ] = False,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
) -> None:
    """Load a model, try it on a case and its mirror image, and put its acceptance on record."""
    from pipelines.left_right import Verdict
    from pipelines.model_check import checked_model

    settings = local_settings(config, "model")
    choice = chosen_model(settings, bundle)
    checked = checked_model(choice.registered, case, device, choice.precisions)
    typer.echo(model_page(choice, checked))
    if checked.failure:
        raise InvalidBundle(f"bundle {choice.name}: not accepted, because it does not run")
    test = checked.left_right
    if test.verdict is not Verdict.PASSED and not despite_left_right:
        raise InvalidBundle(
            f"bundle {choice.name}: not accepted: left/right test {test.verdict} ({test.detail}); "
            "try it on another case, or add --despite-left-right"
        )
    record_acceptance(
        settings.node.data_dir,
        AcceptedModel(
            bundle=choice.name,
            model_digest=choice.registered.model_digest,
            files=choice.registered.files,
            accepted_at=datetime.now(UTC).isoformat(timespec="seconds"),
            accepted_by=getpass.getuser(),
            left_right=test.verdict,
            left_right_detail=test.detail,
            agreements={
                name: {checked.device_kind: found.share}
                for name, found in checked.agreements.items()
            },
        ),
    )
    typer.echo(f"accepted: {choice.name} ({choice.registered.model_digest})")


@model_app.command("list")
def list_accepted(config: ConfigOption = None) -> None:
    """List the models that were accepted, oldest first."""
    settings = local_settings(config, "model")
    models = read_acceptances(settings.node.data_dir).models
    for model in models:
        typer.echo(
            f"{model.accepted_at}  {model.bundle}  {model.model_digest[:16]}  "
            f"left/right {model.left_right}  by {model.accepted_by}"
        )
    if not models:
        typer.echo("no model was accepted here; shipped models need no acceptance")


def _write(path: Path, choice: ModelChoice) -> None:
    if path.exists():
        raise InvalidBundle(f"{path} is there already; nothing was written")
    values = {**choice.proposal, "name": path.stem}
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
    typer.echo(f"wrote {path}; name the series it may take, and the codes, before it is used")

"""`radnode run`: one study, one pipeline, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.settings import Settings
from node.attempt import station
from node.cli_options import ConfigOption, local_settings
from node.offered_pipelines import UNPACKED_MODELS
from pipelines.acceptance import read_acceptances
from pipelines.definition import load_definition
from pipelines.registry import RegisteredPipeline, accepted_pipeline, named_definition
from storage.quantities import with_unit
from storage.records import ObjectKind

if TYPE_CHECKING:
    from storage.records import JobResult


def run(
    pipeline: Annotated[
        str, typer.Argument(help="Name of a pipeline, or the path of its definition file.")
    ],
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="DICOM files of one study.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; made if need be.")],
    device: Annotated[str | None, typer.Option(help="Default: worker.device.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Run one study through a pipeline and write its objects, without a server."""
    settings = local_settings(config, "run")
    registered = wanted_pipeline(settings, pipeline)

    from pipelines.pages import Wanted
    from pipelines.run import run_study

    wanted = Wanted(
        frozenset(ObjectKind[name] for name in settings.worker.extra_objects),
        fonts=settings.worker.report_fonts,
    )
    result = run_study(
        registered,
        folder,
        out,
        device=device or settings.worker.device,
        wanted=wanted,
        station=station(settings),
    )
    typer.echo(json.dumps(_as_json(result, out), indent=2) if as_json else _told(result, out))


def wanted_pipeline(settings: Settings, pipeline: str) -> RegisteredPipeline:
    """The pipeline of that name or file, if its model is accepted. Raises `InvalidBundle`."""
    path = Path(pipeline)
    is_file = path.suffix in (".yaml", ".yml") and path.is_file()
    data_dir = settings.node.data_dir
    return accepted_pipeline(
        load_definition(path) if is_file else named_definition(settings.pipelines, pipeline),
        settings.pipelines,
        read_acceptances(data_dir),
        data_dir / UNPACKED_MODELS,
    )


def _told(result: JobResult, out: Path) -> str:
    lines = [f"outcome: {result.outcome} ({result.device})"]
    if result.review:
        lines.append(f"marked for review: {result.review}")
    for item in result.measurements:
        told = with_unit(f"{item.value:.3f}", item.unit.value) if item.has_value else "absent"
        name = f"  {item.quantity.meaning}" if item.is_qualifying else item.structure
        lines.append(f"  {name:<32} {told}")
    lines += [f"{made.kind.name}: {out / made.path}" for made in result.objects]
    return "\n".join(lines)


def _as_json(result: JobResult, out: Path) -> dict[str, object]:
    return {
        "outcome": result.outcome,
        "review": result.review,
        "device": result.device,
        "peak_memory_mib": result.peak_memory_mib,
        "stage_times_s": dict(result.stage_times_s),
        "objects": [
            {"kind": made.kind.name, "path": str(out / made.path)} for made in result.objects
        ],
        "measurements": [
            {
                "structure": item.structure,
                "quantity": item.quantity.meaning,
                "value": item.value,
                "unit": item.unit.value,
                "is_present": item.is_present,
            }
            for item in result.measurements
        ],
    }

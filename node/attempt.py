"""One attempt at a job: from kept instances to results, or to a coded reason why not.

The only place that calls `pipelines.run`; torch is imported with the first attempt, so that this
module can be read by processes that never compute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

import structlog

from config.settings import Settings
from node.extra_objects import extra_objects
from node.log_setup import describe_error
from pipelines.errors import DeviceLost, InvalidBundle, PipelineError, ProofFailed, Refused
from pipelines.objects.station import Station
from pipelines.registry import RegisteredPipeline, Registry
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.prior_records import PriorResult
from storage.records import JobRecord, JobResult, Refusal

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Failure:
    """The attempt broke; `may_pass` says whether another attempt could go better.

    After one that `ends_worker`, only a new process can compute: a device's context is broken.
    """

    code: str
    text: str
    may_pass: bool
    ends_worker: bool = False


Attempted: TypeAlias = JobResult | Refusal | Failure


def warm_up(registry: Registry, settings: Settings) -> None:
    """Import torch and load every model, so that the first study waits for neither.

    A model that cannot be loaded is only logged: its jobs fail one by one, for all to see.
    """
    import pipelines.first_imports  # noqa: F401 -- imports torch, before the others do
    from pipelines.bundle_macros import BROKEN_CONFIG
    from pipelines.device import chosen_device, prepare_torch
    from pipelines.model_cache import keep_models_within, loaded_model
    from pipelines.run import run_pipeline  # noqa: F401 -- highdicom takes its time, too

    prepare_torch(settings.worker.cpu_threads)
    keep_models_within(settings.worker.model_memory_mib)
    for name, registered in registry.items():
        try:
            loaded_model(registered, chosen_device(settings.worker.device))
        except PipelineError as error:
            log.error("model_not_loaded", pipeline=name, reason=str(error))
        except (*BROKEN_CONFIG, MemoryError):  # of others' code, which loading runs
            log.error("model_not_loaded", pipeline=name, exc_info=True)


def attempt(
    job: JobRecord,
    registered: RegisteredPipeline,
    files: InstanceFiles,
    settings: Settings,
    priors: Callable[[], tuple[PriorResult, ...]] = tuple,
) -> Attempted:
    """Run the job's pipeline on its instances; results are durable under results/<job_id>.

    `priors` looks up the earlier results of the patient.
    """
    try:
        return _run(job, registered, files, settings, priors())
    except Refused as refused:
        return Refusal(refused.code, refused.text)
    except (InvalidBundle, ProofFailed) as error:
        return Failure(_code(error), str(error), may_pass=False)
    except DeviceLost as error:
        return Failure(_code(error), str(error), may_pass=True, ends_worker=True)
    except PipelineError as error:
        return Failure(_code(error), str(error), may_pass=True)
    except StorageError as error:
        return Failure(_code(error), str(error), may_pass=True)
    except MemoryError:
        return Failure("out_of_memory", "the attempt needed more memory than there is", True)
    except Exception as error:  # the job's outermost edge; recorded with it
        # Never the error's own text: a foreign library may quote the data set in it.
        log.error("attempt_broke", exc_info=True)
        return Failure("internal_error", describe_error(error), may_pass=True)


def _run(
    job: JobRecord,
    registered: RegisteredPipeline,
    files: InstanceFiles,
    settings: Settings,
    priors: tuple[PriorResult, ...],
) -> JobResult:
    from pipelines.pages import Wanted
    from pipelines.run import RunRequest, run_pipeline

    return run_pipeline(
        RunRequest(
            registered=registered,
            inputs=_input_paths(job, files),
            input_digest=job.input_digest,
            out_dir=files.results_dir(job.job_id),
            data_dir=settings.node.data_dir,
            device=settings.worker.device,
            station=station(settings),
            # When the job was asked for, not now: every attempt writes the same bytes.
            content_time=job.created_at.astimezone(ZoneInfo(settings.node.timezone)),
            cpu_threads=settings.worker.cpu_threads,
            wanted=Wanted(
                extra_objects(settings, job.destinations),
                priors,
                settings.worker.report_fonts,
            ),
        )
    )


def _input_paths(job: JobRecord, files: InstanceFiles) -> dict[str, tuple[Path, ...]]:
    return {
        given.role: tuple(files.absolute(instance.path) for instance in given.instances)
        for given in job.inputs
    }


def station(settings: Settings) -> Station:
    """How this node names itself in the objects it makes."""
    return Station(
        node_name=settings.node.name,
        ae_title=settings.node.ae_title,
        institution_name=settings.node.institution_name,
        software_version=software_version(),
    )


def software_version() -> str:
    """Return the version of the installed distribution; a bare source tree has none."""
    try:
        return version("radnode")
    except PackageNotFoundError:
        return "unknown"


def _code(error: Exception) -> str:
    """Return a class name as a code: InferenceFailed -> inference_failed."""
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")

"""Objects that are made of a job's kept ones for one destination: revisions, notes, reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from node.errors import PermanentDelivery
from node.made_objects import Maker, PreparedObject, Request
from storage.instance_files import InstanceFiles

_ABSENT = Path("absent")


def _no_header(_text: str) -> PermanentDelivery:
    text = "no image of the study can be read, so no report can be filed beside one"
    return PermanentDelivery("no_readable_header", text)


_MAKER = Maker(
    "pipelines.objects.compose", "composing", "composing_broke", {"no_readable_header": _no_header}
)


def composed(
    files: InstanceFiles,
    job_id: int,
    sources: Sequence[Path],
    request: Callable[[Path], Request],
) -> tuple[PreparedObject, ...]:
    """Give what `request` asks for, given the folder to write into; `sources` are what it reads.

    Raises:
        PermanentDelivery: what was made failed its proof, or there is nothing to make it of.
        TransientDelivery: the process that makes it broke, or a file cannot be read now.
    """
    folder = files.results_dir(job_id) / _name(sources, request(_ABSENT))
    return _MAKER.made(folder, request)


def _name(sources: Sequence[Path], request: Request) -> str:
    digest = sha256(request.to_json().encode())
    for path in sources:
        try:
            status = path.stat()
        except OSError as error:
            text = f"a result object cannot be read ({type(error).__name__}); retry the job"
            raise PermanentDelivery("object_unreadable", text) from error
        digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return f"sent-{digest.hexdigest()[:16]}"

"""Objects that are made of a job's kept ones for one destination: revisions and notes.

They are made once, below the job's results, under a name that follows from what was asked for and
of which files, so that a retry finds them again and they go when the results go.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from node.errors import PermanentDelivery, TransientDelivery
from node.prepared_objects import PreparedObject
from storage.instance_files import InstanceFiles, durable_write
from storage.records import ObjectKind
from storage.sent_objects import SentObject

_MANIFEST = "objects.json"
_TIME_LIMIT_S = 900.0
_ABSENT = Path("absent")


class Request(Protocol):
    """What `pipelines.objects.compose` is asked."""

    def to_json(self) -> str:
        """Give the request as the process reads it."""


def composed(
    files: InstanceFiles,
    job_id: int,
    sources: Sequence[Path],
    request: Callable[[Path], Request],
) -> tuple[PreparedObject, ...]:
    """Give what `request` asks for, given the folder to write into; `sources` are what it reads.

    Raises:
        PermanentDelivery: what was made failed its proof.
        TransientDelivery: the process that makes it broke, or a file cannot be read now.
    """
    results = files.results_dir(job_id)
    folder = results / _name(sources, request(_ABSENT))
    if not (folder / _MANIFEST).exists():
        with TemporaryDirectory(dir=results, prefix="making-") as scratch:
            _publish(_answer(request(Path(scratch))), Path(scratch), folder)
    known = json.loads((folder / _MANIFEST).read_text())
    return tuple(_prepared(folder, item) for item in known)


def _prepared(folder: Path, item: dict[str, Any]) -> PreparedObject:
    path = folder / item.pop("path")
    kind = ObjectKind(item.pop("kind"))
    return PreparedObject(path, SentObject(kind=kind, transfer_syntax_uid="", **item))


def _publish(manifest: str, scratch: Path, folder: Path) -> None:
    """Give the files their name; another destination may have made the same ones meanwhile."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for made in scratch.iterdir():
        made.replace(folder / made.name)
    # Last, and durable: it says that the others are there.
    durable_write(folder / _MANIFEST, manifest.encode())


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


def _answer(request: Request) -> str:
    command = [sys.executable, "-m", "pipelines.objects.compose"]
    try:
        done = subprocess.run(
            command,
            input=request.to_json(),
            capture_output=True,
            text=True,
            timeout=_TIME_LIMIT_S,
            check=False,
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        text = f"an object was not composed within {_TIME_LIMIT_S:g} s"
        raise TransientDelivery("composing_broke", text) from error
    except ValueError as error:
        text = f"the process that composes objects ended with status {done.returncode}"
        raise TransientDelivery("composing_broke", text) from error
    match answer.get("error"):
        case None:
            return json.dumps(answer["objects"])
        case "no_readable_header":
            text = "no image of the study can be read, so no report can be filed beside one"
            raise PermanentDelivery("no_readable_header", text)
        case "proof_failed":
            raise PermanentDelivery("proof_failed", f"{answer['text']}; run the job again")
        case code:
            raise TransientDelivery(code, f"composing an object broke: {answer['text']}")

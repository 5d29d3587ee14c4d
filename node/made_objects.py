"""Objects that a process of its own makes of a job's kept ones, once for all destinations.

They lie below the job's results, in a folder whose name follows from what was asked for and of
which files, so that a retry finds them again and they go when the results go.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from node.errors import PermanentDelivery, TransientDelivery
from storage.instance_files import durable_write
from storage.records import ObjectKind
from storage.sent_objects import SentObject

_MANIFEST = "objects.json"
_TIME_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class PreparedObject:
    """A file to send and what is told of it; its transfer syntax is known when it was sent."""

    path: Path
    told: SentObject


class Request(Protocol):
    """What such a process is asked."""

    def to_json(self) -> str:
        """Give the request as the process reads it."""


@dataclass(frozen=True, slots=True)
class Maker:
    """A module that reads a request and writes objects; `doing` and `code` tell its failures.

    `refusals` are the errors that it answers on purpose, each with what to raise for its text.
    """

    module: str
    doing: str
    code: str
    refusals: dict[str, Callable[[str], Exception]]

    def made(self, folder: Path, request: Callable[[Path], Request]) -> tuple[PreparedObject, ...]:
        """Give the objects of `folder`, made first if they are not there.

        `request` gets the folder to write into.

        Raises:
            PermanentDelivery: what was made failed its proof.
            TransientDelivery: the process broke. What `refusals` give.
        """
        if not (folder / _MANIFEST).exists():
            with TemporaryDirectory(dir=folder.parent, prefix="making-") as scratch:
                _publish(self._answer(request(Path(scratch))), Path(scratch), folder)
        known = json.loads((folder / _MANIFEST).read_text())
        return tuple(_prepared(folder, item) for item in known)

    def _answer(self, request: Request) -> str:
        answer = self._asked(request.to_json())
        code, text = answer.get("error"), answer.get("text", "")
        if code is None:
            return json.dumps(answer["objects"])
        if code in self.refusals:
            raise self.refusals[code](text)
        if code == "proof_failed":
            raise PermanentDelivery("proof_failed", f"{text}; run the job again")
        raise TransientDelivery(code, f"{self.doing} the objects broke: {text}")

    def _asked(self, request: str) -> dict[str, Any]:
        try:
            done = subprocess.run(
                [sys.executable, "-m", self.module],
                input=request,
                capture_output=True,
                text=True,
                timeout=_TIME_LIMIT_S,
                check=False,
            )
            return dict(json.loads(done.stdout))
        except subprocess.TimeoutExpired as error:
            text = f"{self.doing} the objects took longer than {_TIME_LIMIT_S:g} s"
            raise TransientDelivery(self.code, text) from error
        except ValueError as error:
            text = f"{self.doing} the objects ended with status {done.returncode}"
            raise TransientDelivery(self.code, text) from error


def _publish(manifest: str, scratch: Path, folder: Path) -> None:
    """Give the files their name; another destination may have made the same ones meanwhile."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for made in scratch.iterdir():
        made.replace(folder / made.name)
    # Last, and durable: it says that the others are there.
    durable_write(folder / _MANIFEST, manifest.encode())


def _prepared(folder: Path, item: dict[str, Any]) -> PreparedObject:
    told = {**item, "kind": ObjectKind(item["kind"]), "transfer_syntax_uid": ""}
    return PreparedObject(folder / told.pop("path"), SentObject(**told))

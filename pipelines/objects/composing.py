"""What is asked of the process that composes objects from kept ones (see `compose`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.objects.revision import Predecessor, Revision


@dataclass(frozen=True, slots=True)
class RevisionRequest:
    """Files of one result, to be written anew into `out_dir` as the revision says."""

    files: tuple[Path, ...]
    revision: Revision
    out_dir: Path

    def to_json(self) -> str:
        """Give the request as the process reads it."""
        return json.dumps({"act": "revise", **asdict(self)}, default=str)

    @classmethod
    def from_plain(cls, known: dict[str, Any]) -> RevisionRequest:
        """Read a request back."""
        wanted = known["revision"]
        revision = Revision(
            wanted["round"],
            tuple((keyword, value) for keyword, value in wanted["attributes"]),
            tuple(Predecessor(**item) for item in wanted["predecessors"]),
        )
        return cls(tuple(map(Path, known["files"])), revision, Path(known["out_dir"]))


@dataclass(frozen=True, slots=True)
class Rejected:
    """One object that is taken back, as the receiver has it."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    is_image: bool


@dataclass(frozen=True, slots=True)
class NoteRequest:
    """A rejection note into `out_dir`; `made` is an object of the job, for its header.

    `title` is a `RejectionTitle`; `attributes` are as in a `Revision`. `rejected_at` is aware.
    """

    made: Path
    rejected: tuple[Rejected, ...]
    title: str
    rejected_at: datetime
    out_dir: Path
    attributes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.rejected:
            raise ValueError("a rejection note names at least one object")

    def to_json(self) -> str:
        """Give the request as the process reads it."""
        told = asdict(self) | {"rejected_at": self.rejected_at.isoformat()}
        return json.dumps({"act": "reject", **told}, default=str)

    @classmethod
    def from_plain(cls, known: dict[str, Any]) -> NoteRequest:
        """Read a request back."""
        return cls(
            made=Path(known["made"]),
            rejected=tuple(Rejected(**item) for item in known["rejected"]),
            title=known["title"],
            rejected_at=datetime.fromisoformat(known["rejected_at"]),
            out_dir=Path(known["out_dir"]),
            attributes=tuple((keyword, value) for keyword, value in known["attributes"]),
        )


@dataclass(frozen=True, slots=True)
class OutcomeRequest:
    """A report into `out_dir` on work that gave no result; `images` are tried for their header.

    `role` is what its UIDs follow from, with the study; `algorithm` is name and version of the
    model that should have run, None where no pipeline took the study. `content_time` is aware.
    """

    images: tuple[Path, ...]
    role: str
    text: str
    series_description: str
    algorithm: tuple[str, str] | None
    device_uid: str
    node_name: str
    ae_title: str
    institution_name: str
    software_version: str
    content_time: datetime
    out_dir: Path
    attributes: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """Give the request as the process reads it."""
        told = asdict(self) | {"content_time": self.content_time.isoformat()}
        return json.dumps({"act": "tell", **told}, default=str)

    @classmethod
    def from_plain(cls, known: dict[str, Any]) -> OutcomeRequest:
        """Read a request back."""
        given = {key: value for key, value in known.items() if key != "act"}
        name_and_version = given["algorithm"]
        return cls(
            **given
            | {
                "images": tuple(map(Path, given["images"])),
                "algorithm": tuple(name_and_version) if name_and_version else None,
                "content_time": datetime.fromisoformat(given["content_time"]),
                "out_dir": Path(given["out_dir"]),
                "attributes": tuple((keyword, value) for keyword, value in given["attributes"]),
            }
        )

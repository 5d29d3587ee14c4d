"""What is asked of the process that re-encodes results, and what it answers (see `reencode`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydicom.uid import UID

from pipelines.objects.encoding import Encoding, SegmentationForm

_KEPT = ("segmentation", "report")


@dataclass(frozen=True, slots=True)
class EncodingRequest:
    """Kept files, and how they are wanted; `images` are read where empty frames are.

    `explains`: whether the report may refer to pictures that explain a class.
    """

    segmentation: Path | None
    report: Path | None
    images: tuple[Path, ...]
    encoding: Encoding
    out_dir: Path
    explains: bool = True

    def to_json(self) -> str:
        """Give the request as the process reads it."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> EncodingRequest:
        """Read a request; raises ValueError, KeyError or TypeError where it is none."""
        known = json.loads(text)
        wanted = known.pop("encoding")
        wanted["form"] = SegmentationForm(wanted["form"])
        for name in ("segmentation_transfer_syntax", "report_transfer_syntax"):
            wanted[name] = UID(wanted[name])
        paths = {name: Path(known[name]) if known[name] else None for name in _KEPT}
        images = tuple(map(Path, known["images"]))
        return cls(
            **paths,
            images=images,
            encoding=Encoding(**wanted),
            out_dir=Path(known["out_dir"]),
            explains=known["explains"],
        )


@dataclass(frozen=True, slots=True)
class EncodedObject:
    """One file that was made; `encoding` names the Segmentation Type, "" for a report."""

    path: str
    kind: str
    encoding: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str

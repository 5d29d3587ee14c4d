"""`python -m pipelines.objects.compose`: objects made of kept ones, for one destination.

A process of its own, since a delivering process holds neither frames nor the library. The request
is a JSON object on standard input, the answer one on standard output: {"objects": [...]}, or
{"error": code, "text": ...} with exit status 1. What is written is read back and proved.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pipelines.errors import ProofFailed
from pipelines.objects.composing import NoteRequest, OutcomeRequest, RevisionRequest
from pipelines.objects.encoding_request import EncodedObject
from pipelines.objects.revision import prove_revision, revised
from pipelines.objects.station import MANUFACTURER
from pipelines.objects.write import write_object

_UNREADABLE = (InvalidDicomError, ValueError, AttributeError, KeyError, TypeError)


class NoHeader(Exception):
    """No image has a header that can be read."""


def compose(request: dict[str, Any]) -> tuple[EncodedObject, ...]:
    """Make what is asked for.

    Raises:
        NoHeader: no image is readable enough to file a report beside it.
        ProofFailed: a kept or a made object cannot be read back as what it should be.
        OSError: a file cannot be read or written.
    """
    match request["act"]:
        case "revise":
            return _revise(RevisionRequest.from_plain(request))
        case "reject":
            return (_reject(NoteRequest.from_plain(request)),)
        case "tell":
            return (_tell(OutcomeRequest.from_plain(request)),)
        case act:
            raise ValueError(f"there is no act {act}")


def _revise(request: RevisionRequest) -> tuple[EncodedObject, ...]:
    kept = [dcmread(path) for path in request.files]
    made = []
    for number, (before, after) in enumerate(
        zip(kept, revised(kept, request.revision), strict=True)
    ):
        path = request.out_dir / f"{number}.dcm"
        write_object(after, path)
        prove_revision(before, dcmread(path), request.revision)
        made.append(_told(path, after))
    return tuple(made)


def _reject(request: NoteRequest) -> EncodedObject:
    # highdicom takes its time; revisions do without.
    from pipelines.objects.rejection_note import build_rejection_note, prove_rejection_note

    header = dcmread(request.made, stop_before_pixels=True)
    note = build_rejection_note(request, header)
    path = request.out_dir / "note.dcm"
    write_object(note, path)
    prove_rejection_note(dcmread(path), request)
    return _told(path, note)


def _tell(request: OutcomeRequest) -> EncodedObject:
    from pipelines.objects.outcome_report import build_outcome_report, prove_outcome_report

    report = build_outcome_report(request, _readable_header(request.images))
    path = request.out_dir / "outcome.dcm"
    write_object(report, path)
    prove_outcome_report(dcmread(path), request)
    return _told(path, report)


def _readable_header(images: Sequence[Path]) -> Dataset:
    """Give the first header that names its study, and that is not of a result of ours."""
    for image in images:
        try:
            header = dcmread(image, stop_before_pixels=True)
            is_ours = str(header.get("Manufacturer", "")).casefold() == MANUFACTURER
            if header.get("StudyInstanceUID") and header.get("SOPInstanceUID") and not is_ours:
                return header
        except (OSError, *_UNREADABLE):
            continue
    raise NoHeader


def _told(path: Path, made: Dataset) -> EncodedObject:
    return EncodedObject(
        path=path.name,
        kind=str(made.Modality),
        encoding=str(made.get("SegmentationType", "")),
        sop_class_uid=str(made.SOPClassUID),
        sop_instance_uid=str(made.SOPInstanceUID),
        series_instance_uid=str(made.SeriesInstanceUID),
    )


def main() -> int:
    """Answer one request; the exit status is 1 where the answer is an error."""
    try:
        made = compose(json.loads(sys.stdin.read()))
    except NoHeader:
        return _answer({"error": "no_readable_header", "text": "no header can be read"}, 1)
    except ProofFailed as error:
        return _answer({"error": "proof_failed", "text": str(error)}, 1)
    except (OSError, MemoryError, *_UNREADABLE) as error:
        # Never an error's own text: it may name a file, or quote what it holds.
        return _answer({"error": "composing_broke", "text": type(error).__name__}, 1)
    return _answer({"objects": [asdict(item) for item in made]}, 0)


def _answer(answer: dict[str, Any], status: int) -> int:
    sys.stdout.write(json.dumps(answer))
    return status


if __name__ == "__main__":
    raise SystemExit(main())

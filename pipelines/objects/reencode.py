"""`python -m pipelines.objects.reencode`: a job's SEG and SR as one destination wants them.

A process of its own, since a delivering process must not hold gigabytes of frames. The request is
a JSON object on standard input, the answer one on standard output: {"objects": [...]}, or
{"error": code, "text": ...} with exit status 1.
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

from pipelines.errors import NotEncodable, ProofFailed
from pipelines.objects.decoded_segmentation import (
    UNREADABLE,
    DecodedSegmentation,
    decode_segmentation,
)
from pipelines.objects.empty_slices import with_empty_slices
from pipelines.objects.encoded_frames import places_of
from pipelines.objects.encoded_segmentation import compressed, encoded_segmentation
from pipelines.objects.encoding import Encoding, Part, SegmentationForm, parts_of
from pipelines.objects.encoding_proof import prove_encoding
from pipelines.objects.encoding_request import EncodedObject, EncodingRequest
from pipelines.objects.report_references import (
    SentPart,
    detached_report,
    repointed_report,
    unexplained_report,
)
from pipelines.objects.write import write_object


def reencode(request: EncodingRequest) -> tuple[EncodedObject, ...]:
    """Make the objects in `out_dir`, each proved against the kept SEG.

    Raises:
        NotEncodable: the SEG cannot have that encoding.
        ProofFailed: a kept or a made object cannot be read back as what it should be.
        OSError: a file cannot be read or written.
    """
    objects: list[EncodedObject] = []
    sent: list[SentPart] = []
    if request.segmentation is not None:
        kept = _decoded(request.segmentation)
        for part in _parts(request.encoding, kept):
            made, sent_part = _made_part(request, kept, part)
            objects.append(made)
            sent.append(sent_part)
    if request.report is not None:
        objects.append(_made_report(request, sent))
    return tuple(objects)


def _decoded(path: Path) -> DecodedSegmentation:
    try:
        return decode_segmentation(path)
    except UNREADABLE as error:
        raise ProofFailed(f"the kept SEG cannot be read back: {type(error).__name__}") from None


def _parts(encoding: Encoding, kept: DecodedSegmentation) -> tuple[Part, ...]:
    is_auto = encoding.form is SegmentationForm.AUTO
    form = SegmentationForm(str(kept.dataset.SegmentationType)) if is_auto else encoding.form
    return parts_of(encoding, form, len(kept.dataset.SegmentSequence))


def _made_part(
    request: EncodingRequest, kept: DecodedSegmentation, part: Part
) -> tuple[EncodedObject, SentPart]:
    if _is_kept_one(part, kept):
        made: Dataset = dcmread(request.segmentation or "")
    else:
        places = places_of(kept)
        if part.keeps_empty_frames:
            places = with_empty_slices(kept.dataset, places, request.images)
        made = encoded_segmentation(kept, part, places)
    path = request.out_dir / f"seg{part.first}.dcm"
    write_object(compressed(made, request.encoding.segmentation_transfer_syntax), path)
    prove_encoding(path, kept, part)
    sent = SentPart(part, _reference(made))
    return _told(path, "SEG", made, part.form.value), sent


def _is_kept_one(part: Part, kept: DecodedSegmentation) -> bool:
    """Whether only the transfer syntax differs: it stays the same SOP Instance."""
    is_same_form = part.form.value == str(kept.dataset.SegmentationType)
    return is_same_form and part.is_whole and not part.keeps_empty_frames


def _reference(made: Dataset) -> Dataset:
    reference = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"):
        setattr(reference, keyword, made.get(keyword))
    return reference


def _made_report(request: EncodingRequest, sent: Sequence[SentPart]) -> EncodedObject:
    report: Dataset = dcmread(request.report or "")
    if not request.explains:
        report = unexplained_report(report)
    if request.segmentation is None:
        report = detached_report(report)
    else:
        kept_uid = str(dcmread(request.segmentation, stop_before_pixels=True).SOPInstanceUID)
        if any(str(item.dataset.SOPInstanceUID) != kept_uid for item in sent):
            report = repointed_report(report, kept_uid, sent)
    report.file_meta.TransferSyntaxUID = request.encoding.report_transfer_syntax
    path = request.out_dir / "sr.dcm"
    write_object(report, path)
    return _told(path, "SR", report, "")


def _told(path: Path, kind: str, made: Dataset, encoding: str) -> EncodedObject:
    return EncodedObject(
        path=path.name,
        kind=kind,
        encoding=encoding,
        sop_class_uid=str(made.SOPClassUID),
        sop_instance_uid=str(made.SOPInstanceUID),
        series_instance_uid=str(made.SeriesInstanceUID),
    )


def main() -> int:
    """Answer one request; the exit status is 1 where the answer is an error."""
    try:
        made = reencode(EncodingRequest.from_json(sys.stdin.read()))
    except (NotEncodable, ProofFailed) as error:
        code = "not_encodable" if isinstance(error, NotEncodable) else "proof_failed"
        return _answer({"error": code, "text": str(error)}, 1)
    except (OSError, MemoryError) as error:
        # Never an error's own text: it may name a file.
        return _answer({"error": "reencoding_broke", "text": type(error).__name__}, 1)
    return _answer({"objects": [asdict(item) for item in made]}, 0)


def _answer(answer: dict[str, Any], status: int) -> int:
    sys.stdout.write(json.dumps(answer))
    return status


if __name__ == "__main__":
    raise SystemExit(main())

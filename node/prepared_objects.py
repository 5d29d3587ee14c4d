"""A job's objects as one destination wants them: the kept files, or files made of them once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from config.object_profile import EXPLICIT_VR_LITTLE_ENDIAN
from node.errors import FormRefused
from node.made_objects import Maker, PreparedObject
from node.wanted_objects import Offer, wanted_objects
from pipelines.objects.encoding import Encoding
from pipelines.objects.encoding_request import EncodingRequest
from storage.instance_files import InstanceFiles
from storage.records import FinishedJob, ObjectKind, ResultObject
from storage.sent_objects import SentObject

_ENCODED = frozenset({ObjectKind.SEG, ObjectKind.SR})
"""What is made anew for an encoding: the SR refers to the SEG. Pages stay as they are."""

log = structlog.get_logger()


class _NotEncodable(Exception):
    """This encoding is not possible; another one may be."""


_MAKER = Maker(
    "pipelines.objects.reencode",
    "re-encoding",
    "reencoding_broke",
    {"not_encodable": _NotEncodable},
)


def prepared_objects(
    files: InstanceFiles, finished: FinishedJob, offer: Offer, encodings: Sequence[Encoding]
) -> tuple[PreparedObject, ...]:
    """Give what is offered in the first of the encodings that they can have.

    Raises:
        FormRefused: none of them is possible. PermanentDelivery: what was made failed its proof.
        TransientDelivery: the process that makes them broke.
    """
    wanted = wanted_objects(finished, offer)
    is_otherwise = _stands_alone(finished, wanted) or _explains_less(finished, offer)
    encoded = [made for made in wanted if made.kind in _ENCODED]
    as_they_are = [made for made in wanted if made.kind not in _ENCODED]
    text = "no encoding is accepted"
    for encoding in encodings:
        if not encoded or (encoding == Encoding() and not is_otherwise):
            return tuple(_kept(files, wanted))
        try:
            made_objects = _made(files, finished, encoded, encoding, offer.explains)
            return (*made_objects, *_kept(files, as_they_are))
        except _NotEncodable as error:
            text = str(error)
            log.warning("encoding_not_possible", form=encoding.form.value, reason=text)
    text = f"{text}; change segmentation or transfer_syntaxes"
    raise FormRefused("not_encodable", text, [made.sop_class_uid for made in encoded])


def _stands_alone(finished: FinishedJob, wanted: Sequence[ResultObject]) -> bool:
    """Whether the report goes where the segmentation does not: it must not refer to it."""
    kinds = {made.kind for made in wanted}
    has_segmentation = any(made.kind is ObjectKind.SEG for made in finished.objects)
    return ObjectKind.SR in kinds and has_segmentation and ObjectKind.SEG not in kinds


def _explains_less(finished: FinishedJob, offer: Offer) -> bool:
    """Whether the report goes where its heat maps do not."""
    return not offer.explains and any(made.kind is ObjectKind.HEAT for made in finished.objects)


def _kept(files: InstanceFiles, wanted: Sequence[ResultObject]) -> Iterator[PreparedObject]:
    for made in wanted:
        told = SentObject(
            made.kind,
            _segmentation_type(files.absolute(made.path)),
            made.sop_class_uid,
            made.sop_instance_uid,
            made.series_instance_uid,
            EXPLICIT_VR_LITTLE_ENDIAN,
        )
        yield PreparedObject(files.absolute(made.path), told)


def _segmentation_type(path: Path) -> str:
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SegmentationType"])
    except (InvalidDicomError, OSError):
        # The sending tells what is wrong with the file.
        return ""
    return str(header.get("SegmentationType", ""))


def _made(
    files: InstanceFiles,
    finished: FinishedJob,
    wanted: Sequence[ResultObject],
    encoding: Encoding,
    explains: bool,
) -> tuple[PreparedObject, ...]:
    folder = files.results_dir(finished.job.job_id) / _name(wanted, encoding, explains)

    def request(scratch: Path) -> EncodingRequest:
        return replace(_request(files, finished, wanted, encoding, scratch), explains=explains)

    return _MAKER.made(folder, request)


def _name(wanted: Sequence[ResultObject], encoding: Encoding, explains: bool) -> str:
    digests = [made.sha256 for made in wanted]
    asked = json.dumps([digests, asdict(encoding), explains], default=str, sort_keys=True)
    return f"sent-{sha256(asked.encode()).hexdigest()[:16]}"


def _request(
    files: InstanceFiles,
    finished: FinishedJob,
    wanted: Sequence[ResultObject],
    encoding: Encoding,
    out_dir: Path,
) -> EncodingRequest:
    paths = {made.kind: files.absolute(made.path) for made in wanted}
    inputs = finished.job.inputs if encoding.keeps_empty_frames else ()
    images = [one.path for given in inputs for one in given.instances]
    return EncodingRequest(
        segmentation=paths.get(ObjectKind.SEG),
        report=paths.get(ObjectKind.SR),
        images=tuple(files.absolute(path) for path in images),
        encoding=encoding,
        out_dir=out_dir,
    )

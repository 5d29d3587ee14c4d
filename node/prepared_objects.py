"""A job's objects as one destination wants them: the kept files, or files made of them once.

What is made lies below the job's results, under a name that follows from what was asked for and of
which files, so that a retry finds it again and it goes when the results go.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from config.object_profile import EXPLICIT_VR_LITTLE_ENDIAN
from node.errors import FormRefused, PermanentDelivery, TransientDelivery
from node.wanted_objects import wanted_objects
from pipelines.objects.encoding import Encoding
from pipelines.objects.encoding_request import EncodingRequest
from storage.instance_files import InstanceFiles, durable_write
from storage.records import FinishedJob, ObjectKind, ResultObject
from storage.sent_objects import SentObject

_MANIFEST = "objects.json"
_TIME_LIMIT_S = 900.0
_ENCODED = frozenset({ObjectKind.SEG, ObjectKind.SR})
"""What is made anew for an encoding: the SR refers to the SEG. Pages stay as they are."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PreparedObject:
    """A file to send and what is told of it; its transfer syntax is known when it was sent."""

    path: Path
    told: SentObject


def prepared_objects(
    files: InstanceFiles, finished: FinishedJob, kinds: Sequence[str], encodings: Sequence[Encoding]
) -> tuple[PreparedObject, ...]:
    """Give the objects of `kinds` in the first of the encodings that they can have.

    Raises:
        FormRefused: none of them is possible. PermanentDelivery: what was made failed its proof.
        TransientDelivery: the process that makes them broke.
    """
    wanted = wanted_objects(finished, kinds)
    encoded = [made for made in wanted if made.kind in _ENCODED]
    as_they_are = [made for made in wanted if made.kind not in _ENCODED]
    text = "no encoding is accepted"
    for encoding in encodings:
        if not encoded or (encoding == Encoding() and not _stands_alone(finished, wanted)):
            return tuple(_kept(files, wanted))
        try:
            made_objects = _made(files, finished, encoded, encoding)
            return (*made_objects, *_kept(files, as_they_are))
        except _NotEncodable as error:
            text = str(error)
            log.warning("encoding_not_possible", form=encoding.form.value, reason=text)
    text = f"{text}; change segmentation or transfer_syntaxes"
    raise FormRefused("not_encodable", text, [made.sop_class_uid for made in encoded])


class _NotEncodable(Exception):
    """This encoding is not possible; another one may be."""


def _stands_alone(finished: FinishedJob, wanted: Sequence[ResultObject]) -> bool:
    """Whether the report goes where the segmentation does not: it must not refer to it."""
    kinds = {made.kind for made in wanted}
    has_segmentation = any(made.kind is ObjectKind.SEG for made in finished.objects)
    return ObjectKind.SR in kinds and has_segmentation and ObjectKind.SEG not in kinds


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
) -> tuple[PreparedObject, ...]:
    results = files.results_dir(finished.job.job_id)
    folder = results / _name(wanted, encoding)
    if not (folder / _MANIFEST).exists():
        with TemporaryDirectory(dir=results, prefix="making-") as scratch:
            request = _request(files, finished, wanted, encoding, Path(scratch))
            _publish(_answer(request), Path(scratch), folder)
    known = json.loads((folder / _MANIFEST).read_text())
    return tuple(
        PreparedObject(
            folder / item.pop("path"),
            SentObject(**{**item, "kind": ObjectKind(item["kind"]), "transfer_syntax_uid": ""}),
        )
        for item in known
    )


def _publish(manifest: str, scratch: Path, folder: Path) -> None:
    """Give the files their name; another destination may have made the same ones meanwhile."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for made in scratch.iterdir():
        made.replace(folder / made.name)
    # Last, and durable: it says that the others are there.
    durable_write(folder / _MANIFEST, manifest.encode())


def _name(wanted: Sequence[ResultObject], encoding: Encoding) -> str:
    digests = [made.sha256 for made in wanted]
    asked = json.dumps([digests, asdict(encoding)], default=str, sort_keys=True)
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


def _answer(request: EncodingRequest) -> str:
    command = [sys.executable, "-m", "pipelines.objects.reencode"]
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
        text = f"the objects were not re-encoded within {_TIME_LIMIT_S:g} s"
        raise TransientDelivery("reencoding_broke", text) from error
    except ValueError as error:
        text = f"the process that re-encodes objects ended with status {done.returncode}"
        raise TransientDelivery("reencoding_broke", text) from error
    match answer.get("error"):
        case None:
            return json.dumps(answer["objects"])
        case "not_encodable":
            raise _NotEncodable(answer["text"])
        case "proof_failed":
            raise PermanentDelivery("proof_failed", f"{answer['text']}; run the job again")
        case code:
            raise TransientDelivery(code, f"re-encoding the objects broke: {answer['text']}")

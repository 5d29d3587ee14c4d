"""A STOW-RS server that stores, warns and refuses as a test says, in DICOM JSON or XML."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email import message_from_bytes
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import FileDataset

from tests.peers.scripted_http import Answer, Request

FAILED, REFERENCED = "00081198", "00081199"
WARNING, FAILURE = "00081196", "00081197"
MODALITIES = "SEG", "SR"


class StowScript:
    """Decides for each instance by its Modality: 0 stores it, another number is its reason."""

    def __init__(
        self,
        reasons: Callable[[FileDataset], int] = lambda _: 0,
        *,
        told: Callable[[Mapping[str, int]], bytes] | None = None,
    ) -> None:
        self.reasons = reasons
        self.told = told or as_json
        self.posts: list[list[FileDataset]] = []
        self.stored: dict[str, FileDataset] = {}

    def __call__(self, request: Request) -> Answer:
        assert (request.method, request.path) == ("POST", "/fhir/studies")
        instances = instances_of(request)
        self.posts.append(instances)
        outcome = {str(one.SOPInstanceUID): self.reasons(one) for one in instances}
        taken = [one for one in instances if outcome[one.SOPInstanceUID] in (0, 0xB000)]
        self.stored |= {str(one.SOPInstanceUID): one for one in taken}
        status = 200 if len(taken) == len(instances) else 202 if taken else 409
        return Answer(status, self.told(outcome))

    @property
    def modalities(self) -> list[list[str]]:
        return [[str(one.Modality) for one in post] for post in self.posts]


def instances_of(request: Request) -> list[FileDataset]:
    """Take a multipart body apart with the mail parser of the standard library."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + request.body)
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == "application/dicom"
    parts = request.body.split(f"--{message.get_boundary()}".encode())[1:-1]
    contents = [part.split(b"\r\n\r\n", 1) for part in parts]
    assert {head.strip() for head, _ in contents} == {b"Content-Type: application/dicom"}
    return [dcmread(BytesIO(content.removesuffix(b"\r\n"))) for _, content in contents]


def as_json(outcome: Mapping[str, int]) -> bytes:
    """Tell stored ones, with a warning from 0xB000 on, and failed ones."""

    def item(uid: str, reason: int) -> dict[str, object]:
        tag = WARNING if _is_stored(reason) else FAILURE
        told = {tag: {"vr": "US", "Value": [reason]}} if reason else {}
        return {"00081155": {"vr": "UI", "Value": [uid]}, **told}

    stored = [item(uid, reason) for uid, reason in outcome.items() if _is_stored(reason)]
    failed = [item(uid, reason) for uid, reason in outcome.items() if not _is_stored(reason)]
    return json.dumps(
        {FAILED: {"vr": "SQ", "Value": failed}, REFERENCED: {"vr": "SQ", "Value": stored}}
    ).encode()


def as_xml(outcome: Mapping[str, int]) -> bytes:
    """The same in the Native DICOM Model."""

    def attribute(tag: str, vr: str, value: object) -> str:
        inner = f'<Value number="1">{value}</Value>'
        return f'<DicomAttribute tag="{tag}" vr="{vr}">{inner}</DicomAttribute>'

    def sequence(tag: str, items: list[str]) -> str:
        inner = "".join(f'<Item number="{n}">{item}</Item>' for n, item in enumerate(items, 1))
        return f'<DicomAttribute tag="{tag}" vr="SQ">{inner}</DicomAttribute>'

    stored = [attribute("00081155", "UI", uid) for uid, r in outcome.items() if _is_stored(r)]
    failed = [
        attribute("00081155", "UI", uid) + attribute(FAILURE, "US", reason)
        for uid, reason in outcome.items()
        if not _is_stored(reason)
    ]
    body = sequence(FAILED, failed) + sequence(REFERENCED, stored)
    namespace = 'xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"'
    return (
        f'<?xml version="1.0"?>\n<NativeDicomModel {namespace}>{body}</NativeDicomModel>'.encode()
    )


def _is_stored(reason: int) -> bool:
    return reason in (0, 0xB000)

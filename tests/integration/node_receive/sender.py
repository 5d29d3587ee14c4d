"""A sender that sends what it is told, broken files included, and shows every answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_context, evt
from pynetdicom.dsutils import create_file_meta, encode, encode_file_meta
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext

from node.dimse_policy import apply_dimse_policy, prepare_requestor
from tests.integration.node_receive.running_listener import CALLED, CALLING
from tests.peers.ports import wait_until

MR_EXPLICIT = (MRImageStorage, ExplicitVRLittleEndian)


def request(
    port: int,
    contexts: Iterable[tuple[str, str]] = (MR_EXPLICIT,),
    *,
    calling: str = CALLING,
    called: str = CALLED,
    host: str = "127.0.0.1",
) -> Any:
    """Request an association and return it, accepted or not."""
    apply_dimse_policy()
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    proposed: list[PresentationContext] = [build_context(uid, syntax) for uid, syntax in contexts]
    handlers = [(evt.EVT_CONN_OPEN, prepare_requestor), (evt.EVT_PDU_RECV, _keep_rejection)]
    return ae.associate(host, port, contexts=proposed, ae_title=called, evt_handlers=handlers)


def _keep_rejection(event: Any) -> None:
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        event.assoc.rejection = event.pdu


@contextmanager
def association(
    port: int, contexts: Iterable[tuple[str, str]] = (MR_EXPLICIT,), **titles: str
) -> Iterator[Any]:
    """An accepted association, released at the end of the block."""
    assoc = request(port, contexts, **titles)
    assert assoc.is_established
    try:
        yield assoc
    finally:
        assoc.release()


def store(assoc: Any, *paths: Path) -> list[int]:
    """Send files as their bytes are; their File Meta Information makes the command."""
    return [int(assoc.send_c_store(path).Status) for path in paths]


def rejection_of(assoc: Any) -> tuple[int, int, int]:
    """Return result, source and reason of an A-ASSOCIATE-RJ."""
    # Not `is_rejected`: where the answer comes and the connection is closed before pynetdicom looks
    # whether it was ever open, it calls the association aborted.
    answer: Any = wait_until(lambda: getattr(assoc, "rejection", None), what="the rejection")
    return answer.result, answer.source, answer.reason_diagnostic


def raw_file(
    path: Path,
    content: bytes,
    *,
    sop_class_uid: str = MRImageStorage,
    sop_instance_uid: str,
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
) -> Path:
    """Write a Part 10 file whose data set is `content`, whatever that is."""
    meta = create_file_meta(
        sop_class_uid=UID(sop_class_uid),
        sop_instance_uid=UID(sop_instance_uid),
        transfer_syntax=UID(transfer_syntax_uid),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 128 + b"DICM" + encode_file_meta(meta) + content)
    return path


def encoded(dataset: Dataset, *, implicit: bool = False, little: bool = True) -> bytes:
    """Return a data set's bytes in one of the uncompressed transfer syntaxes."""
    content = encode(dataset, implicit, little)
    assert content is not None
    return bytes(content)

"""A small PACS: keeps what it gets, answers C-FIND with counts, and routes studies by C-STORE.

It knows nothing of the node but address and AE title, and speaks to it over the wire alone.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from node.demo.archive import Archive, HeldInstance
from node.demo.errors import RoutingFailed
from node.dimse_policy import apply_dimse_policy, prepare_requestor

SUCCESS = 0x0000
PENDING = 0xFF00
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
UNABLE_TO_PROCESS = 0xC001


class PacsStandIn:
    """C-ECHO, C-STORE and C-FIND (Study Root) on a port of 127.0.0.1, over an `Archive`."""

    def __init__(self, archive: Archive, ae_title: str = "DEMO_PACS") -> None:
        self.archive = archive
        self.ae_title = ae_title
        self._received: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server: Any = None

    def __enter__(self) -> PacsStandIn:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return int(self._server.socket.getsockname()[1])

    def start(self, port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        apply_dimse_policy()
        self.archive.folder.mkdir(parents=True, exist_ok=True)
        ae = AE(self.ae_title)
        ae.maximum_pdu_size = 131072
        ae.supported_contexts = AllStoragePresentationContexts
        ae.add_supported_context(Verification)
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [(evt.EVT_C_STORE, self._on_store), (evt.EVT_C_FIND, self._on_find)]
        self._server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        """Close the port and the associations on it."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def received(self, study_uid: str) -> int:
        """How many objects of one study came in by C-STORE, repeats counted."""
        with self._lock:
            return self._received[study_uid]

    def echo(self, port: int, called_ae_title: str) -> bool:
        """Ask a node on this machine by C-ECHO whether it is there."""
        ae = AE(self.ae_title)
        ae.add_requested_context(Verification)
        association = _associate(ae, port, called_ae_title)
        if not association.is_established:
            return False
        try:
            return bool(association.send_c_echo().get("Status") == SUCCESS)
        finally:
            association.release()

    def route(self, study_uid: str, port: int, called_ae_title: str) -> int:
        """Send everything held of one study to a node on this machine; return how many objects.

        Raises `RoutingFailed` when the node does not take every one with status 0x0000.
        """
        held = self.archive.instances(study_uid)
        ae = AE(self.ae_title)
        for sop_class, syntax in sorted({(one.sop_class_uid, one.syntax_uid) for one in held}):
            ae.requested_contexts = [*ae.requested_contexts, build_context(sop_class, syntax)]
        association = _associate(ae, port, called_ae_title)
        if not association.is_established:
            raise RoutingFailed("the node did not accept the association of the PACS stand-in")
        try:
            for instance in held:
                _store(association, instance)
        finally:
            association.release()
        return len(held)

    def _on_store(self, event: evt.Event) -> int:
        try:
            held = self.archive.keep(event.encoded_dataset())
        except (InvalidDicomError, AttributeError, ValueError):
            return CANNOT_UNDERSTAND
        except OSError:
            return OUT_OF_RESOURCES
        with self._lock:
            self._received[held.study_instance_uid] += 1
        return SUCCESS

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        answers = self.archive.find(event.identifier)
        if answers is None:
            yield UNABLE_TO_PROCESS, None
            return
        for answer in answers:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield PENDING, answer


def _associate(ae: AE, port: int, called_ae_title: str) -> Any:
    handlers = [(evt.EVT_CONN_OPEN, prepare_requestor)]
    return ae.associate("127.0.0.1", port, ae_title=called_ae_title, evt_handlers=handlers)


def _store(association: Any, instance: HeldInstance) -> None:
    status = association.send_c_store(dcmread(instance.path))
    if "Status" not in status:
        raise RoutingFailed("the node ended the association in the middle of a C-STORE")
    if status.Status != SUCCESS:
        raise RoutingFailed(f"the node answered a C-STORE with 0x{status.Status:04X}")

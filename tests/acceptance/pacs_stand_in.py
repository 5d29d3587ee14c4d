"""A PACS that stores what it is sent and sends what it is told: pynetdicom over real sockets."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    KeyObjectSelectionDocumentStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    Verification,
)

from node.dimse_policy import apply_dimse_policy, prepare_requestor
from tests.peers.ports import free_port
from tests.peers.scp import start_scp

AE_TITLE = "PACS"
NODE_AE_TITLE = "RADNODE"
TAKEN = (
    SegmentationStorage,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
    KeyObjectSelectionDocumentStorage,
    Verification,
)


class PacsStandIn:
    """A storage SCP on a fixed port of 127.0.0.1, which can be up or down.

    `datasets` holds what it has by SOP Instance UID, and `arrivals` how often each came.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.datasets: dict[str, Dataset] = {}
        self.arrivals: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._on_first: Callable[[], None] | None = None

    def after_first_arrival(self, act: Callable[[], None]) -> None:
        """Do something once: when the first instance is stored and not yet acknowledged."""
        self._on_first = act

    def wait_for_first_arrival(self, timeout_s: float = 120) -> None:
        """Wait until the first instance is stored, and what was to be done then is done."""
        assert self._arrived.wait(timeout_s)

    @contextmanager
    def up(self) -> Iterator[PacsStandIn]:
        """Answer inside the block, refuse connections outside."""
        apply_dimse_policy()
        ae = AE(ae_title=AE_TITLE)
        for sop_class in TAKEN:
            ae.add_supported_context(sop_class, ExplicitVRLittleEndian)
        server = start_scp(ae, ("127.0.0.1", self.port), [(evt.EVT_C_STORE, self._store)])
        try:
            yield self
        finally:
            server.shutdown()

    def of_modality(self, modality: str) -> list[Dataset]:
        """Return the instances of one modality."""
        with self._lock:
            return [one for one in self.datasets.values() if one.Modality == modality]

    def _store(self, event: Any) -> int:
        dataset = dcmread(BytesIO(event.encoded_dataset()))
        with self._lock:
            self.datasets[str(dataset.SOPInstanceUID)] = dataset
            self.arrivals[str(dataset.SOPInstanceUID)] += 1
        act, self._on_first = self._on_first, None
        if act:
            act()
        self._arrived.set()
        return 0x0000


@contextmanager
def association_to_node(port: int) -> Iterator[Any]:
    """An association of the PACS to the node; released at the end if it still stands."""
    ae = AE(ae_title=AE_TITLE)
    ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = ae.associate(
        "127.0.0.1",
        port,
        ae_title=NODE_AE_TITLE,
        evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor)],
    )
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        else:
            association.abort()


def send(association: Any, paths: Iterable[Path]) -> list[str]:
    """Send instances one by one and return the SOP Instance UIDs that got the answer Success."""
    acknowledged = []
    for path in paths:
        dataset = dcmread(path)
        if association.send_c_store(dataset).get("Status") == 0x0000:
            acknowledged.append(str(dataset.SOPInstanceUID))
    return acknowledged

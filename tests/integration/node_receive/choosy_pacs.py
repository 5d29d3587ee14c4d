"""A PACS that takes some SOP Classes only, and what a delivery to it leaves on record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from config.settings import DicomDestination, NodeSettings
from fhir.progress import Progress
from node.dispatch import sender_for
from storage.instance_files import InstanceFiles
from tests.integration.node_receive.finished_result import finished_of
from tests.peers.dcmtk import StoreScp, accepting_only
from tests.unit.pipelines_objects.kept_result import Kept


def choosy_pacs(tmp_path: Path, *sop_classes: UID) -> StoreScp:
    """A storescp that accepts these SOP Classes."""
    options = accepting_only(tmp_path / "accepted.cfg", sop_classes)
    return StoreScp(tmp_path / "taken", options=options)


def receipt_of(kept: Kept, scp: StoreScp, **profile: Any) -> Mapping[str, str]:
    """Deliver a result there; return the receipt."""
    known = {"type": "dicom", "name": "pacs", "host": "127.0.0.1", "timeout_s": 20}
    destination = DicomDestination.model_validate(
        {**known, "port": scp.port, "ae_title": scp.ae_title, **profile}
    )
    sender = sender_for(destination, NodeSettings(), InstanceFiles(kept.folder))
    return sender.send(finished_of(kept), Progress())

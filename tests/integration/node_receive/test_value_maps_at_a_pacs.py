"""Values of heat maps go beside a classifier's result, and never hold it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, evt

from config.settings import DicomDestination, NodeSettings
from fhir.progress import Progress
from node.dispatch import sender_for
from pipelines.heat_map import HeatMap
from pipelines.objects.identity import ResultIdentity
from pipelines.objects.parametric_map import MapRequest, build_parametric_map, decoded_frames
from pipelines.objects.write import write_object
from pipelines.series_volume import read_series
from storage.instance_files import InstanceFiles
from storage.sent_objects import LEFT_OUT_KEY
from tests.integration.node_receive.finished_result import finished_of
from tests.peers.ports import free_port
from tests.unit.pipelines_objects.kept_explanation import kept_explanation
from tests.unit.pipelines_objects.kept_result import Kept
from tests.unit.pipelines_objects.result_requests import ORIGIN

SR, SC, PM = Comprehensive3DSRStorage, SecondaryCaptureImageStorage, ParametricMapStorage


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    made = kept_explanation(tmp_path_factory.mktemp("data"))
    volume = read_series(sorted((made.folder / "images").iterdir()))
    values = np.random.default_rng(5).random(volume.voxels.shape).astype(np.float32)
    heat = HeatMap("Cyst", 1, "image", "2.25.9", 87.5, "Grad-CAM", "at layer 1", values)
    identity = ResultIdentity("2.25.71", "2.25.72", 9010, "AI heat map values")
    request = MapRequest(volume, heat, identity, "2.25.73", 1, ORIGIN)
    write_object(build_parametric_map(request), Path(made.folder) / "map-01.dcm")
    return made


@dataclass
class Pacs:
    """Takes some SOP Classes in one transfer syntax."""

    sop_classes: tuple[UID, ...]
    syntax: UID = ExplicitVRLittleEndian
    port: int = field(default_factory=free_port)
    taken: list[Dataset] = field(default_factory=list)

    def store(self, event: Any) -> int:
        self.taken.append(event.dataset)
        return 0


@contextmanager
def running(pacs: Pacs) -> Iterator[Pacs]:
    ae = AE(ae_title="PACS")
    for sop_class in pacs.sop_classes:
        ae.add_supported_context(sop_class, [pacs.syntax])
    ae.start_server(
        ("127.0.0.1", pacs.port), block=False, evt_handlers=[(evt.EVT_C_STORE, pacs.store)]
    )
    yield pacs
    ae.shutdown()


def delivered(kept: Kept, pacs: Pacs) -> Any:
    destination = DicomDestination.model_validate(
        {
            "type": "dicom",
            "name": "pacs",
            "host": "127.0.0.1",
            "timeout_s": 20,
            "port": pacs.port,
            "ae_title": "PACS",
            "objects": ["seg", "sr", "pm"],
        }
    )
    sender = sender_for(destination, NodeSettings(), InstanceFiles(kept.folder))
    return sender.send(finished_of(kept), Progress({}))


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"]
)
def test_a_pacs_that_takes_them_gets_the_values_as_they_are(kept: Kept, syntax: UID) -> None:
    with running(Pacs((SR, SC, PM), syntax)) as pacs:
        delivered(kept, pacs)
    assert [item.SOPClassUID for item in pacs.taken].count(PM) == 1
    (found,) = (item for item in pacs.taken if item.SOPClassUID == PM)
    values = np.random.default_rng(5).random(decoded_frames(found).shape).astype(np.float32)
    assert np.array_equal(np.sort(decoded_frames(found), axis=None), np.sort(values, axis=None))


def test_one_that_does_not_gets_the_rest_and_it_is_noted(kept: Kept) -> None:
    with running(Pacs((SR, SC))) as pacs:
        receipt = delivered(kept, pacs)
    assert sorted(str(item.SOPClassUID) for item in pacs.taken) == sorted([SR, SC])
    assert "PM" in receipt[LEFT_OUT_KEY]

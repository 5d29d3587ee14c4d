"""Who observed what a document says (PS3.16 TID 1002, 1004): the model, as a device."""

from __future__ import annotations

from typing import Any

import highdicom as hd

from pipelines.objects.codes import DEVICE, coded
from pipelines.objects.identity import Origin


def observing_device(origin: Origin) -> Any:
    """Give the observer context of results."""
    algorithm = origin.algorithm
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=algorithm.device_uid,
        name=origin.station.node_name,
        manufacturer_name=algorithm.manufacturer,
        model_name=algorithm.name,
        serial_number=origin.station.node_name,
    )
    return hd.sr.ObserverContext(
        observer_type=coded(DEVICE), observer_identifying_attributes=device
    )

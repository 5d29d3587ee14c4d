"""The node as equipment: what General Equipment (PS3.3 C.7.5.1) says about us."""

from __future__ import annotations

from dataclasses import dataclass

MANUFACTURER = "radnode"


@dataclass(frozen=True, slots=True)
class Station:
    """Which installation made a result; `node_name` becomes the device serial number."""

    node_name: str
    ae_title: str
    institution_name: str
    software_version: str

"""Addresses, sizes, timers and what else of the network may be configured, with the defaults."""

from __future__ import annotations

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from config.reference import all_settings, setting_meanings
from node.conformance.markdown import code, table

_PREFIXES = ("receive.", "destinations[dicom].")
_SINGLE_KEYS = ("node.ae_title", "completeness.find_timeout_s")


def implementation() -> list[str]:
    """Return how the node names itself in an association."""
    return [
        "### Implementation",
        *table(
            ("", ""),
            (
                ("Implementation Class UID", code(str(PYNETDICOM_IMPLEMENTATION_UID))),
                ("Implementation Version Name", code(PYNETDICOM_IMPLEMENTATION_VERSION)),
                ("Application Context Name", code("1.2.840.10008.3.1.1.1")),
            ),
        ),
    ]


def configuration() -> list[str]:
    """Return every setting that shows on the DICOM network."""
    meanings = setting_meanings()
    rows = [
        (code(setting.key), setting.default, meanings[setting.key])
        for setting in all_settings()
        if setting.key.startswith(_PREFIXES) or setting.key in _SINGLE_KEYS
    ]
    return table(("setting", "default", "meaning"), rows)

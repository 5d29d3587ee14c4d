"""What `radnode status` shows of the machine: whether the node runs here, and its disk."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from config.settings import Settings
from node.data_directory import is_in_use

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Machine:
    """`free_mib`: None where the disk cannot be asked. `limit_mib`: `storage.disk_low_mib`."""

    data_dir: Path
    is_running: bool
    free_mib: int | None
    limit_mib: int

    @property
    def disk_is_low(self) -> bool:
        """Whether the node turns senders away for want of room."""
        return self.free_mib is not None and self.free_mib < self.limit_mib


def machine(settings: Settings) -> Machine:
    """Look at this machine; a data directory that is not there has no node."""
    data_dir = settings.node.data_dir
    return Machine(
        data_dir, is_in_use(data_dir), _free_mib(data_dir), settings.storage.disk_low_mib
    )


def _free_mib(data_dir: Path) -> int | None:
    try:
        return shutil.disk_usage(data_dir).free // _MIB
    except OSError:
        return None


def machine_warnings(seen: Machine) -> tuple[str, ...]:
    """One line for each thing that keeps studies from coming in."""
    lines = []
    if not seen.is_running:
        lines.append(
            f"no radnode serve runs on this machine with node.data_dir {seen.data_dir}: "
            "nothing is received, analysed or delivered until one is started"
        )
    if seen.disk_is_low:
        lines.append(
            f"disk_low: {seen.free_mib} MiB are free for {seen.data_dir}, less than "
            f"storage.disk_low_mib ({seen.limit_mib}): senders are turned away; make room"
        )
    return tuple(lines)


def machine_json(seen: Machine) -> dict[str, Any]:
    """The same as plain values."""
    plain = asdict(seen) | {"data_dir": str(seen.data_dir), "disk_is_low": seen.disk_is_low}
    return {"machine": plain}

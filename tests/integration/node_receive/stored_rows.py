"""What the tests of answers to C-STORE know of rows and statuses."""

from __future__ import annotations

from pathlib import Path

from tests.integration.node_receive.running_listener import Running

SUCCESS = 0x0000


def rows_of(running: Running) -> list[Path]:
    instances = running.files.data_dir / "instances"
    return [path for path in instances.rglob("*") if path.is_file()]

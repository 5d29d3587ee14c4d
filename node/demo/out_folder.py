"""The folder for everything that the demo makes; only a folder of our own is replaced."""

from __future__ import annotations

import shutil
from pathlib import Path

from node.demo.errors import OutFolderTaken

DEFAULT = Path("radnode-demo-out")
MARK = ".radnode-demo"


def fresh(folder: Path) -> Path:
    """Return the folder, empty; raises `OutFolderTaken` when it holds what is not the demo's."""
    folder = folder.absolute()
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file()):
            raise OutFolderTaken(f"{folder} is not a folder of the demo: name another by --out")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).write_text("radnode demo replaces this folder when it runs again\n")
    return folder

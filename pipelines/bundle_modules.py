"""Python modules that a bundle brings (`scripts/`), importable while it is made, then set aside.

Two bundles of one process both call theirs `scripts`: each gets its own.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def bundle_modules(bundle_dir: Path) -> Iterator[None]:
    """Make the bundle's folder importable first, and forget its modules afterwards."""
    root = str(bundle_dir.resolve())
    own = {path.stem for path in bundle_dir.iterdir() if path.is_dir() or path.suffix == ".py"}
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_of(name, own)}
    written = sys.dont_write_bytecode
    sys.path.insert(0, root)
    sys.dont_write_bytecode = True  # the bundle stays as it was published
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = written
        sys.path.remove(root)
        for name, module in list(sys.modules.items()):
            if _lies_in(module, root):
                del sys.modules[name]
        sys.modules.update(hidden)


def _is_of(name: str, own: set[str]) -> bool:
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    # Only modules of another bundle make way; an installed package of the same name stays.
    return top in own and getattr(module, "__file__", None) is None and hasattr(module, "__path__")


def _lies_in(module: object, root: str) -> bool:
    place = getattr(module, "__file__", None)
    places = [place] if place else list(getattr(module, "__path__", None) or [])
    return any(str(one).startswith(root + "/") for one in places)

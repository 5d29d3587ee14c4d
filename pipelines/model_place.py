"""Where the model that a definition names lies: a folder, or a file that is unpacked first."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.bundle_archive import ARCHIVE_SUFFIXES, embedded_names, unpacked
from pipelines.errors import InvalidBundle


def default_unpack_dir() -> Path:
    """Where archives are unpacked for runs without a node: the user's own cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "radnode" / "models"


def model_dir(bundles_dir: Path, name: str, unpack_dir: Path | None = None) -> Path:
    """The folder of the model `name` among the models; archives (`name.zip`, `name.ts`) unpacked.

    The folder itself wins over an archive of its name. A TorchScript file without a configuration
    of its own is given as it is. Raises `InvalidBundle`.
    """
    place = bundles_dir / name
    if place.is_dir():
        return place
    candidates = [place] if place.suffix in (*ARCHIVE_SUFFIXES, ".pt") else []
    candidates += [bundles_dir / f"{name}{suffix}" for suffix in (*ARCHIVE_SUFFIXES, ".pt")]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise InvalidBundle(
            f"bundle {name}: no folder {place}, nor {name}.zip or {name}.ts; put the model there, "
            "or set pipelines.bundles_dir"
        )
    if found.suffix != ".zip" and not embedded_names(found):
        return found
    return unpacked(found, unpack_dir or default_unpack_dir())

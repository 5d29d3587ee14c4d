"""What of a configuration hangs on where it is run: files that it quotes, and named devices.

MONAI reads macros (`%file::key`) from the working directory, which for its runner is the bundle's
folder; here they are read from there, and from nowhere else, since only the bundle's own files
were accepted. A device that is written down is the one in use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from pipelines.errors import InvalidBundle

# What a wrong configuration makes MONAI's parser, or an expression in it, raise.
BROKEN_CONFIG = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)

MACRO = "%"
DEEPEST = 20
DEVICE = "device"
NAMED_DEVICE = re.compile(r"""torch\.device\(\s*(['"])cuda(?::\d+)?\1\s*\)""")
NAMED_PLACE = re.compile(r"""map_location\s*=\s*(['"])cuda(?::\d+)?\1""")


def invalid(path: Path, what: str, error: BaseException) -> InvalidBundle:
    """The error that names the file, what failed and the innermost reason."""
    while error.__cause__ is not None:  # MONAI wraps what went wrong in what it was doing
        error = error.__cause__
    reason = " ".join(str(error).split())[:300]
    advice = "mend the bundle or fetch it again"
    if isinstance(error, ImportError):
        reason = reason.partition(". For details")[0]  # MONAI adds its whole traceback
        advice = "install what it needs beside radnode, in the same environment"
    return InvalidBundle(f"{path}: {what} ({type(error).__name__}: {reason}); {advice}")


def without_macros(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration at `path` with what it quotes in place. Raises `InvalidBundle`."""
    filled: dict[str, Any] = _filled(config, config, path, DEEPEST)
    return filled


def _filled(value: Any, config: Mapping[str, Any], path: Path, left: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, config, path, left) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, config, path, left) for item in value]
    if not isinstance(value, str) or not value.startswith(MACRO) or value == MACRO:
        return value
    if left == 0:
        raise InvalidBundle(f"{path}: the macro {value} quotes itself; mend the bundle")
    name, key = ConfigParser.split_path_id(value[len(MACRO) :])
    quoted, place = (_read(name, path, value), _place(name, path)) if name else (config, path)
    try:
        found = deepcopy(ConfigParser(dict(quoted))[key] if key else quoted)
    except BROKEN_CONFIG as error:
        raise invalid(path, f"the macro {value} quotes nothing", error) from error
    return _filled(found, quoted, place or path, left - 1)


def _read(name: str, path: Path, macro: str) -> Mapping[str, Any]:
    place = _place(name, path)
    if place is None:
        raise InvalidBundle(
            f"{path}: the macro {macro} quotes a file that is not in the bundle; put it there"
        )
    try:
        read = ConfigParser.load_config_file(place)
    except BROKEN_CONFIG as error:
        raise invalid(place, "cannot be read", error) from error
    if not isinstance(read, Mapping):
        raise InvalidBundle(f"{place}: not a set of keys; fetch the bundle again")
    return read


def _place(name: str, path: Path) -> Path | None:
    """The file that a macro means: from the bundle's folder, or beside the configuration."""
    root = path.parent.parent.resolve()
    for folder in (path.parent.parent, path.parent):
        found = (folder / name).resolve()
        if found.is_relative_to(root) and found.is_file():
            return found
    return None


def on_the_device(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with `@device` in expressions that name a CUDA device."""
    return {key: item if key == DEVICE else _moved(item) for key, item in config.items()}


def _moved(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        return NAMED_PLACE.sub("map_location=@device", NAMED_DEVICE.sub("@device", value))
    return value

"""The reference of all settings, made from the typed settings and the commented example file.

`python -m config.reference` prints docs/configuration.md; a test holds the two together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.settings import (
    DicomDestination,
    FhirDestination,
    FolderDestination,
    Hl7Destination,
    SenderSettings,
    Settings,
    StowDestination,
)
from config.yaml_source import KeyPath, read_yaml

EXAMPLE = Path(__file__).parent / "node.example.yaml"
LISTED: dict[str, tuple[tuple[str, type[BaseModel]], ...]] = {
    "receive.senders": (("receive.senders[]", SenderSettings),),
    "destinations": (
        ("destinations[dicom]", DicomDestination),
        ("destinations[stow]", StowDestination),
        ("destinations[fhir]", FhirDestination),
        ("destinations[folder]", FolderDestination),
        ("destinations[hl7]", Hl7Destination),
    ),
}
DESTINATION_ORDER = ("dicom", "stow", "fhir", "folder", "hl7")
NESTED_LIST = "patient_systems"

HEADER = """# Configuration

One YAML file and environment variables; `config/node.example.yaml` is this page as a file to
copy. `radnode check-config` names key, value and file of everything that is wrong.
`RADNODE_RECEIVE__PORT=104` sets `receive.port`; lists and mappings are given as JSON.
This page is made by `python -m config.reference`.

| key | default | meaning and consequence |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key with its default as YAML would show it."""

    key: str
    default: str


def settings_reference() -> str:
    """The whole page as Markdown."""
    meanings = setting_meanings()
    rows = (f"| `{s.key}` | {s.default} | {meanings[s.key]} |" for s in all_settings())
    return HEADER + "\n".join(rows) + "\n"


def all_settings() -> Iterator[Setting]:
    """Every key of `Settings`, sections unfolded, in the order of the code."""
    for name, section in Settings.model_fields.items():
        if name in LISTED:
            yield from _listed(name)
        else:
            yield from _fields(name, _model_of(section))


def _listed(key: str) -> Iterator[Setting]:
    for prefix, model in LISTED[key]:
        yield from _fields(prefix, model)


def _fields(prefix: str, model: type[BaseModel]) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(key, field.annotation)
            continue
        yield Setting(key, _default(field))
        if key in LISTED:
            yield from _listed(key)


def _model_of(field: FieldInfo) -> type[BaseModel]:
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return field.annotation
    raise TypeError(f"{field} is no section")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.default
    if isinstance(value, SecretStr | None):
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def setting_meanings() -> dict[str, str]:
    """What each key means; a key without a comment means what it means for another destination."""
    comments = example_comments()
    shared = {_leaf(key): text for key, text in reversed(comments.items()) if text}
    meanings = {s.key: comments.get(s.key) or shared[_leaf(s.key)] for s in all_settings()}
    return {key: text.split(" Default: ")[0] for key, text in meanings.items()}


def _leaf(key: str) -> str:
    return key.split("]", 1)[-1] if key.startswith("destinations[") else key


def example_comments() -> dict[str, str]:
    """For each key of the example file the comment above it, list indices made general."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    source = read_yaml(EXAMPLE)
    return {
        _general(key): _comment_above(lines, line)
        for key, line in source.lines.items()
        if isinstance(key[-1], str)
    }


def _general(key: KeyPath) -> str:
    text = ""
    for part in key:
        if isinstance(part, str):
            text += f".{part}" if text else part
        elif text == "destinations":
            text += f"[{DESTINATION_ORDER[part]}]"
        else:
            text += "[]"
    return text


def _comment_above(lines: list[str], line: int) -> str:
    words: list[str] = []
    for above in reversed(lines[: line - 1]):
        match = re.match(r"\s*(?:- )?# ?(.*)", above)
        if not match:
            break
        words.insert(0, match.group(1))
        if above.lstrip().startswith("- "):
            break
    return " ".join(words).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(settings_reference())

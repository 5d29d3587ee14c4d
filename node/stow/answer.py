"""The answer of a Store transaction (PS3.18 10.5.3.2): which objects are kept, and which not.

It is DICOM JSON, or the XML of the Native DICOM Model that older servers write. Servers differ in
much that does not matter here: a wrapping array, numbers as text, a sequence without items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree as ET

_FAILED: Final = "00081198"
_REFERENCED: Final = "00081199"
_INSTANCE_UID: Final = "00081155"
_WARNING_REASON: Final = "00081196"
_FAILURE_REASON: Final = "00081197"
_PROCESSING_FAILURE: Final = 0x0110
_MOST_STATUS: Final = 0xFFFF

_Item = Mapping[str, str]
"""The first value of each attribute, by tag."""


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """SOP Instance UIDs: the stored ones with their Warning Reason (0: none), and the failed ones.

    A failed one has its Failure Reason; where the server gives none that can be read, 0x0110.
    """

    stored: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    is_web_page: bool = False


def read_answer(content: bytes) -> StoreAnswer:
    """Read the body of an answer; what cannot be read names no object."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return StoreAnswer(is_web_page=True)
    is_xml = start.startswith(b"<")
    read: Callable[[bytes], Mapping[str, list[_Item]]] = _from_xml if is_xml else _from_json
    try:
        sequences = read(content)
    except (ValueError, TypeError, AttributeError, RecursionError, StopIteration, ET.ParseError):
        return StoreAnswer()
    failed = _reasons(sequences.get(_FAILED, []), _FAILURE_REASON, _PROCESSING_FAILURE)
    stored = _reasons(sequences.get(_REFERENCED, []), _WARNING_REASON, 0)
    # In doubt it is sent again.
    return StoreAnswer({uid: stored[uid] for uid in stored.keys() - failed.keys()}, failed)


def _reasons(items: list[_Item], tag: str, default: int) -> dict[str, int]:
    return {
        item[_INSTANCE_UID]: _status(item.get(tag), default)
        for item in items
        if _INSTANCE_UID in item
    }


def _status(text: str | None, default: int) -> int:
    try:
        status = int(text or "")
    except ValueError:
        return default
    return status if 0 <= status <= _MOST_STATUS else default


def _from_json(content: bytes) -> dict[str, list[_Item]]:
    told = json.loads(content)
    datasets = told if isinstance(told, list) else [told]
    sequences: dict[str, list[_Item]] = {}
    for dataset in datasets:
        for tag in (_FAILED, _REFERENCED):
            items = dataset.get(tag, {}).get("Value") or []
            sequences.setdefault(tag, []).extend(dict(_json_values(item)) for item in items)
    return sequences


def _json_values(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for tag, attribute in item.items():
        values = attribute.get("Value") or []
        if values and isinstance(values[0], str | int):
            yield tag, str(values[0]).strip(" \0")


class _NoDoctype(ET.TreeBuilder):
    """DICOM's XML declares no entities; whoever does means harm."""

    def doctype(self, _name: str, _public_id: str | None, _system: str | None) -> None:
        raise ValueError("a document type declaration")


def _from_xml(content: bytes) -> dict[str, list[_Item]]:
    parser = ET.XMLParser(target=_NoDoctype())  # noqa: S314 -- no declaration gets past the target
    parser.feed(content)
    root = parser.close()
    found = root if _tag_name(root) == "NativeDicomModel" else _child(root, "NativeDicomModel")
    return {
        tag: [dict(_xml_values(item)) for item in sequence if _tag_name(item) == "Item"]
        for tag, sequence in _attributes(found)
        if tag in (_FAILED, _REFERENCED)
    }


def _xml_values(item: ET.Element) -> Iterator[tuple[str, str]]:
    for tag, attribute in _attributes(item):
        value = next((child for child in attribute if _tag_name(child) == "Value"), None)
        if value is not None and value.text:
            yield tag, value.text.strip(" \t\r\n\0")


def _attributes(parent: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    for child in parent:
        if _tag_name(child) == "DicomAttribute":
            yield child.get("tag", "").upper(), child


def _child(parent: ET.Element, name: str) -> ET.Element:
    return next(child for child in parent.iter() if _tag_name(child) == name)


def _tag_name(element: ET.Element) -> str:
    """Give the name without its namespace, which servers leave out at times."""
    return element.tag.rpartition("}")[2]

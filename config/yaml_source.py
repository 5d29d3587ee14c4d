"""Reads one YAML file into plain values and remembers on which line each key stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from config.errors import InvalidConfig, Problem

KeyPath = tuple[str | int, ...]
MOST_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class YamlSource:
    """The values of one file and the line (from 1) of each key."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def place(self, key: KeyPath) -> str:
        """`file:line` of the key, or of the nearest enclosing key that the file holds."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.lines:
                return f"{self.path}:{self.lines[key[:length]]}"
        return str(self.path)


def read_yaml(path: Path) -> YamlSource:
    """Read a YAML mapping.

    Raises `InvalidConfig` when the file cannot be read, is not YAML, is not a mapping of
    keys, gives one key twice, or grows without measure by its aliases.
    """
    try:
        return _read(path)
    except RecursionError:
        raise _invalid(path, "(file)", "not readable", "nested too deeply") from None


def _read(path: Path) -> YamlSource:
    node = _compose(path)
    if node is None:
        return YamlSource(path, {}, {})
    if not isinstance(node, yaml.MappingNode):
        raise _invalid(path, "(file)", "not a mapping", "write keys such as `receive:`")
    _count_values(path, node, set(), {})
    lines: dict[KeyPath, int] = {}
    values = _plain(path, node, (), lines)
    return YamlSource(path, values, lines)


def _compose(path: Path) -> yaml.Node | None:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise _invalid(
            path, "(file)", error.strerror or "unreadable", "give a readable file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "(file)"
        problem = getattr(error, "problem", "") or "not UTF-8"
        raise _invalid(path, where, "not YAML", problem) from None
    return node


def _count_values(path: Path, node: yaml.Node, above: set[int], counts: dict[int, int]) -> int:
    """How many values a node stands for once every alias is written out; refuses too many."""
    known = id(node)
    if known in above:
        raise _invalid(path, _line(node), "an alias", "the value holds itself: write it out")
    if known not in counts:
        above.add(known)
        inner = (_count_values(path, part, above, counts) for part in _parts(node))
        counts[known] = 1 + sum(inner)
        above.remove(known)
    if counts[known] > MOST_VALUES:
        message = f"more than {MOST_VALUES} values, aliases written out: too many for settings"
        raise _invalid(path, _line(node), "(values)", message)
    return counts[known]


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _plain(path: Path, node: yaml.Node, key: KeyPath, lines: dict[KeyPath, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(path, node, key, lines)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for number, item in enumerate(node.value):
            lines[(*key, number)] = item.start_mark.line + 1
            items.append(_plain(path, item, (*key, number), lines))
        return items
    try:
        return _scalar(node)
    except (yaml.YAMLError, ValueError, KeyError, AttributeError):
        # What the tag or the form promises (a date, a number) is not what is written.
        message = "cannot be read as what it looks like: put it in quotes, without a tag"
        raise _invalid(path, dotted(key), _line(node), message) from None


def _mapping(
    path: Path, node: yaml.MappingNode, key: KeyPath, lines: dict[KeyPath, int]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name_node, value_node in node.value:
        name = str(name_node.value)
        here = (*key, name)
        line = name_node.start_mark.line + 1
        if here in lines:
            raise _invalid(path, dotted(here), f"line {lines[here]} and {line}", "given twice")
        lines[here] = line
        values[name] = _plain(path, value_node, here, lines)
    return values


def _scalar(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _invalid(path: Path, key: str, value: str, message: str) -> InvalidConfig:
    return InvalidConfig((Problem(key=key, value=value, source=str(path), message=message),))


def dotted(key: KeyPath) -> str:
    """`('receive', 'senders', 0, 'ae_title')` as `receive.senders[0].ae_title`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text

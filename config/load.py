"""Reads settings from one YAML file and the environment, once, into frozen values.

Environment variables win over the file: `RADNODE_RECEIVE__PORT=104` sets `receive.port`;
lists and mappings are given as JSON. Relative paths of a file count from the file's folder,
others from the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from config.checks import unsafe_combinations
from config.errors import InvalidConfig, Problem
from config.paths import resolve_paths
from config.setting_types import PATTERNS_IN_WORDS
from config.settings import Settings
from config.yaml_source import KeyPath, YamlSource, dotted, read_yaml

ENVIRONMENT_PREFIX = "RADNODE_"
OTHER_VARIABLES = frozenset({"RADNODE_CONFIG", "RADNODE_REQUIRE_PEERS"})
SECRET_KEYS = frozenset({"database_url", "bearer_token", "qido_bearer_token"})


class _EnvironmentSettings(Settings, BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading gave; the settings may be used only when there are no problems.

    `unsure` are the sections that stand at their defaults because what was meant is not known.
    """

    settings: Settings
    unsure: frozenset[str]
    problems: tuple[Problem, ...]


def load_settings(path: Path | None) -> Settings:
    """Read, check and resolve; `path` None means defaults and environment only.

    Raises `InvalidConfig` that names key, value and file (or variable) of every problem.
    """
    reading = read_settings(path)
    if reading.problems:
        raise InvalidConfig(reading.problems)
    return reading.settings


def read_settings(path: Path | None) -> Reading:
    """Read, check and resolve as far as it goes, so that other checks can add what they see.

    Raises `InvalidConfig` when the file or a variable cannot be read at all.
    """
    source = read_yaml(path) if path else YamlSource(Path("defaults"), {}, {})
    environment = _environment_values()
    merged = _merged(source.values, environment)
    unknown = tuple(_unknown_variables(os.environ))
    problems = [*unknown, *_field_problems(merged, source, environment)]
    unsure = _unsure_sections(merged, bool(unknown))
    settings = Settings.model_validate({k: v for k, v in merged.items() if k not in unsure})
    base = path.parent if path else Path.cwd()
    resolved = resolve_paths(settings, base.absolute())
    unsafe = unsafe_combinations(resolved, unsure)
    problems += [_placed(problem, source, environment) for problem in unsafe]
    return Reading(resolved, unsure, tuple(problems))


def _environment_values() -> dict[str, Any]:
    try:
        return EnvSettingsSource(_EnvironmentSettings)()
    except SettingsError as error:
        message = "lists and mappings are given as JSON"
        problem = Problem(_named_field(error), "(not JSON)", "environment", message)
        raise InvalidConfig((problem,)) from None


def _named_field(error: SettingsError) -> str:
    words = str(error).split('"')
    return words[1] if len(words) > 1 else "(variable)"


def _unknown_variables(names: Iterable[str]) -> Iterable[Problem]:
    for name in sorted(names):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        section = name.removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower()
        if section not in Settings.model_fields:
            known = ", ".join(sorted(Settings.model_fields))
            yield Problem(name, "(set)", "environment", f"no such section; there are {known}")


def _errors(values: Mapping[str, Any]) -> list[ErrorDetails]:
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        return error.errors()
    return []


def _field_problems(
    values: Mapping[str, Any], source: YamlSource, environment: Mapping[str, Any]
) -> Iterable[Problem]:
    told = set()
    for item in _errors(values):
        key = _written_key(item, values)
        # A union tells one mistake once for each of its types.
        if key not in told:
            told.add(key)
            yield _from_pydantic(key, item, source, environment)


def _unsure_sections(values: Mapping[str, Any], has_unknown_variables: bool) -> frozenset[str]:
    faulty = {str(item["loc"][0]) for item in _errors(values)}
    known = set(Settings.model_fields)
    # A section under a misspelt name looks as if it were not there.
    is_misspelt = has_unknown_variables or bool(faulty - known)
    return frozenset(faulty | (known - set(values) if is_misspelt else set()))


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = _merged(below, value) if both and isinstance(below, Mapping) else value
    return result


def _written_key(item: ErrorDetails, values: Mapping[str, Any]) -> KeyPath:
    """The location as a file has it: unions put tags and names of validators into it."""
    key: list[str | int] = []
    inside: Any = values
    for part in item["loc"]:
        if _holds(inside, part):
            inside = inside[part]
        elif item["type"] != "missing" or part != item["loc"][-1]:
            continue
        key.append(part)
    return tuple(key)


def _holds(inside: object, part: str | int) -> bool:
    if isinstance(inside, list | tuple):
        return isinstance(part, int) and part < len(inside)
    return isinstance(inside, Mapping) and part in inside


def _from_pydantic(
    key: KeyPath, item: ErrorDetails, source: YamlSource, environment: Mapping[str, Any]
) -> Problem:
    value = "(missing)" if item["type"] == "missing" else _shown(key, item.get("input"))
    return Problem(dotted(key), value, _place(key, source, environment), _message(item))


def _message(item: ErrorDetails) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "no such key; see config/node.example.yaml"
        case "union_tag_not_found":
            return f"it has no {item['ctx']['discriminator']}; see config/node.example.yaml"
        case "string_pattern_mismatch":
            return PATTERNS_IN_WORDS.get(item["ctx"]["pattern"], item["msg"])
        case _:
            return item["msg"].removeprefix("Value error, ")


def _shown(key: KeyPath, value: object) -> str:
    # A value that encloses a secret (a whole section of the wrong type) is not shown either.
    hidden = bool(SECRET_KEYS.intersection(map(str, key))) or isinstance(value, Mapping | list)
    return "***" if hidden else repr(value)


def _place(key: KeyPath, source: YamlSource, environment: Mapping[str, Any]) -> str:
    inside: Any = environment
    for depth, part in enumerate(key):
        if not isinstance(inside, Mapping) or part not in inside:
            break
        inside = inside[part]
        if depth == len(key) - 1 or not isinstance(inside, Mapping):
            names = "__".join(str(p) for p in key[: depth + 1]).upper()
            return f"environment {ENVIRONMENT_PREFIX}{names}"
    return source.place(key)


def _placed(problem: Problem, source: YamlSource, environment: Mapping[str, Any]) -> Problem:
    key: KeyPath = tuple(
        int(part) if part.isdigit() else part
        for part in problem.key.replace("[", ".").replace("]", "").split(".")
    )
    return Problem(problem.key, problem.value, _place(key, source, environment), problem.message)


def database_url(settings: Settings) -> str | None:
    """The configured database URL in clear, or None for SQLite in the data directory."""
    url: SecretStr | None = settings.storage.database_url
    return url.get_secret_value() if url else None

"""Reads a pipeline definition file and tells, by file and line, what is wrong with it.

Nothing here imports torch, so routing can use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from config.errors import InvalidConfig, Problem
from config.yaml_source import YamlSource, dotted, read_yaml
from pipelines.definition_schema import PipelineDefinition
from pipelines.errors import InvalidDefinition


def load_definition(path: Path) -> PipelineDefinition:
    """Read and check one definition file.

    Raises `InvalidDefinition` that names file, line, key and value of every problem.
    """
    try:
        source = read_yaml(path)
    except InvalidConfig as error:
        raise InvalidDefinition(error.problems) from None
    try:
        definition = PipelineDefinition.model_validate(source.values)
    except ValidationError as error:
        raise InvalidDefinition(_problems(source, error)) from None
    if definition.name != path.stem:
        text = f"name and file must agree: write {path.stem} or rename the file"
        problem = Problem("name", definition.name, source.place(("name",)), text)
        raise InvalidDefinition((problem,))
    return definition


def _problems(source: YamlSource, error: ValidationError) -> tuple[Problem, ...]:
    problems = []
    for item in error.errors():
        key, message = item["loc"], item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "no such key; config/pipelines/hippocampus_mr.yaml explains every key"
        given = item.get("input")
        value = "(several keys)" if isinstance(given, Mapping | list | tuple) else repr(given)
        value = "(missing)" if item["type"] == "missing" else value
        problems.append(Problem(dotted(key) or "(file)", value, source.place(key), message))
    return tuple(problems)

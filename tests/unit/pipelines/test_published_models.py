"""The page about published models says definitions that can be used."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.definition_schema import PipelineDefinition
from pipelines.network_schema import NetworkDefinition

PAGE = Path(__file__).parents[3] / "docs" / "published_models.md"


def told(first_line: str) -> Any:
    """The values of the indented block that begins so."""
    text = PAGE.read_text(encoding="utf-8")
    block = re.search(rf"(?m)^    {re.escape(first_line)}\n(?:    .*\n)*", text)
    assert block is not None
    return yaml.safe_load(textwrap.dedent(block.group()))


def test_the_definition_of_a_whole_pipeline_is_valid() -> None:
    definition = PipelineDefinition.model_validate(told("name: deepbet"))
    assert definition.network is not None
    assert definition.network.labels == {0: "background", 1: "brain"}


def test_the_network_with_axes_of_its_own_is_valid() -> None:
    network = NetworkDefinition.model_validate(told("network:")["network"])
    assert (network.orientation, network.resize) == ("IPL", (128, 128, 128))


@pytest.mark.parametrize("script", re.findall(r"python (docs/\S+\.py)", PAGE.read_text("utf-8")))
def test_the_scripts_of_the_page_are_there(script: str) -> None:
    compile((PAGE.parents[1] / script).read_bytes(), script, "exec")

"""Errors of configuration.

ConfigError
└── InvalidConfig     one or more settings are wrong; names every key, value and file
"""

from __future__ import annotations

from dataclasses import dataclass


class ConfigError(Exception):
    """Anything wrong with what was set; the message is fit for an operator."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: where it stands, what stands there, and what to write instead."""

    key: str
    value: str
    source: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key} = {self.value}: {self.message}"


class InvalidConfig(ConfigError):
    """Every problem found in one reading, so that an operator mends all of them at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))

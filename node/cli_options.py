"""What every command of `radnode` takes, the configuration and its settings; how it warns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from config.errors import InvalidConfig, Problem
from config.load import load_settings, read_settings
from config.settings import Settings
from node.log_setup import configure_logging

DEFAULT_CONFIG = Path("config/node.yaml")

NETWORK_SECTIONS = frozenset({"receive", "destinations", "completeness"})
KEEPING_SECTIONS = frozenset({"node", "storage", "log"})

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="RADNODE_CONFIG",
        show_default=str(DEFAULT_CONFIG),
        help="YAML file with settings; config/node.example.yaml explains every key.",
    ),
]


def config_path(given: Path | None) -> Path | None:
    """The file that is meant: the given one, else the default if it is there."""
    path = given or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None)
    return path.absolute() if path else None


def command_settings(given: Path | None, process: str) -> Settings:
    """The settings, with the log set up as they say. Raises `ConfigError`."""
    settings = load_settings(config_path(given))
    configure_logging(settings.log, process=process)
    return settings


def local_settings(given: Path | None, process: str) -> Settings:
    """The settings for work without a server: those of the network may be missing or wrong.

    Raises `ConfigError` for a problem of the sections that are used.
    """
    reading = read_settings(config_path(given))
    problems = tuple(one for one in reading.problems if _section(one.key) not in NETWORK_SECTIONS)
    if problems:
        raise InvalidConfig(problems)
    configure_logging(reading.settings.log, process=process)
    return reading.settings


def kept_settings(given: Path | None, process: str) -> tuple[Settings, tuple[Problem, ...]]:
    """The settings for a look at what a node keeps, and the problems that do not matter for it.

    Whoever looks for what is wrong must not be kept from it by a certificate that has expired.
    Raises `ConfigError` where it is not certain which data is meant.
    """
    reading = read_settings(config_path(given))
    here = tuple(one for one in reading.problems if _section(one.key) in KEEPING_SECTIONS)
    if here or not KEEPING_SECTIONS.isdisjoint(reading.unsure):
        raise InvalidConfig(reading.problems)
    configure_logging(reading.settings.log, process=process)
    return reading.settings, reading.problems


def warn(warnings: Iterable[str]) -> None:
    """Write one line for each on standard error."""
    for warning in warnings:
        typer.echo(f"radnode: warning: {warning}", err=True)


def _section(key: str) -> str:
    return key.partition(".")[0].partition("[")[0]

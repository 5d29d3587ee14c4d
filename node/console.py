"""Where commands print their tables: as wide as the terminal, or wide enough without one."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH = 1000
"""Characters of a line in a pipe or a file: what reads them wants no word broken."""


def table_console() -> Console:
    """A console on standard output; without a terminal there it breaks no word and no sentence.

    A table takes no more of the width than its longest row. What stands in it is shown as it is:
    an AE title may look like rich's markup, or like the name of an emoji.
    """
    width = None if sys.stdout.isatty() else WIDTH
    return Console(width=width, markup=False, emoji=False)

"""How far each study is: live bars on a terminal, one line a step elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from node.demo.node_view import STAGES
from node.demo.studies import DemoStudy


class DemoProgress:
    """A context manager; `reached` takes any stage any number of times, from any thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[stage]}"),
            console=console,
        )
        self._tasks: dict[int, TaskID] = {}
        self._stage_counts: dict[int, int] = {}
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> DemoProgress:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        """Print one line with the time at which it became true."""
        self._console.print(f"[dim]{self.elapsed_s:5.1f} s[/]  {text}", highlight=False)

    def reached(self, study: DemoStudy, stages: Sequence[str]) -> None:
        """Show which stages a study has behind it."""
        with self._lock:
            new = stages[self._stage_counts.get(study.number, 0) :]
            if not new:
                return
            self._stage_counts[study.number] = len(stages)
            if self._console.is_terminal:
                self._advance(study, stages)
            else:
                self.say(f"{study.number} {study.title}: {', '.join(new)}")

    def _advance(self, study: DemoStudy, stages: Sequence[str]) -> None:
        if study.number not in self._tasks:
            self._tasks[study.number] = self._bars.add_task(
                f"{study.number} {study.title}", total=len(STAGES), stage=""
            )
        is_last = stages[-1] not in STAGES[:-1]
        completed = len(STAGES) if is_last else len(stages)
        self._bars.update(self._tasks[study.number], completed=completed, stage=stages[-1])

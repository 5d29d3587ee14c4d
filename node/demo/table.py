"""The demo's tables: readable in 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.demo.expectations import Repeat, mean_dices
from node.demo.results import StudyResult
from node.demo.timing import COLUMNS
from storage.records import JobState


def print_results(console: Console, results: Sequence[StudyResult], repeat: Repeat) -> None:
    """Print what came of every study: outcome, figures, seconds and where the files are."""
    console.print()
    console.print(studies_table(results, repeat))
    console.print(figures_table(results, repeat))
    for name, value in mean_dices(results).items():
        console.print(f"Mean Dice of {name} against labels drawn by people: {value:.3f}")
    console.print()
    console.print(seconds_table(results))
    _print_files(console, results)


def studies_table(results: Sequence[StudyResult], repeat: Repeat) -> Table:
    """One row a study: what was chosen, and what became of it."""
    table = _table("What was done")
    table.add_column("#", justify="right")
    table.add_column("study", ratio=3)
    table.add_column("series chosen, and why", ratio=5)
    table.add_column("outcome", ratio=4)
    for one in results:
        table.add_row(str(one.study.number), one.study.title, _series(one), _outcome(one))
    again = f"{results[0].study.title}, again with SEG and SR: {repeat.sent} objects"
    style, text = ("green", "nothing added") if repeat.added_nothing else ("red", "ADDED")
    table.add_row(str(len(results) + 1), again, "known already", Text(text, style))
    return table


def figures_table(results: Sequence[StudyResult], repeat: Repeat) -> Table:
    """Volumes, Dice where truth is known, and what PACS and EHR hold now."""
    structures = list(dict.fromkeys(name for one in results for name in one.volumes_ml))
    table = _table("What came out")
    table.add_column("#", justify="right")
    for name in structures:
        table.add_column(f"{name} mL", justify="right")
        table.add_column("Dice", justify="right")
    table.add_column("the PACS got")
    table.add_column("the EHR got")
    for one in results:
        figures = [text for name in structures for text in _figures(one, name)]
        table.add_row(str(one.study.number), *figures, _pacs(one), _ehr(len(one.ehr)))
    added = [after - before for before, after in (repeat.received, repeat.reports)]
    blank = [""] * (2 * len(structures))
    got = f"{added[0]} more" if added[0] else "nothing"
    table.add_row(str(len(results) + 1), *blank, got, _ehr(added[1]))
    return table


def seconds_table(results: Sequence[StudyResult]) -> Table:
    """Where the time went."""
    table = _table("Seconds")
    table.add_column("#", justify="right")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for one in results:
        times = [one.seconds.get(name) for name in COLUMNS]
        table.add_row(
            str(one.study.number), *("" if time is None else f"{time:.2f}" for time in times)
        )
    return table


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )


def _series(one: StudyResult) -> str:
    if not one.series_description:
        return "none"
    return f"{one.series_description}: {one.series_reason}"


def _outcome(one: StudyResult) -> Text:
    style = "green" if one.outcome == one.study.expected else "red"
    job = one.view.job
    if job is None or job.state == JobState.SUCCEEDED:
        return Text(one.outcome.replace("_", " "), style)
    return Text.assemble(
        (f"{job.state.value}: {one.outcome}", style), f"\n{_short(job.reason_text)}"
    )


def _short(reason: str) -> str:
    """The first two reasons; all of them stand in the summary and in the node's work list."""
    first, *others = reason.split("; ")
    return "; ".join([first, *others[:1]]) + (f"; {len(others) - 1} more" if others[1:] else "")


def _figures(one: StudyResult, structure: str) -> Iterator[str]:
    volume_ml, dice = one.volumes_ml.get(structure), one.dices.get(structure)
    yield "" if volume_ml is None else f"{volume_ml:.2f}"
    yield "" if dice is None else f"{dice:.3f}"


def _pacs(one: StudyResult) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in one.pacs.items() if count) or "nothing"


def _ehr(count: int) -> str:
    return f"{count} report" + "s" * (count > 1) if count else "nothing"


def _print_files(console: Console, results: Sequence[StudyResult]) -> None:
    first = next((one for one in results if one.files), None)
    if first is None:
        return
    console.print(f"\nResults of study {first.study.number} (the others lie beside it):")
    for kind, path in first.files.items():
        # Not wrapped, so that a path can be copied from any terminal.
        console.print(f"  {kind:5}{shown(path)}", soft_wrap=True, highlight=False)


def shown(path: Path) -> Path:
    """Return the path as a person here would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

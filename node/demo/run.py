"""`radnode demo`: a PACS stand-in routes real studies to a real node; a table says what came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from node.data_directory import DATABASE_FILE
from node.demo import out_folder
from node.demo.archive import Archive
from node.demo.course import Course
from node.demo.errors import DemoError
from node.demo.expectations import Repeat, shortcomings
from node.demo.node_process import NodeProcess, configuration
from node.demo.pacs import PacsStandIn
from node.demo.progress import DemoProgress
from node.demo.results import Collector, StudyResult
from node.demo.studies import fill
from node.demo.summary import write_summary
from node.demo.table import print_results, shown
from storage.database import open_database, sqlite_url
from storage.errors import StorageError


def run_demo(out: Path | None) -> int:
    """Run the demo into `out`; return 0 if everything happened as it should, else 1."""
    console = Console()
    try:
        folder = out_folder.fresh(out or out_folder.DEFAULT)
        return _Demo(console, folder).run()
    except (DemoError, StorageError) as error:
        console.print(f"[red]The demo ended early:[/] {error}", soft_wrap=True, highlight=False)
        return 1


class _Demo:
    def __init__(self, console: Console, folder: Path) -> None:
        self._console, self._folder = console, folder
        self._archive = Archive(folder / "pacs")
        self._collector = Collector(self._archive, folder / "ehr", folder / "results")
        self._log = folder / "node.log"
        self._progress = DemoProgress(console)

    def run(self) -> int:
        with self._progress, PacsStandIn(self._archive) as pacs:
            results, repeat = self._beside_a_node(pacs)
        return self._report(results, repeat)

    def _beside_a_node(self, pacs: PacsStandIn) -> tuple[list[StudyResult], Repeat]:
        settings = configuration(self._folder, pacs.ae_title, pacs.port)
        with NodeProcess(self._folder, settings, self._log) as node:
            self._progress.say("PACS stand-in and node are starting")
            studies = fill(self._archive)
            port = node.wait_until_it_answers(pacs.echo)
            self._progress.say("the node answers C-ECHO")
            db = open_database(sqlite_url(self._folder / "node" / DATABASE_FILE))
            try:
                course = Course(node, db, pacs, self._progress, self._collector)
                return course.run(studies, port)
            finally:
                db.close()

    def _report(self, results: Sequence[StudyResult], repeat: Repeat) -> int:
        print_results(self._console, results, repeat)
        missing = shortcomings(results, repeat)
        elapsed_s = self._progress.elapsed_s
        summary = write_summary(self._folder, results, repeat, missing, elapsed_s)
        self._print(f"\nAll figures: {shown(summary)}; the node's log: {shown(self._log)}")
        for text in missing:
            self._print(f"[red]not as it should be:[/] {text}")
        verdict = "NOT as they should be" if missing else "all as they should be"
        self._print(f"{len(results) + 1} studies in {elapsed_s:.1f} s, {verdict}.")
        self._print("Not a medical device: for research and testing only.")
        return 1 if missing else 0

    def _print(self, text: str) -> None:
        # Not wrapped: paths must stay whole.
        self._console.print(text, soft_wrap=True, highlight=False)

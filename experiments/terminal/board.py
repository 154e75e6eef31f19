"""What a sweep is doing: a table that is drawn again and again, or lines where nobody watches."""

import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cells.report import Report
from mem_dfa.experiments.terminal import screen
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINE_EVERY_S = 60  # of one cell, where nobody watches


@dataclass
class Job:
    """A cell that is being measured."""

    cell: Cell
    began: float
    told: float
    """When a line last said something of it."""
    note: str = ""
    done: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self.began


class Board:
    """Counts a sweep's cells and shows them, on standard error."""

    def __init__(self, waiting: Sequence[Cell], known: int, slots: int) -> None:
        """Begins with every cell waiting but those whose rows are ``known``."""
        self.waiting = list(waiting)
        self.known = known
        self.slots = slots
        self.jobs: list[Job] = []
        self.seconds: dict[str, list[float]] = {}
        """How long measured cells took, by model."""
        self.finished = 0
        self.failed = 0
        self._total = known + len(self.waiting)
        self._console = Console(stderr=True)
        self._live = Live(
            console=self._console, get_renderable=self._drawn, auto_refresh=True, transient=True
        )

    def began(self, cell: Cell) -> Report:
        """Moves a cell from waiting to those under way; returns what takes news of it."""
        self.waiting.remove(cell)
        now = time.monotonic()
        job = Job(cell, began=now, told=now)
        self.jobs.append(job)

        def report(note: str, done: float) -> None:
            job.note, job.done = note, done
            if not self._console.is_terminal and time.monotonic() - job.told >= LINE_EVERY_S:
                job.told = time.monotonic()
                self._print(f"{title(cell)}: {note}, {done:.0%}")

        return report

    def ended(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """Takes a cell off those under way, and says how it ended."""
        job = next(job for job in self.jobs if job.cell is cell)
        self.jobs.remove(job)
        self.finished += 1
        self.failed += row["status"] != "ok"
        self.seconds.setdefault(cell.model, []).append(job.seconds)
        result = f"{row['status']}: {row['error']}"
        if row["status"] == "ok":
            result = f"ok, {screen.mebibytes(row['step_bytes'])} MiB a step"
        done = f"{self._total - len(self.waiting) - len(self.jobs)}/{self._total}"
        line = f"{done} {title(cell)}: {result}, {screen.duration(job.seconds)}; {self._left()}"
        self._print(line)

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a log on a full disk ends no measurement
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def found(self, cell: Cell) -> None:
        """Counts a waiting cell as known, because another sweep has measured it."""
        self.waiting.remove(cell)
        self.known += 1

    def seconds_left(self) -> float | None:
        """By the mean of the cells measured so far, those of the same model if there are any."""
        if not self.seconds:
            return None
        every = statistics.fmean(one for many in self.seconds.values() for one in many)
        means = {model: statistics.fmean(many) for model, many in self.seconds.items()}
        coming = sum(means.get(cell.model, every) for cell in self.waiting)
        rest = sum(max(0, means.get(j.cell.model, every) - j.seconds) for j in list(self.jobs))
        return (coming + rest) / self.slots

    def _left(self) -> str:
        left = self.seconds_left()
        return "time left not known yet" if left is None else f"about {screen.duration(left)} left"

    def _drawn(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for name in ("being measured", "", "what", "for"):
            table.add_column(name, no_wrap=True)
        for job in list(self.jobs):
            bar = ProgressBar(total=1.0, completed=job.done, width=20)
            table.add_row(title(job.cell), bar, job.note or "-", screen.duration(job.seconds))
        done = self._total - len(self.waiting) - len(self.jobs)
        counts = f"{self.finished} measured here, {self.failed} of them failed, {self.known} known"
        counts += f", {len(self.waiting)} waiting; {self._left()}"
        bar = ProgressBar(total=max(1, self._total), completed=done)
        # The bar comes last because it does not end its line.
        return Group(table, Text(f"{done}/{self._total} cells: {counts}"), bar)

    def __enter__(self) -> Self:
        """Draws, where standard error is a terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Draws no more."""
        self._live.stop()


def title(cell: Cell) -> str:
    """A cell in a few words, with its seed."""
    return f"{cell.title} seed {cell.seed}"

"""What a sweep is doing: bars that are drawn again and again, or lines where nobody watches."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from mem_dfa.experiments.cells.cell import Cell, Report
from mem_dfa.experiments.terminal import screen
from rich.console import Console
from rich.progress import Progress, TaskID

LINE_EVERY_S = 60  # of one cell, where nobody watches


class Board:
    """Counts a sweep's cells and shows them, on standard error."""

    def __init__(self, waiting: Sequence[Cell], known: int, slots: int) -> None:
        """Begins with every cell waiting but those whose rows are ``known``."""
        self.waiting = list(waiting)
        self.known = known
        self.slots = slots
        self.finished = 0
        self.failed = 0
        self._jobs: dict[Cell, tuple[TaskID, float]] = {}
        """The bars of those under way, and when they began."""
        self._seconds: dict[str, list[float]] = {}
        """How long measured cells took, by model."""
        self._console = Console(stderr=True)
        columns = screen.progress_columns()
        self._bars = Progress(
            *columns,
            console=self._console,
            transient=True,
            expand=True,
            disable=not self._console.is_terminal,
        )
        self._total = known + len(waiting)
        self._whole = self._bars.add_task("", total=self._total)
        self._count()

    def began(self, cell: Cell) -> Report:
        """Moves a cell from waiting to those under way; returns what takes news of it."""
        self.waiting.remove(cell)
        task, told = self._bars.add_task(title(cell), total=1.0), time.monotonic()
        self._jobs[cell] = task, told
        self._count()

        def report(note: str, done: float) -> None:
            nonlocal told
            self._bars.update(task, completed=done, description=f"{title(cell)}: {note}")
            if not self._console.is_terminal and time.monotonic() - told >= LINE_EVERY_S:
                told = time.monotonic()
                self._print(f"{title(cell)}: {note}, {done:.0%}")

        return report

    def ended(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """Takes a cell off those under way, and says how it ended."""
        task, began = self._jobs.pop(cell)
        self._bars.remove_task(task)
        seconds = time.monotonic() - began
        self._seconds.setdefault(cell.model, []).append(seconds)
        self.finished += 1
        self.failed += row["status"] != "ok"
        result = f"{row['status']}: {row['error']}"
        if row["status"] == "ok":
            result = f"ok, {screen.mebibytes(row['step_bytes'])} MiB a step"
        self._count()
        ended = f"{title(cell)}: {result}, {screen.duration(seconds)}"
        self._print(f"{self.known + self.finished}/{self._total} {ended}; {self._time()}")

    def found(self, cell: Cell) -> None:
        """Counts a waiting cell as known, because another sweep has measured it."""
        self.waiting.remove(cell)
        self.known += 1
        self._count()

    def seconds_left(self) -> float | None:
        """By the mean of the cells measured so far, those of the same model if there are any."""
        if not self._seconds:
            return None
        every = statistics.fmean(one for many in self._seconds.values() for one in many)
        means = {model: statistics.fmean(many) for model, many in self._seconds.items()}
        coming = sum(means.get(cell.model, every) for cell in self.waiting)
        for cell, (_, began) in self._jobs.items():
            coming += max(0, means.get(cell.model, every) - (time.monotonic() - began))
        return coming / self.slots

    def _time(self) -> str:
        left = self.seconds_left()
        return "time left not known yet" if left is None else f"about {screen.duration(left)} left"

    def _count(self) -> None:
        done = self.known + self.finished
        counts = f"{self.finished} measured here, {self.failed} of them failed, {self.known} known"
        counts += f", {len(self.waiting)} waiting; {self._time()}"
        text = f"{done}/{self._total} cells: {counts}"
        self._bars.update(self._whole, completed=done, description=text)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        """Draws, where standard error is a terminal."""
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Draws no more."""
        self._bars.stop()


def title(cell: Cell) -> str:
    """A cell in a few words, with its seed."""
    return f"{cell.title} seed {cell.seed}"

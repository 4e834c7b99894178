"""What the demo shows while it runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Screen:
    """The terminal, or a plain log when there is none."""

    def __init__(self) -> None:
        # A log has no width of its own.
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)

    def step(self, number: int, sentence: str) -> None:
        """Say what happens next."""
        self.console.print(f"[bold green]{number}[/]  [bold]{sentence}[/]")

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar; call what it gives with how much is done so far."""
        columns = (
            TextColumn("   {task.description:<34}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=done)

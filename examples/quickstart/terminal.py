"""Headings, steps, bars and tables; plain lines where the output is not a terminal or NO_COLOR is set."""

import contextlib
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence

_LIVE = sys.stdout.isatty()
_COLOUR = _LIVE and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 110)


def _paint(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _COLOUR else text


def bold(text: str) -> str:
    return _paint("1", text)


def dim(text: str) -> str:
    return _paint("2", text)


def green(text: str) -> str:
    return _paint("32", text)


def red(text: str) -> str:
    return _paint("31", text)


def cyan(text: str) -> str:
    return _paint("36", text)


def heading(title: str, explanation: str = "") -> None:
    print(f"\n{bold(cyan(title))}\n{dim('─' * width())}")
    if explanation:
        say(explanation)


def say(text: str, indent: int = 2) -> None:
    """A paragraph, wrapped."""
    pad = " " * indent
    print(textwrap.fill(" ".join(text.split()), width(), initial_indent=pad, subsequent_indent=pad))


def code(text: str) -> None:
    """Something typed or queried, shown as it is."""
    for line in textwrap.dedent(text).strip().splitlines():
        print("    " + cyan(line))


def table(rows: Sequence[Sequence[object]], header: Sequence[str] = (), indent: int = 4) -> None:
    """Columns as wide as their widest cell; the last one is cut at the edge of the terminal."""
    cells = [[str(cell) for cell in row] for row in ([header] if header else []) + list(rows)]
    if not cells:
        return
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(size) for cell, size in zip(row, widths)).rstrip()
        line = " " * indent + shorten(line, width() - indent)
        print(dim(line) if header and number == 0 else line)


def shorten(text: str, size: int) -> str:
    return text if len(text) <= size else text[: max(size - 1, 0)] + "…"


class Line:
    """One line that is rewritten in place on a terminal and printed once, at its end, elsewhere."""

    def __init__(self) -> None:
        self._shown = 0.0

    def update(self, text: str) -> None:
        if _LIVE and time.monotonic() - self._shown > 0.05:
            self._shown = time.monotonic()
            sys.stdout.write("\r\033[K" + text)
            sys.stdout.flush()

    def close(self, text: str) -> None:
        print(("\r\033[K" if _LIVE else "") + text, flush=True)


class Bar:
    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._line = Line()
        self._started = time.monotonic()

    def at(self, done: int) -> None:
        share = min(done / self._total, 1.0) if self._total else 1.0
        room = max(width() - 60, 10)
        filled = int(share * room)
        self._line.update(f"  {self._label:<28} {green('█' * filled)}{dim('░' * (room - filled))} {done:>6}/{self._total} {self._unit}")

    def done(self) -> None:
        seconds = time.monotonic() - self._started
        self._line.close(f"  {green('✓')} {self._label:<26} {self._total} {self._unit} {dim(f'in {seconds:.1f} s')}")


class Step:
    """What a step in progress may say about how far it is."""

    def __init__(self) -> None:
        self.note = ""
        self.result = ""


@contextlib.contextmanager
def step(label: str) -> Iterator[Step]:
    """Shows a spinner while the block runs, then a tick and the time, or a cross when it raised."""
    state = Step()
    line = Line()
    started = time.monotonic()
    over = threading.Event()

    def spin() -> None:
        frame = 0
        while not over.wait(0.1):
            frame += 1
            seconds = time.monotonic() - started
            line.update(f"  {cyan(_FRAMES[frame % len(_FRAMES)])} {label:<26} {dim(shorten(f'{seconds:.0f} s  {state.note}', width() - 32))}")

    spinner = threading.Thread(target=spin, daemon=True)
    spinner.start()
    failed = True
    try:
        yield state
        failed = False
    finally:
        over.set()
        spinner.join()
        mark = red("✗") if failed else green("✓")
        seconds = time.monotonic() - started
        line.close(f"  {mark} {label:<26} {' '.join(filter(None, [state.result, dim(f'({seconds:.1f} s)')]))}")

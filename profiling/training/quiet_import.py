"""TensorFlow's own log lines, which no variable keeps off the terminal while it is imported."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# What TensorFlow's libraries say of their build and of what they did not find.
_LOG_LINE = re.compile(
    rb"([IWE]\d{4} \d\d:\d\d:|WARNING: All log messages before absl|"
    rb"To enable the following instructions:)"
)


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keep what TensorFlow's libraries log out of the program's output.

    While they are imported, as soon as somebody does in the context; and afterwards, unless
    `TF_CPP_MIN_LOG_LEVEL` says what is wanted. Whatever else is written meanwhile is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Finds TensorFlow as everybody does, and has it run without its log lines."""

    _searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def quietly(module: ModuleType) -> None:
                with _without_log_lines():
                    execute(module)

            spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec


@contextmanager
def _without_log_lines() -> Iterator[None]:
    """Hold back what is written to standard error, and then show all but the log lines."""
    with ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:  # there is no room to hold anything, or no standard error
            yield
            return
        stack.callback(os.close, stderr)
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            held.seek(0)
            shown = b"".join(line for line in held if not _LOG_LINE.match(line))
            sys.stderr.write(shown.decode(errors="replace"))

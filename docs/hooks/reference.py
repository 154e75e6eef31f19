"""The pages of the reference, from parsers, the registry, schemas of tables and docstrings."""

import os
import re
from collections.abc import Iterable

import columns
import commands
from insertions import table
from mem_dfa.experiments.__main__ import COMMANDS
from mem_dfa.experiments.report import readme

import mem_dfa
from mem_dfa import profiling, registry


def pages() -> dict[str, str]:
    """Markdown of each page, by its name."""
    made = {
        "commands": _commands(),
        "algorithms": _algorithms(),
        "models": _models(),
        "columns": columns.page(),
        "exit-status": _exit_status(),
        "api": _api(),
        "profiling": _profiling(),
    }
    return {name: "\n\n".join(parts) + "\n" for name, parts in made.items()}


def _commands() -> Iterable[str]:
    os.environ["COLUMNS"] = "80"
    yield "# Command line"
    yield (
        "`mem-dfa COMMAND` is the installed script. In a checkout `python -m experiments.COMMAND` "
        "is the same, and `python -m profiling` is `mem-dfa profile`."
    )
    yield table(["command", "what it does"], [[f"`{n}`", does] for n, does in COMMANDS.items()])
    for name, parser in commands.parsers():
        yield f"## {name}"
        yield f"```text\n{parser.format_help().rstrip()}\n```"


def _algorithms() -> Iterable[str]:
    yield "# Algorithms"
    yield "\n".join(readme.algorithms())
    yield "## Options of each"
    rows = [
        [f"`{name}`", ", ".join(f"`{option.name}`" for option in entry.options) or "none"]
        for name, entry in registry.ALGORITHMS.items()
    ]
    yield table(["algorithm", "options"], rows)
    yield "In Python an option is an argument of the class; on the command line it has dashes."
    heads = ["option", "what", "takes", "default"]
    takes = {
        "count": "a whole number from 1",
        "size": 'a size such as "64 MiB"',
        "fraction": "a number from 0 to below 1",
        "groups": 'a whole number from 1, a size, "sqrt", or names of blocks',
    }
    rows = [
        [
            f"`{option.name}`",
            option.help,
            takes.get(option.kind) or ", ".join(f"`{name}`" for name in option.choices),
            option.default,
        ]
        for option in registry.OPTIONS
    ]
    yield table(heads, rows)
    yield "## Kinds of feedback"
    rows = [[f"`{name}`", one.description] for name, one in registry.FEEDBACK_KINDS.items()]
    yield table(["`feedback`", "what is held"], rows)
    yield "## Distributions of the feedback"
    yield (
        "n is the number of units that the error arrives at, C the number of classes; for `fa` "
        "and `checkpoint_fa` they are a kernel's fan-in and fan-out."
    )
    rows = [[f"`{name}`", one.description] for name, one in registry.FEEDBACK_INITIALIZERS.items()]
    yield table(["`feedback_initializer`", "distribution"], rows)


def _models() -> Iterable[str]:
    yield "# Models"
    yield (
        "`mem_dfa.MODELS[name](input_shape=..., classes=..., layers=None, seed=None)` builds one. "
        "`layers=k` takes its first k weight layers and then the classifier."
    )
    rows = [
        [
            f"`{name}`",
            entry.description,
            str(entry.layers),
            f"`{entry.dataset}`",
            str(entry.batch_size),
        ]
        for name, entry in registry.MODELS.items()
    ]
    yield table(["model", "layers before the classifier", "number", "made for", "batch"], rows)


def _exit_status() -> Iterable[str]:
    yield "# Exit status"
    yield (
        "What every command has in common: 0 is good, 1 means that something was measured and is "
        "not as it should be, or could not be measured, 2 that arguments or files make no sense. "
        "A signal gives 128 and its number, so 130 after Ctrl-C. What was measured is kept "
        "whatever the status is."
    )
    rows = []
    for name in COMMANDS:
        said = re.search(r"Exit status: (.*?)(?:\n\n|\Z)", commands.documentation_of(name), re.S)
        rows.append([f"`{name}`", " ".join(said[1].split()) if said else "as above"])
    yield table(["command", "exit status"], rows)


def _api() -> Iterable[str]:
    yield "# Training: `mem_dfa`"
    yield "Every class is a `keras.Model`: `compile`, `fit`, `evaluate` and `save` are Keras's."
    yield "## Algorithms"
    places = {"Algorithm": "mem_dfa.algorithms.base.Algorithm"}
    yield _documented(places["Algorithm"], "[feedback_bytes, host_bytes, predict_step_bytes]")
    for entry in registry.ALGORITHMS.values():
        yield _documented(entry.place.replace(":", "."), "false")
    yield "## Callbacks"
    yield _documented("mem_dfa.alignment.Alignment", "false")
    yield "## Blocks and predictions"
    yield _documented("mem_dfa.chain.chain.Chain", "[from_model, summary]")
    yield _documented("mem_dfa.shapes.prediction.predict")
    yield _documented("mem_dfa.shapes.prediction.Prediction")
    yield "## Layers"
    yield _documented("mem_dfa.layers.reversible.ReversibleBlock", "[inverse]")
    yield "## For algorithms of your own"
    yield _documented("mem_dfa.algorithms.blockwise.Blockwise", "[schedule]")
    yield _documented("mem_dfa.feedback.signal.Signal")
    yield _documented("mem_dfa.feedback.output_feedback.OutputFeedback", "[project]")
    yield _documented("mem_dfa.schedules.backward_sweep.BackwardSweep", "false")
    yield _documented("mem_dfa.schedules.second_forward.SecondForward", "false")
    yield "## Errors"
    yield _documented("mem_dfa.errors.UnsupportedError")
    named = ", ".join(f"`{name}`" for name in mem_dfa.__all__)
    yield f"All names of `mem_dfa`: {named}."


def _profiling() -> Iterable[str]:
    yield "# Profiling: `mem_dfa.profiling`"
    yield "It measures any TensorFlow or Keras step and needs none of the algorithms."
    places = profiling._MODULES
    for name in ("enable", "trace", "Timeline", "MemoryCallback", "Allocator"):
        members = "true" if name == "Timeline" else "false"
        yield _documented(f"mem_dfa.profiling.{places[name]}.{name}", members)
    yield "## What one asks of a timeline"
    asked = "[peak_bytes, step_bytes, step_requested_bytes, live_at, live_at_peak, by, diff]"
    yield _documented("mem_dfa.profiling.timeline.data.TimelineData", asked)
    yield "## Limits in tests"
    yield _documented("mem_dfa.profiling.pytest_plugin", "false")
    yield "## Errors"
    for name in ("MeterError", "TraceError"):
        yield _documented(f"mem_dfa.profiling.{places[name]}.{name}")


def _documented(place: str, members: str = "") -> str:
    """What mkdocstrings puts a docstring in place of."""
    lines = [f"::: {place}"]
    if members:
        lines += ["    options:", f"      members: {members}"]
    return "\n".join(lines)

"""The commands by name: ``mem-dfa run``, and in a checkout ``python -m experiments run``.

Exit status: the command's; 2 for one that does not exist.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from mem_dfa import extras

COMMANDS = {
    "run": "measures algorithms and compares them with bp, Keras's own training",
    "sweep": "measures every combination of algorithms, models, depths, batch sizes",
    "fit": "finds the largest batch, or depth, that trains within so much memory",
    "bench": "times algorithms in turns, beside what TensorFlow and Keras offer",
    "recurrent": "trains nets unrolled in time, truncated and not, and weighs them",
    "gate": "says what memory the cells of memory-gate.toml take more or less than before",
    "claims": "measures again what this project promises",
    "plot": "draws a figure of your own from measured rows",
    "figures": "draws every figure from what was measured, and the page",
    "reproduce": "measures all that the figures show, and draws them",
    "profile": "what takes a script's memory (run); timelines (show, diff); doctor",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names, and returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        from mem_dfa.experiments.terminal import screen

        with screen.forgiving():
            print(_listing())
        return 0
    name, *arguments = words
    if name not in COMMANDS:
        said = f"there is no command {name!r}, but {', '.join(COMMANDS)}"
        print(f"error: {said} (see --help)", file=sys.stderr)
        return 2
    extra = "profiling" if name == "profile" else "experiments"
    try:
        return import_module(f"mem_dfa.experiments.{name}").main(arguments)
    except ModuleNotFoundError as error:
        if not (told := extras.missing(error, extra)):
            raise
        print(f"error: {told}", file=sys.stderr)
        return 1


def _listing() -> str:
    commands = "\n".join(f"  {name:<11}{does}" for name, does in COMMANDS.items())
    return (
        "usage: mem-dfa COMMAND ...\n"
        "       python -m experiments COMMAND ...\n\n"
        "Training algorithms for Keras models that save memory, measured to the byte.\n\n"
        f"{commands}\n\n"
        "COMMAND --help says what it takes."
    )


if __name__ == "__main__":
    sys.exit(main())

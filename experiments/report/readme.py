"""The README's tables, from the registry and the results: ``make readme`` writes them anew."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mem_dfa.experiments.report import facts

from mem_dfa import registry

RESULTS = "results"


def algorithms() -> list[str]:
    """The whole table of algorithms, as the registry has them."""
    return [
        "| algorithm | | error signal | what it keeps of the forward pass |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {entry.description} | {entry.signal} | {entry.keeps} |"
            for name, entry in registry.ALGORITHMS.items()
        ),
    ]


def families() -> list[str]:
    """The algorithms in a line for each thing that they keep."""
    kept: dict[str, list[str]] = {}
    for name, entry in registry.ALGORITHMS.items():
        kept.setdefault(entry.keeps, []).append(f"`{name}` {entry.description}")
    return [
        "| what is kept of the forward pass | algorithms |",
        "|---|---|",
        *(f"| {keeps} | {'<br>'.join(told)} |" for keeps, told in kept.items()),
    ]


def headlines(folder: str | Path) -> list[str]:
    """The table of the numbers to know, and how many promises hold; see `headline_rows`."""
    rows = headline_rows(folder)
    said = f"{promises(folder)}; [the tables](results/README.md) say which do not."
    return [
        f"|{' | '.join(rows[0])} |",
        "|---" * len(rows[0]) + "|",
        *(f"| {' | '.join(row.values())} |" for row in rows),
        "",
        said,
    ]


def headline_rows(folder: str | Path) -> list[dict[str, str]]:
    """The five numbers to know, each beside plain training and with what limits it.

    Returns:
        Rows by the heads of their columns, in Markdown.

    Raises:
        KeyError: the results lack one.
        ResultsError: a table is damaged.
    """
    told = facts.texts(folder)
    heads = ("", "plain training", "here", "what it costs")
    return [
        dict(zip(heads, [text.format(**told) for text in row], strict=True)) for row in _HEADLINES
    ]


def promises(folder: str | Path) -> str:
    """How many claims hold: "71 of 74 promises hold"."""
    verdicts = [row["verdict"] for row in facts.claims(folder).values()]
    return f"{verdicts.count('holds')} of {len(verdicts)} promises hold"


_HEADLINES = (
    (
        "step of 20 convolutions, batch 128",
        "{bp_step}",
        "**{mem_dfa_step}** `mem_dfa`",
        "{mem_dfa_time} times the time; another gradient",
    ),
    (
        "the same with the exact gradient",
        "{bp_step}",
        "**{checkpoint_step}** `checkpoint`",
        "{checkpoint_time} times the time",
    ),
    (
        "step of 1000 convolutions, batch 32",
        "{bp_step_1000}",
        "**{mem_dfa_step_1000}** `mem_dfa`",
        "{first_step_1000} for the first step; feedback drawn again at each use",
    ),
    (
        "largest batch of VGG-16 in 1 GiB",
        "{fit_bp}",
        "**{fit_mem_dfa}** `mem_dfa`, **{fit_microbatch}** `microbatch`",
        "slices need a net without BatchNormalization",
    ),
    (
        "test accuracy of `mnist_conv`, MNIST; `liao_cifar`, CIFAR-10",
        "{mnist_conv_bp}; {liao_cifar_bp}",
        "{mnist_conv_mem_dfa}; {liao_cifar_mem_dfa} `mem_dfa`",
        "random feedback learns less where the task is harder",
    ),
)


def tables(folder: str | Path = RESULTS) -> dict[str, list[str]]:
    """The lines of each table, by the name of its place in the README."""
    return {"algorithms": families(), "headlines": headlines(folder)}


def with_tables(text: str, folder: str | Path = RESULTS) -> str:
    """A README with its tables as they are now, between marks such as `<!-- algorithms -->`.

    Raises:
        ValueError: it has no place for one.
    """
    for name, lines in tables(folder).items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"the README has no lines {begin.strip()} and {end}")
        before, _, rest = text.partition(begin)
        text = before + begin + "\n".join(lines) + "\n" + end + rest.partition(end)[2]
    return text


def main(argv: Sequence[str]) -> None:
    """Rewrites a README.

    Args:
        argv: its path, beside which the results are.
    """
    path = Path(argv[0])
    text = path.read_text(encoding="utf-8")
    path.write_text(with_tables(text, path.parent / RESULTS), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

"""What pages may ask for by `{{ name }}`: numbers and tables, from results/ and the registry."""

import functools
import statistics
from collections.abc import Sequence
from pathlib import Path

import signals
from mem_dfa.experiments.paper import rules
from mem_dfa.experiments.report import facts, fit_table, readme, rules_table
from mem_dfa.experiments.store import files


@functools.cache
def texts(results: str) -> dict[str, str]:
    """Every number and table, by name, as Markdown."""
    tables = {
        f"table_{file.stem}": _alone(file.read_text(encoding="utf-8"))
        for file in Path(results, files.TABLES).glob("*.md")
    }
    for model in ("mlp", "mnist_conv", "liao_cifar", "vgg16", *_SIGNALS, *_KEPT):
        tables[f"table_accuracy_{model}"] = _accuracies(results, model)
        cells = facts.planned(f"accuracy_{model}")
        tables[f"{model}_epochs"] = str(max(cell.epochs for cell in cells))
    tables["table_fit"] = _fits(results)
    tables |= {f"table_rules_{layers}": _rules(results, layers) for layers in rules.TABLED}
    tables["table_signals"] = table(signals.HEADS, signals.rows())
    tables["broken_claims"] = _broken(results)
    tables |= {f"table_{name}": "\n".join(lines) for name, lines in readme.tables(results).items()}
    return {**facts.texts(results), **tables}


_SIGNALS = ("signals_mnist_conv", "signals_liao_cifar_bn", "dfa_liao_cifar_bn")
_KEPT = ("compressed_mnist_conv", "compressed_liao_cifar", "xconv_net", "residual")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _accuracies(results: str, model: str) -> str:
    found = facts.accuracies(results, model)
    cells = [
        [f"{pick(shares):.2%}" for pick in (statistics.fmean, min, max)] + [str(len(shares))]
        for shares in found.values()
    ]
    rows = [[f"`{name}`", *line] for name, line in zip(found, cells, strict=True)]
    return table(["algorithm", "mean", "least", "greatest", "seeds"], rows)


def _rules(results: str, layers: int) -> str:
    """What every rule reached, beside what was computed independently."""
    lines = rules_table.lines(results, layers)
    rows = [[f"`{line['rule']}`", *list(line.values())[1:]] for line in lines]
    return table(rules_table.HEADS, rows)


def _fits(results: str) -> str:
    rows = facts.fits(results)
    heads = ["algorithm", "batch", "of bp's", "peak (MiB)", "ms per image"]
    lines = [fit_table.line(row, rows) for row in rows]
    return table(heads, [[line[head] for head in heads] for line in lines])


def _broken(results: str) -> str:
    rows = [row for row in facts.claims(results).values() if row["verdict"] != "holds"]
    told = [
        f"- {row['claim']}: {float(row['measured']):.2f} in place of {row['limit']}"
        if row["measured"]
        else f"- {row['claim']}: not measured"
        for row in rows
    ]
    return "\n".join(told) or "- none"


def _alone(text: str) -> str:
    """A table that a command wrote, without what it says above, or of its cells in every line."""
    lines = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    heads, _, *rows = cells
    kept = [
        number
        for number, head in enumerate(heads)
        if head not in _SAID_ONCE or len({row[number] for row in rows}) > 1
    ]
    return table([heads[n] for n in kept], [[row[n] for n in kept] for row in rows])


_SAID_ONCE = ("model", "layers", "batch", "execution")

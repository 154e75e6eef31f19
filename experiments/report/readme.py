"""The README's tables of what there is, from the registry: ``make readme`` writes them anew."""

import sys
from pathlib import Path

from mem_dfa import registry

_TABLES = {
    "algorithms": [
        "| algorithm | | error signal | what it keeps of the forward pass |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {entry.description} | {entry.signal} | {entry.keeps} |"
            for name, entry in registry.ALGORITHMS.items()
        ),
    ],
    "models": [
        "| model | layers before the classifier |",
        "|---|---|",
        *(f"| `{name}` | {entry.description} |" for name, entry in registry.MODELS.items()),
    ],
}


def with_tables(text: str) -> str:
    """A README with its tables as the registry has them, between marks such as `<!-- models -->`.

    ValueError where it has no place for one.
    """
    for name, lines in _TABLES.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        if not end:
            raise ValueError(f"the README has no lines <!-- {name} --> and <!-- end of {name} -->")
        text = before + begin + "\n".join(lines) + "\n" + end + after
    return text


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")

"""What became of a command: memory against depth is a sweep over layers, and a figure."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Says what to do instead, and returns the exit status of arguments that make no sense."""
    print(
        "error: memory against depth is a sweep, such as `python -m experiments.sweep --algo "
        "bp,mem_dfa --model depth_net --layers 1,10,100`, and `python -m experiments.reproduce "
        "--figure depth` measures and draws it",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())

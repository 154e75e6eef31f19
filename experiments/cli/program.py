"""How a command was started, which its usage says."""

import os
import sys

SCRIPT = "mem-dfa"


def called(command: str) -> str:
    """``mem-dfa run`` where that script was started, else ``python -m experiments.run``."""
    is_script = os.path.basename(sys.argv[0]) == SCRIPT
    return f"{SCRIPT} {command}" if is_script else f"python -m experiments.{command}"

"""Another name of the gate, see `gate`."""

import sys

from mem_dfa.experiments.gate import main

if __name__ == "__main__":
    sys.exit(main())

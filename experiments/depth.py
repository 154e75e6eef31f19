"""Memory against depth is a sweep over layers, and a figure."""

import sys

print(
    "error: experiments.depth is no command any more; memory against depth is a sweep, such as "
    "python -m experiments.sweep --algo bp,mem_dfa --model depth_net --layers 1,10,100, and "
    "python -m experiments.figures --figure depth draws it",
    file=sys.stderr,
)
sys.exit(2)

"""The command line: what an algorithm costs in memory, measured in fresh processes."""

import os
import signal
import sys

# `mem-dfa` and `python -m experiments.…` import this first. Until a command begins (see
# `cli.program`), Ctrl-C ends the process at once: an exception inside an import is a traceback, or
# lost in a callback. What is imported by another program, or started without Ctrl-C, is left alone.
if os.path.basename("".join(sys.argv[:1])) in ("-m", "mem-dfa"):
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mem_dfa import extras

    sys.excepthook = extras.tell

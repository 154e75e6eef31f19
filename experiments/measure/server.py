"""The process that measuring processes are forked from, so that they find TensorFlow imported.

``python -m mem_dfa.experiments.measure.server PARENT`` reads requests, lines of JSON; what the
process that does one tells is on its standard output, and then how that ended. See `engine.worker`.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def main() -> None:
    """Forks a process for each request, one after another, as long as anybody can ask."""
    _die_with(int(sys.argv[1]))
    from mem_dfa.experiments.measure import child  # and TensorFlow, which starts nothing yet

    gc.freeze()  # searched again in each process, it would be copied there, and takes half a second
    server, process = os.getpid(), 0
    telling, nothing = os.fdopen(os.dup(1), "w"), os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)  # whatever else prints there would be in between

    def end(*_: object) -> None:
        if process:
            _end_group(process)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    for line in sys.stdin:
        request = json.loads(line)
        errors = os.open(request["errors"], os.O_WRONLY | os.O_APPEND)
        os.dup2(errors, 2)  # also for why there can be no process
        os.close(errors)
        process = os.fork()
        if not process:
            _die_with(server)
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.dup2(nothing, 0)
            child.main(request, telling)
            os._exit(0)  # to tidy up what ends anyway takes a second
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        _end_group(process)  # first, because then its number may become another's
        returncode = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        process = 0
        print("\n" + json.dumps({"returncode": returncode}), file=telling, flush=True)


def _end_group(leader: int) -> None:
    """Ends a process and what it started, which may go on when it died."""
    # What a system says of a group that is gone, or of which nothing is left to end.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _die_with(parent: int) -> None:
    """Has Linux end this process with the thread that started it, lest it disturb the next one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)


if __name__ == "__main__":
    main()

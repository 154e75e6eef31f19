"""The process that measuring processes are forked from, so that they find TensorFlow imported.

``python -m mem_dfa.experiments.measure.server PARENT``, with a socket as standard input. Each byte
there asks for a process, and brings three files: where it tells what it measures, its standard
error, and its task. See `engine.worker`.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
from typing import NoReturn

HANDLED = (signal.SIGCHLD, signal.SIGTERM)
PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>


def main() -> None:
    """Forks a process for each that is asked for, as long as anybody can ask."""
    die_with(int(sys.argv[1]))
    from mem_dfa.experiments.measure import child  # and TensorFlow, which starts nothing yet

    gc.freeze()  # searched again in each process, it would be copied there, and takes half a second
    die_with(None)  # which means with the thread that started this one
    child.main(*forked(socket.socket(fileno=sys.stdin.fileno())))
    os._exit(0)  # to tidy up what ends anyway takes a second


def forked(control: socket.socket) -> tuple[int, int]:
    """Returns in each new process only: the files where it tells, and with its task."""
    server = os.getpid()
    running: dict[int, int] = {}

    def tell_ends(*_: object) -> None:
        while running and (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            _end_group(ended.si_pid)  # first, because then its number may become another's
            returncode = os.waitstatus_to_exitcode(os.waitpid(ended.si_pid, 0)[1])
            with contextlib.suppress(OSError), open(running.pop(ended.si_pid), "w") as telling:
                telling.write(f"\n{json.dumps({'returncode': returncode})}\n")  # after half a line

    def end(*_: object) -> NoReturn:
        for process in running:
            _end_group(process)
        os._exit(0)

    signal.signal(signal.SIGCHLD, tell_ends)
    signal.signal(signal.SIGTERM, end)
    while files := socket.recv_fds(control, 1, 3)[1]:
        telling, errors, asked = files
        os.dup2(errors, sys.stderr.fileno())  # also for why there can be no process
        os.close(errors)
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        process = os.fork()
        if process == 0:
            die_with(server)
            os.setsid()
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL)
            os.dup2(sys.stdout.fileno(), control.detach())  # it has no standard input
            for other in running.values():
                os.close(other)
        else:
            running[process] = telling
            os.close(asked)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        if process == 0:
            return telling, asked
    end()


def _end_group(leader: int) -> None:
    """Ends a process and what it started, which may go on when it died."""
    # What a system says of a group that is gone, or of which nothing is left to end.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def die_with(parent: int | None) -> None:
    """Has Linux end this process when its parent dies, in whatever way; with None no longer so.

    Otherwise a measurement that nobody waits for would disturb the next one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL if parent else 0)
        if parent and os.getppid() != parent:  # it died before that
            os._exit(1)


if __name__ == "__main__":
    main()

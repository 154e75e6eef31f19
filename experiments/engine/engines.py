"""Where calls wait for measuring processes: in threads here, or by dask.distributed anywhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

from mem_dfa.experiments.cells.errors import UsageError
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.engine.worker import MachineError
from mem_dfa.experiments.store.trainings import fingerprint

LOCAL = "local"
CONNECT_TIMEOUT_S = 10
UNREACHABLE: dict[type[Exception], str] = {
    ImportError: " needs dask.distributed: pip install 'mem-dfa[distributed]'; or leave it out",
    # What dask says of tls:// without a context.
    TypeError: " needs certificates, which dask's configuration names under distributed.comm.tls",
    Exception: f": no dask scheduler answers there within {CONNECT_TIMEOUT_S} s; start one with "
    f"`dask scheduler`, or take {LOCAL}",
}


@dataclass(frozen=True)
class Engine:
    """What takes calls and answers with futures."""

    submit: Callable[..., futures.Future]
    slots: int  # how many calls go on at once
    in_this_process: bool  # so that calls can be given what does not travel, such as a `Report`


def opened(scheduler: str | None, workers: int) -> contextlib.AbstractContextManager[Engine]:
    """An engine, closed with all its processes in the end; UsageError if it cannot be had.

    "local" is so many threads: dask's own local cluster takes code from whoever knows its port.
    """
    return _threads(workers) if scheduler in (None, LOCAL) else _dask(str(scheduler))


@contextlib.contextmanager
def _threads(workers: int) -> Iterator[Engine]:
    executor = futures.ThreadPoolExecutor(workers)
    begun: list[futures.Future] = []

    def submit(*call: Any) -> futures.Future:
        begun.append(executor.submit(*call))
        return begun[-1]

    try:
        yield Engine(submit, workers, in_this_process=True)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        worker.end_all()
        while not all(future.done() for future in begun):  # one was between two processes just now
            time.sleep(0.05)
            worker.end_all()


@contextlib.contextmanager
def _dask(scheduler: str) -> Iterator[Engine]:
    try:
        import distributed

        client = distributed.Client(scheduler, timeout=CONNECT_TIMEOUT_S)
    except (ImportError, TypeError, OSError, ValueError) as error:
        why = next(why for kind, why in UNREACHABLE.items() if isinstance(error, kind))
        raise UsageError(f"--scheduler {scheduler}{why}") from error
    with client:
        slots = sum(client.nthreads().values())
        if not slots:
            remedy = f"start some with `dask worker {scheduler} --nthreads 1`"
            raise UsageError(f"--scheduler {scheduler} has no workers; {remedy}")
        # Asked of every call, because workers come and go.
        code, executor = fingerprint(), client.get_executor(pure=False)
        yield Engine(lambda *call: executor.submit(_checked, code, *call), slots, False)


def _checked(code: str, function: Callable, *arguments: Any) -> Any:
    if fingerprint() != code:
        raise MachineError(
            "a dask worker has other code or another TensorFlow than this sweep; install the same "
            "there and start it again"
        )
    return function(*arguments)


def outcome(future: futures.Future) -> Any:
    """What a call gave, or raised; MachineError where it could not be made or is lost."""
    try:
        return future.result()
    except ModuleNotFoundError as error:
        raise MachineError(
            f"a dask worker cannot import this sweep's code ({error}); install it there, or start "
            "the worker in the same folder"
        ) from error
    except (futures.CancelledError, OSError) as error:
        raise MachineError(
            f"the dask scheduler or a worker is gone or cannot be reached ({error!r}); every cell "
            "measured so far is in the results, so run the sweep again when that is mended"
        ) from error

"""Where cells are measured: in threads of this process, or by dask.distributed, on any machine.

Both only wait: TensorFlow runs in processes of its own, see `engine.worker`.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mem_dfa.experiments.cells.errors import UsageError
from mem_dfa.experiments.engine import worker
from mem_dfa.experiments.engine.worker import MachineError

if TYPE_CHECKING:
    import distributed

LOCAL = "local"
CONNECT_TIMEOUT_S = 10
PACKAGES = ("mem_dfa", "mem_dfa.experiments", "mem_dfa.profiling")
INSTALL = "pip install 'mem-dfa[distributed]'"


@dataclass(frozen=True)
class Engine:
    """What takes calls and answers with futures."""

    submit: Callable[..., futures.Future]
    slots: int
    """How many calls go on at once."""
    in_this_process: bool
    """Whether a call can be given what does not travel, such as a reporter of progress."""


@contextlib.contextmanager
def opened(scheduler: str | None, workers: int) -> Iterator[Engine]:
    """An engine, closed with all its processes in the end.

    Args:
        scheduler: the address of a dask scheduler; None or "local" for threads of this process.
            dask's own local cluster takes code from whoever knows its port.
        workers: how many calls go on at once; a dask scheduler somewhere has its own.

    Raises:
        UsageError: dask is not installed, or no scheduler answers.
        MachineError: the workers have no code or other code than this.
    """
    opening = _threads(workers) if scheduler in (None, LOCAL) else _dask(scheduler)
    with opening as engine:
        yield engine


@contextlib.contextmanager
def _threads(workers: int) -> Iterator[Engine]:
    executor = futures.ThreadPoolExecutor(workers)
    under_way: set[futures.Future] = set()

    def submit(*call: Any) -> futures.Future:
        future = executor.submit(*call)
        under_way.add(future)
        future.add_done_callback(under_way.discard)
        return future

    try:
        yield Engine(submit, workers, in_this_process=True)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        # A call may be between two processes just now, so once is not enough.
        while under_way:
            worker.end_all()
            time.sleep(0.05)


@contextlib.contextmanager
def _dask(scheduler: str) -> Iterator[Engine]:
    try:
        import distributed
    except ImportError as error:
        raise UsageError(
            f"--scheduler {scheduler} needs dask.distributed: {INSTALL}; or leave it out"
        ) from error
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_TIMEOUT_S)
    except TypeError as error:  # what dask says of tls:// without a context
        raise UsageError(
            f"--scheduler {scheduler} needs certificates, which dask's configuration names under "
            "distributed.comm.tls"
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--scheduler {scheduler}: no dask scheduler answers there within "
            f"{CONNECT_TIMEOUT_S} s; start one with `dask scheduler`, or take {LOCAL}"
        ) from error
    with client:
        yield _engine_of(client, scheduler)


def _engine_of(client: "distributed.Client", scheduler: str) -> Engine:
    slots = sum(client.nthreads().values())
    if not slots:
        raise UsageError(
            f"--scheduler {scheduler} has no workers; start some with "
            f"`dask worker {scheduler} --nthreads 1`"
        )
    code = fingerprint()
    with _machine_errors():
        client.run(_checked, code, str)  # and in every call again, because workers come and go
    executor = client.get_executor(pure=False)
    return Engine(
        lambda *call: executor.submit(_checked, code, *call), slots, in_this_process=False
    )


def _checked(code: str, function: Callable, *arguments: Any) -> Any:
    """Calls a function where the code is the one that the sweep has."""
    if fingerprint() != code:
        raise MachineError(
            "a dask worker has other code or another TensorFlow than this sweep; install the same "
            "there and start it again"
        )
    return function(*arguments)


def fingerprint() -> str:
    """What the code of these packages and TensorFlow's version come to."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = Path(importlib.util.find_spec(package).submodule_search_locations[0])
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder.parent).as_posix().encode())
            digest.update(file.read_bytes())
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # named otherwise there
        digest.update(importlib.metadata.version("tensorflow").encode())
    return digest.hexdigest()


def outcome(future: futures.Future) -> Any:
    """What a call gave.

    Raises:
        MachineError: it could not be made, or whoever made it is gone.
        Exception: what the call itself raised.
    """
    with _machine_errors():
        return future.result()


@contextlib.contextmanager
def _machine_errors() -> Iterator[None]:
    """Tells what is no cell's fault in a sentence."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MachineError(
            f"a dask worker cannot import this sweep's code ({error}); install it there, or start "
            "the worker in the same folder"
        ) from error
    except futures.CancelledError as error:
        raise MachineError(
            "the dask scheduler is gone; every cell measured so far is in the results, so start "
            "it and the sweep again"
        ) from error
    except OSError as error:
        raise MachineError(
            f"the dask scheduler or a worker cannot be reached ({error}); every cell measured so "
            "far is in the results, so run the sweep again when that is mended"
        ) from error

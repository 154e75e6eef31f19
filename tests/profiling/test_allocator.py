"""The meter tells the truth, or says that it cannot; see `test_counting` for fresh processes."""

import itertools
import os
from collections.abc import Iterable

import pytest
from mem_dfa.profiling.allocator import PROBE_BYTES

from mem_dfa import profiling

VARIABLE = profiling.ENVIRONMENT_VARIABLE


def test_enable_sets_the_variable_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    profiling.enable()
    profiling.enable()
    assert os.environ[VARIABLE] == "1"


def test_enable_refuses_to_overrule_another_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    with pytest.raises(profiling.MeterError, match=f"{VARIABLE} is '0'; it must be '1'"):
        profiling.enable()
    assert os.environ[VARIABLE] == "0"


def test_missing_device_is_named_with_those_found() -> None:
    with pytest.raises(profiling.MeterError, match=r"no device 'GPU:99'; it found CPU:0"):
        profiling.Allocator("GPU:99")


# What the meter reads before, during (twice: current and peak) and after the probe of 1024 bytes.
LIES = {
    "stuck": ([(5, 5), (5, 5), (5, 5)], "did not move when 1024 bytes"),
    "too little": ([(0, 0), (768, 768), (768, 768)], "moved by 768 bytes"),
    "too much": ([(0, 0), (2048, 2048), (2048, 2048)], "moved by 2048 bytes"),
    "no multiple of 256": ([(0, 0), (1025, 1025), (1025, 1025)], "moved by 1025 bytes"),
    "peak asleep": ([(0, 0), (1024, 0), (1024, 0)], "peak of CPU:0 reads 0 bytes"),
    "never freed": ([(0, 0), (1024, 1024), (1024, 1024), (1024, 1024)], "read 1024 bytes after"),
}


def read(readings: Iterable[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has TensorFlow answer with current and peak bytes, one pair after another."""
    import tensorflow as tf

    answers = iter(readings)

    def get_memory_info(device: str) -> dict[str, int]:
        assert device == "CPU:0"
        return dict(zip(("current", "peak"), next(answers), strict=True))

    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", get_memory_info)
    monkeypatch.setattr(tf.config.experimental, "reset_memory_stats", lambda device: None)


@pytest.mark.parametrize(("readings", "sentence"), LIES.values(), ids=LIES.keys())
def test_lying_meter_is_refused(
    readings: list[tuple[int, int]], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(itertools.cycle([*readings, (0, 0)][:4]), monkeypatch)
    with pytest.raises(profiling.MeterError, match=sentence):
        profiling.Allocator()


def test_what_is_still_freed_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that frees what a step held makes the first proof fail."""
    falling = [(9000, 9000), (1024, 9000), (1024, 9000), (0, 0)]
    true = [[(0, 0), (size, size), (size, size), (0, 0)] for size in PROBE_BYTES]
    read(itertools.chain(falling, *true), monkeypatch)
    profiling.Allocator()

"""How large one can go: what is tried, remembered and told, and that the answer is true."""

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mem_dfa.experiments import fit
from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.cli import arguments
from mem_dfa.experiments.engine import processes, worker
from mem_dfa.experiments.measure import child
from mem_dfa.experiments.store import fit_rows

from mem_dfa.data import prepared

MIB = 2**20
Machine = Callable[[Cell, int | None], dict[str, Any]]
OUT_OF_MEMORY = {"status": "out_of_memory", "error": "OOM when allocating"}
LINE = ["--model", "conv20", "--layers", "2", "--memory", "100MiB"]


def ok(peak_bytes: int) -> dict[str, Any]:
    """What a process tells that trained."""
    numbers = {"peak_bytes": peak_bytes, "process_peak_bytes": peak_bytes, "resident_bytes": MIB}
    numbers |= {"step_bytes": peak_bytes - MIB, "step_time_s": 0.5, "first_step_s": 1.0}
    return {"status": "ok", **numbers}


def linear(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
    """10 MiB and another one for each image, of mem_dfa a tenth of that."""
    taken = MIB * 10 + one.batch_size * (MIB // 10 if one.algorithm == "mem_dfa" else MIB)
    return ok(taken) if memory_bytes is None or taken <= memory_bytes else OUT_OF_MEMORY


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the command on a made-up machine; ``run.tries`` are the sizes it was asked to train."""

    def command(machine: Machine, *words: str, algo: str = "bp", line: Sequence[str] = LINE) -> int:
        def call(task: str, cells: list[Cell], _: Any, limits: worker.Limits) -> dict[str, Any]:
            assert task == "fit"
            size = cells[0].layers if "layers" in words else cells[0].batch_size
            command.tries.append(size)
            return machine(cells[0], limits.memory_bytes)

        monkeypatch.setattr(worker, "call", call)
        return fit.main([*line, "--algo", algo, "--repeats", "1", *words, "--out", str(tmp_path)])

    def check(cells: list[Cell], _: Any) -> list[Cell]:
        return [dataclasses.replace(one, device="CPU:0") for one in cells]

    monkeypatch.setattr(processes, "check", check)
    command.tries = []
    return command


def answers(folder: Path) -> list[dict[str, Any]]:
    return list(fit_rows.answers(folder).values())


def test_answers(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row for each algorithm, and both on the screen beside each other."""
    assert run(linear, algo="bp,mem_dfa") == 0
    bp, mem_dfa = answers(tmp_path)
    assert (bp["size"], bp["batch_size"], bp["layers"]) == (90, 90, 2)
    assert (bp["status"], bp["next_status"]) == ("ok", "out_of_memory")
    assert bp["memory_limit_bytes"] == 100 * MIB
    assert bp["process_peak_bytes"] == 100 * MIB
    assert bp["image_time_s"] == pytest.approx(0.5 / 90)
    assert mem_dfa["size"] == 90 * MIB // (MIB // 10)
    table, told = capsys.readouterr()
    assert "90" in table
    assert "10.00x" in table
    assert "5.56" in table  # ms per image
    assert "limit of each process: 100 MiB" in told
    assert "mem_dfa batch 901 (900 trains)" in told


def test_limit_is_rounded_down(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*LINE[:-1], "50.9 MiB"]
    assert run(linear, line=line) == 0
    assert answers(tmp_path)[0]["size"] == 40
    assert answers(tmp_path)[0]["memory_limit_bytes"] == 50 * MIB
    assert "limit of each process: 50 MiB" in capsys.readouterr().err


def test_an_answer_trains_in_several_processes(run: Callable[..., int], tmp_path: Path) -> None:
    """Its time is the one in the middle; a size that fails once is no answer."""
    seconds, accidents = iter([0.9, 0.1, 0.4]), iter([False, False, True])

    def machine(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
        if one.batch_size == 90 and next(accidents):
            return OUT_OF_MEMORY
        told = linear(one, memory_bytes)
        return told | {"step_time_s": next(seconds)} if one.batch_size == 89 else told

    assert run(machine, "--repeats", "3") == 0
    (row,) = answers(tmp_path)
    assert (row["size"], row["repeats"], row["next_status"]) == (89, 3, "out_of_memory")
    assert row["step_time_s"] == 0.4
    assert [run.tries.count(size) for size in (89, 90, 91)] == [3, 3, 1]


def test_nothing_is_tried_twice(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rerun goes on where the last one was interrupted; one after the answer tries nothing."""

    def impatient(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
        if len(run.tries) == 4:
            raise KeyboardInterrupt
        return linear(one, memory_bytes)

    assert run(impatient) == 130
    assert run(linear) == 0
    again = run.tries.pop(3)
    assert again == run.tries[3]
    assert len(set(run.tries)) == len(run.tries)
    count = len(run.tries)
    capsys.readouterr()
    assert run(linear) == 0
    assert len(run.tries) == count
    assert f"{count} tries are known" in capsys.readouterr().err
    assert len(answers(tmp_path)) == 1
    assert run(linear, "--optimizer", "adam") == 0
    assert len(run.tries) == 2 * count, "another setting is another search"


@pytest.mark.parametrize("status", ["failed", "killed"])
def test_an_accident_decides_nothing(status: str, run: Callable[..., int], tmp_path: Path) -> None:
    """A process that died is followed by another one, at once and in a later run."""
    accidents = iter([True])

    def machine(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
        if one.batch_size > 33 and next(accidents, False):
            return {"status": status, "error": "for a reason"}
        return linear(one, memory_bytes)

    assert run(machine) == 0
    (row,) = answers(tmp_path)
    assert (row["size"], row["next_status"]) == (90, "out_of_memory")


def test_an_answer_takes_the_place_of_none(run: Callable[..., int], tmp_path: Path) -> None:
    """Of a whole model too, whose number of layers no process has to tell."""
    line = ["--model", "vgg16", "--memory", "100MiB"]
    late = {"status": "timed_out", "error": "too long"}
    assert run(lambda *_: late, "--time-limit", "60", line=line) == 1
    assert run(lambda *_: ok(20 * MIB), "--maximum", "3", line=line) == 0
    assert [(row["status"], row["layers"]) for row in answers(tmp_path)] == [("maximum", 15)]


@pytest.mark.parametrize("status", ["failed", "killed", "timed_out", "refused"])
def test_other_ends_than_memory(
    status: str, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A size that crashes, hangs or is refused does not train, and the row says why."""

    def machine(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
        if one.batch_size > 33:
            return {"status": status, "error": "for a reason"}
        return linear(one, memory_bytes)

    assert run(machine, "--time-limit", "60") == 0
    (row,) = answers(tmp_path)
    assert (row["size"], row["next_status"], row["next_error"]) == (33, status, "for a reason")
    assert f"{status}: for a reason" in capsys.readouterr().err
    # A crash may have been an accident, and a longer time may be enough.
    assert run(linear, "--time-limit", "60") == 0
    assert answers(tmp_path)[0]["size"] == (90 if status in ("failed", "killed") else 33)
    assert run(linear, "--time-limit", "61") == 0
    assert answers(tmp_path)[0]["size"] == (33 if status == "refused" else 90)


def test_too_little_memory(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence says so, and it is remembered."""

    def machine(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
        return linear(one, None if one.algorithm == "mem_dfa" else memory_bytes)

    line = [*LINE[:-1], "5MiB"]
    assert run(machine, line=line) == 2
    told = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error")]
    assert told == ["error: --memory 5.0 MiB is too little for bp with batch 1; give more"]
    assert answers(tmp_path)[0]["status"] == "too_little_memory"
    assert answers(tmp_path)[0]["size"] is None
    count = len(run.tries)
    assert run(machine, line=line) == 2
    assert len(run.tries) == count, "it is remembered"
    assert run(machine, "--maximum", "2", algo="bp,mem_dfa", line=line) == 1
    assert "none" in capsys.readouterr().out


def test_size_1_at_the_edge_of_the_limit(run: Callable[..., int], tmp_path: Path) -> None:
    """Where it trains in one process and not in the next, the limit is too little."""
    tries: list[int] = []

    def machine(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
        at_the_edge = memory_bytes == 11 * MIB
        tries.append(one.batch_size)
        if at_the_edge and one.batch_size == 1 and tries.count(1) > 1:
            return OUT_OF_MEMORY
        return linear(one, memory_bytes)

    line = [*LINE[:-1], "11MiB"]
    for _ in range(2):
        assert run(machine, "--repeats", "3", line=line) == 2
        (row,) = answers(tmp_path)
        assert (row["status"], row["size"]) == ("too_little_memory", None)


def test_a_maximum_below_what_is_known(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One more trained, too: it is not told as a limit, nor does it replace the largest size."""
    assert run(linear) == 0
    size = next(size for size in sorted(run.tries) if 1 < size < 90)
    capsys.readouterr()
    assert run(linear, "--maximum", str(size - 1)) == 0
    told = capsys.readouterr()
    assert f"batch {size - 1} trains, which is the maximum" in told.err
    assert "beyond maximum" in told.out
    (row,) = answers(tmp_path)
    assert (row["size"], row["status"]) == (90, "ok")


def test_a_maximum_beyond_what_was_known(run: Callable[..., int], tmp_path: Path) -> None:
    """What took too long before may train in more time, and further than before."""

    def slow(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
        late = {"status": "timed_out", "error": "too long"}
        return linear(one, memory_bytes) if one.batch_size <= 20 else late

    assert run(slow, "--time-limit", "60") == 0
    assert answers(tmp_path)[0]["size"] == 20
    assert run(linear, "--time-limit", "61", "--maximum", "50") == 0
    (row,) = answers(tmp_path)
    assert (row["size"], row["status"]) == (50, "maximum")


def test_sizes_at_a_maximum_are_not_compared(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(linear, "--maximum", "50", algo="bp,mem_dfa") == 0
    assert "1.00x" not in capsys.readouterr().out


def test_maximum(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(linear, "--maximum", "50") == 0
    (row,) = answers(tmp_path)
    assert (row["size"], row["status"], row["next_status"]) == (50, "maximum", None)
    told = capsys.readouterr()
    assert "batch 50 trains, which is the maximum" in told.err
    assert "beyond maximum" in told.out


def test_no_batch_is_larger_than_the_data(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which the prepared files tell the number."""
    folder = tmp_path / "data" / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    splits = '{"splits": [{"name": "test", "shardLengths": ["9"]}, '
    splits += '{"name": "train", "shardLengths": ["30", "12"]}]}'
    (folder / "dataset_info.json").write_text(splits)
    words = ["--dataset", "cifar10", "--data-dir", str(tmp_path / "data")]
    assert run(linear, *words) == 0
    assert (answers(tmp_path)[0]["size"], answers(tmp_path)[0]["status"]) == (42, "maximum")
    assert prepared.training_images("mnist", str(tmp_path)) is None


def test_depth(run: Callable[..., int], tmp_path: Path) -> None:
    """With a given batch the number of layers is searched."""

    def machine(one: Cell, memory_bytes: int | None) -> dict[str, Any]:
        taken = MIB * (5 + one.layers * one.batch_size)
        return ok(taken) if taken <= memory_bytes else OUT_OF_MEMORY

    line = ["--model", "conv20", "--batch-size", "4", "--memory", "100MiB"]
    assert run(machine, "--over", "layers", line=line) == 0
    (row,) = answers(tmp_path)
    found = (row["over"], row["size"], row["layers"], row["batch_size"])
    assert found == ("layers", 23, 23, 4)
    assert row["image_time_s"] == pytest.approx(0.5 / 4)


@pytest.mark.parametrize("name", [fit_rows.TRIES.name, fit_rows.ANSWERS.name])
@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", ",".join(fit_rows.TRIES.columns) + "\nbp,1\n"])
def test_foreign_file_is_left_as_it_is(
    name: str, text: str, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)
    assert run(linear) == 2
    assert run.tries == []
    assert re.search(f"{name} is (no table of|damaged: a row)", capsys.readouterr().err)
    assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--memory", "8"], "such as"),
        (["--memory", "lots"], "such as"),
        (["--memory", "1023 KiB"], "1 MiB or more"),
        (["--memory", "-1 GiB"], "'-1 GiB'"),
        (["--over", "width"], "batch, layers"),
        (["--batch-size", "3"], "--over batch"),
        (["--over", "layers"], "--layers"),
        (["--maximum", "0"], "from 1 to"),
        (["--repeats", "0"], "from 1 to"),
        (["--time-limit", "x"], "from 1 to"),
        (["--algo", "backprop"], "'backprop' is not an algorithm"),
        (["--every", "2"], "--every 2 is for checkpoint"),
        (["--memory", "99999 TiB"], "more than this machine has"),
        (["--out", "/dev/null/below"], "cannot be written"),
    ],
)
def test_bad_value_gets_one_sentence(
    words: list[str],
    part: str,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert fit.main([*LINE, "--algo", "bp", *out, *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert part in lines[0]
    assert not (tmp_path / "out").exists()


def test_memory_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert fit.main(["--algo", "bp", "--model", "mlp"]) == 2
    assert "--memory" in capsys.readouterr().err


def test_a_gpu_is_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a logical device; without a limit, and beside a CPU that is measured, it grows by need."""
    import tensorflow as tf
    from mem_dfa.experiments.measure import building

    limited, growing = [], []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["the GPU"])
    monkeypatch.setattr(
        tf.config, "set_logical_device_configuration", lambda *given: limited.append(given)
    )
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, grows: growing.append(gpu)
    )
    monkeypatch.setitem(child.TASKS, "fit", lambda cells, report: {})
    monkeypatch.setattr(building, "resolve_device", lambda device: "CPU:0")
    parser = arguments.Parser("run", "")
    arguments.add_cell_options(parser)
    (one,) = arguments.cells(parser.parse_args(["--algo", "bp", "--model", "mlp"]))
    for device, memory_bytes in (("GPU:0", 3 * MIB + 5), ("CPU:0", 3 * MIB), ("GPU:0", None)):
        cells = [dataclasses.replace(one, device=device)]
        assert child.run("fit", cells, print, memory_bytes)["status"] == "ok"
    ((gpu, (logical,)),) = limited
    assert (gpu, logical.memory_limit) == ("the GPU", 3)
    assert growing == ["the GPU"] * 2


OWN_TRAINING = """
import sys
import keras, tensorflow as tf
import mem_dfa
size = int(sys.argv[1])
trainer = mem_dfa.BP(mem_dfa.MODELS["conv20"](layers=2, seed=0))
trainer.compile(
    optimizer=keras.optimizers.SGD(0.01),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
images, labels = tf.zeros((size, 32, 32, 3)), tf.zeros(size, tf.int32)
for _ in range(3):
    trainer.train_on_batch(images, labels)
"""


@pytest.mark.slow
def test_the_answer_is_true(tmp_path: Path) -> None:
    """What it says trains and does not, a plain training loop with that limit finds as well."""
    line = ["--algo", "bp", "--model", "conv20", "--layers", "2", "--memory", "10MiB"]
    line += ["--maximum", "34", "--steps", "1", "--repeats", "1", "--dataset", "synthetic"]
    assert fit.main([*line, "--out", str(tmp_path)]) == 0
    (row,) = answers(tmp_path)
    assert row["status"] == "ok"
    assert row["next_status"] == "out_of_memory"
    assert 0 < row["process_peak_bytes"] <= 10 * MIB
    limits = {"TF_CPU_ALLOCATOR_USE_BFC": "1", "TF_CPU_BFC_MEM_LIMIT_IN_MB": "10"}
    root = str(Path(__file__).parents[2])
    trains = [
        subprocess.run(
            [sys.executable, "-c", OWN_TRAINING, str(size)],
            env={**os.environ, **limits, "PYTHONPATH": root},
            capture_output=True,
        ).returncode
        == 0
        for size in (row["size"], row["size"] + 1)
    ]
    assert trains == [True, False]

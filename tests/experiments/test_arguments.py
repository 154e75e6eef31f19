"""Options are understood, and bad ones get one sentence each before anything is imported."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from mem_dfa.experiments import run
from mem_dfa.experiments.cli import arguments, values

GOOD = {"--algo": "bp", "--model": "mlp", "--dataset": "synthetic"}
BAD = [
    ("--algo", "backprop", "bp, bp_fused, fa, usf"),
    ("--algo", "", "bp, bp_fused, fa, usf"),
    ("--algo", "bp,,dfa", "bp, bp_fused, fa, usf"),
    ("--model", "resnet", "conv20"),
    ("--execution", "fast", "graph, eager, xla"),
    ("--dataset", "imagenet", "auto, cifar10, cifar10_augmented, mnist, synthetic"),
    ("--device", "tpu", "auto, cpu, gpu"),
    ("--optimizer", "sgdd", "sgd, momentum"),
    ("--layers", "0", "from 1 to"),
    ("--layers", "-3", "from 1 to"),
    ("--layers", "5-2", "rising range"),
    ("--layers", "x", "from 1 to"),
    ("--layers", "1-999999999", "from 1 to"),
    ("--batch-size", "0", "from 1 to"),
    ("--batch-size", "-8", "from 1 to"),
    ("--batch-size", "many", "from 1 to"),
    ("--steps", "0", "from 1 to"),
    ("--epochs", "0", "from 1 to"),
    ("--learning-rate", "0", "above 0"),
    ("--learning-rate", "-1e-3", "above 0"),
    ("--learning-rate", "nan", "above 0"),
    ("--seed", "-1", "from 0 to"),
    ("--feedback-decay", "1", "from 0 to below 1"),
    ("--feedback-decay", "nan", "from 0 to below 1"),
    ("--feedback", "forgotten", "stored, regenerated, shared"),
    ("--feedback", "shared", "dfa, ssdfa, asrbp, mem_dfa"),  # GOOD asks for bp
    ("--probes", "-1", "from 0 to"),
    ("--probes", "0", "xconv"),  # GOOD asks for bp
    ("--predictor-layers", "-1", "from 0 to 3"),
    ("--predictor-layers", "4", "from 0 to 3"),
    ("--predictor-layers", "2", "dni, cdni and unlock"),  # GOOD asks for bp
    ("--classes", "0", "from 1 to"),
]


def command_line(out: Path, **changed: str) -> list[str]:
    """A good command line with some options changed, of which --out is one."""
    options = {**GOOD, "--out": str(out), **changed}
    return [word for option in options.items() for word in option]


@pytest.mark.parametrize(("option", "value", "allowed"), BAD)
def test_bad_value_gets_one_sentence(
    option: str, value: str, allowed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the option, the value and what is allowed; nothing is written."""
    out = tmp_path / "results"
    assert run.main(command_line(out, **{option: value})) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert option in lines[0]
    assert allowed in lines[0]
    assert value.split(",")[0] in lines[0]
    assert not out.exists()


def test_steps_and_epochs_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Epochs measure the usual steps anyway."""
    line = command_line(tmp_path, **{"--steps": "3", "--epochs": "1"})
    assert run.main(line) == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["/proc/nowhere", __file__, "/dev/null/below"])
def test_unwritable_out(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is found out before anything is measured."""
    assert run.main(command_line(Path(out))) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert repr(out) in error


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20", [20]), ("1-4", [1, 2, 3, 4]), ("5,10,20", [5, 10, 20]), ("3,1-3", [3, 1, 2])],
)
def test_layers(text: str, expected: list[int]) -> None:
    """A number, a range, a list, each depth once."""
    assert values.layers(text) == expected


def test_classes_are_those_of_the_data() -> None:
    """Only synthetic images may have as many as one likes."""
    parser = arguments.Parser("run", "")
    arguments.add_cell_options(parser)
    words = ["--algo", "bp", "--model", "mlp", "--dataset"]
    for more, expected in ((["synthetic"], 10), (["synthetic", "--classes", "7"], 7)):
        assert arguments.cells(parser.parse_args([*words, *more]))[0].classes == expected
    with pytest.raises(arguments.UsageError, match="mnist has 10 classes"):
        arguments.cells(parser.parse_args([*words, "mnist", "--classes", "7"]))


MODULES = ["run", "bench", "claims", "sweep", "gate", "fit", "figures", "reproduce", "plot"]


@pytest.mark.parametrize("module", MODULES)
def test_help_answers_at_once(module: str) -> None:
    """It takes no time because TensorFlow is not imported."""
    code = (
        f"import sys; from experiments import {module}\n"
        f"try: {module}.main(['--help'])\n"
        "except SystemExit: print('tensorflow' in sys.modules)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor, which a busy machine does not lengthen as it does the time on the clock.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    assert done.stdout.startswith(f"usage: python -m experiments.{module}")
    assert done.stdout.splitlines()[-1] == "False"


def test_bad_value_as_a_command(tmp_path: Path) -> None:
    """The same through the real command: exit status 2, one line, no traceback."""
    line = command_line(tmp_path / "out", **{"--layers": "-3"})
    command = [sys.executable, "-m", "experiments.run", *line]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "'-3'" in done.stderr

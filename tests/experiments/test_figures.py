"""Figures show the rows that were measured, and say what is missing."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure
from mem_dfa.experiments import figures
from mem_dfa.experiments.cells import catalogue
from mem_dfa.experiments.cells.cell import Cell, on_devices
from mem_dfa.experiments.paper import rules
from mem_dfa.experiments.paper.planned_figures import FIGURES
from mem_dfa.experiments.pictures import canvas, drawings, labels, memory_plots, tradeoff_plots
from mem_dfa.experiments.store import results, traces

from mem_dfa import registry
from tests.experiments.drawn import cells, lines, texts, wanted
from tests.experiments.made import MIB, row, table, turns
from tests.perception import distance
from tests.profiling.drawn import small

FAILED = {"status": "out_of_memory", "peak_bytes": None, "step_bytes": None, "step_time_s": None}
TURNS = [Cell(name, "conv20", 20) for name in ("bp", "remat_scope")]


def test_every_kind_has_a_drawing() -> None:
    assert set(drawings.DRAWINGS) == {figure.kind for figure in FIGURES}


def line_colours(figure: Figure) -> dict[str, str]:
    found = [line for axes in figure.axes for line in axes.lines]
    return {
        line.get_label(): colors.to_hex(line.get_markeredgecolor()).upper()
        for line in found
        if not line.get_label().startswith("_")
    }


def test_every_algorithm_has_a_look_of_its_own() -> None:
    assert set(canvas.LOOKS) == {*registry.ALGORITHMS, *catalogue.PEERS}
    looks = canvas.LOOKS.values()
    for one, other in itertools.combinations(looks, 2):
        assert distance(one.colour, other.colour) > 15 or one.marker != other.marker
    for family in rules.FAMILIES.values():
        colours = [canvas.LOOKS[name].colour for name in {name.split()[0] for name in family}]
        assert all(distance(*pair) > 15 for pair in itertools.combinations(colours, 2))
    assert all(distance(look.colour, "#FFFFFF") > 25 for look in looks)
    assert canvas.look_of("mine:Own") == registry.OWN_LOOK


@pytest.mark.parametrize("look", canvas.LOOKS.values())
def test_letters_are_dark_enough(look: registry.Look) -> None:
    """A contrast of 3 to white, as the accessibility guidelines ask of large letters and lines."""
    encoded = np.array(labels.readable(look.colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) > 3


def test_lines_are_the_rows(tmp_path: Path) -> None:
    """All that is held at the left and at the right the step, as asked for; failures are noted."""
    results.append(
        tmp_path,
        [
            *(row("bp", n) for n in (2, 1, 3)),
            row("mem_dfa", 1),
            row("mem_dfa", 2, **FAILED),
            row("bp", 3, batch_size=64),
        ],
    )
    asked = cells("sweep --algo bp,mem_dfa --model conv20 --layers 1-3")
    drawn = memory_plots.against_layers(str(tmp_path), "title", asked)
    every, step = drawn.figure.axes
    assert lines(every) == {"bp": [[1, 9], [2, 16], [3, 23]], "mem_dfa": [[1, 9]]}
    assert lines(step) == {"bp": [[1, 7], [2, 14], [3, 21]], "mem_dfa": [[1, 7]]}
    assert [(cell.algorithm, cell.layers) for cell in drawn.missing] == [("mem_dfa", 3)]
    said = texts(drawn.figure)
    assert "Failed and left out: mem_dfa 2 layers batch 128 (out of memory)." in said
    assert "Not measured: mem_dfa 3 layers batch 128." in said
    assert "requested memory (MiB)" in said
    assert "log scale" not in said
    assert "CPU:0, TensorFlow 2.21.0" in said


def test_batch_sizes_are_the_rows(tmp_path: Path) -> None:
    sizes = (8, 32, 16)
    results.append(
        tmp_path, [row("bp", 20, batch_size=n, step_requested_bytes=n * MIB) for n in sizes]
    )
    asked = cells("sweep --algo bp --model conv20 --layers 20 --batch-size 8,16,32")
    drawn = memory_plots.against_batch_size(str(tmp_path), "title", asked)
    assert lines(drawn.figure.axes[1]) == {"bp": [[8, 8], [16, 16], [32, 32]]}
    assert drawn.figure.axes[0].get_xscale() == "log"
    assert "images in a batch, log scale" in texts(drawn.figure)
    assert "requested memory (MiB), log scale" in texts(drawn.figure)
    assert not drawn.missing


def test_where_requests_are_not_known_of_all_what_was_handed_out_is_drawn(tmp_path: Path) -> None:
    results.append(tmp_path, [row("bp", 20, step_requested_bytes=None), row("dfa", 20)])
    asked = cells("sweep --algo bp,dfa --model conv20 --layers 20")
    for draw in (memory_plots.against_batch_size, memory_plots.against_layers):
        figure = draw(str(tmp_path), "title", asked).figure
        every, step = map(lines, figure.axes)
        assert {point[0][1] for point in every.values()} == {162}
        assert {point[0][1] for point in step.values()} == {160}
        assert "allocated memory (MiB)" in texts(figure)
        assert "requested" not in texts(figure)


def test_each_net_has_a_front_of_its_own(tmp_path: Path) -> None:
    """What another net takes is no better and no worse."""
    line = "sweep --algo bp,revnet --model resnet32,revnet38 --optimizer momentum"
    asked = [cell for cell in cells(line) if (cell.algorithm, cell.model) != ("revnet", "resnet32")]
    took = [(0.1, 30), (0.2, 90), (0.3, 40)]
    results.append(
        tmp_path,
        [
            row(
                *(cell.algorithm, registry.MODELS[cell.model].layers),
                model=cell.model,
                batch_size=cell.batch_size,
                optimizer="momentum",
                step_time_s=seconds,
                peak_bytes=mebibytes * MIB,
            )
            for cell, (seconds, mebibytes) in zip(asked, took, strict=True)
        ],
    )
    drawn = tradeoff_plots.pareto(str(tmp_path), "title", asked)
    assert not drawn.missing
    assert fronts(drawn.figure) == {"exact gradients": [[[100, 30]], [[200, 90], [300, 40]]]}
    assert drawn.finding == (
        "On revnet38 revnet takes 44 % of bp's peak memory at 1.50 times "
        "the time with exact gradients"
    )
    assert "Filled: a front of each net" in texts(drawn.figure)


def fronts(figure: Figure) -> dict[str, list[list[list[float]]]]:
    """The corners of each front, by the gradients that it is of."""
    found: dict[str, list[list[list[float]]]] = {}
    for line in figure.axes[0].lines:
        if line.get_drawstyle() == "steps-post":
            found.setdefault(line.get_label(), []).append(line.get_xydata()[:-1].tolist())
    return found


def test_a_front_is_what_nothing_with_such_gradients_beats(tmp_path: Path) -> None:
    """Fast and large, slow and small; what is slower and larger is hollow.

    Other gradients train to other accuracies, so that no front joins it with exact gradients.
    """
    results.append(
        tmp_path,
        [
            row("bp", 20, step_time_s=0.1, peak_bytes=90 * MIB),
            row("checkpoint", 20, step_time_s=0.3, peak_bytes=60 * MIB),
            row("microbatch", 20, step_time_s=0.4, peak_bytes=70 * MIB),
            row("fa", 20, step_time_s=0.2, peak_bytes=95 * MIB),
            row("dfa", 20, step_time_s=0.3, peak_bytes=99 * MIB),
            row("mem_dfa", 20, step_time_s=0.3, peak_bytes=30 * MIB),
            row("mem_dfa", 20, options="slices=8", step_time_s=0.4, peak_bytes=20 * MIB),
        ],
    )
    asked = [
        *cells("sweep --algo bp,checkpoint,microbatch,fa,dfa,mem_dfa --model conv20 --layers 20"),
        *cells("sweep --algo mem_dfa --model conv20 --layers 20 --slices 8"),
    ]
    drawn = tradeoff_plots.pareto(str(tmp_path), "title", asked)
    assert fronts(drawn.figure) == {
        "exact gradients": [[[100, 90], [300, 60]]],
        "other gradients": [[[200, 95], [300, 30], [400, 20]]],
    }
    found = lines(drawn.figure.axes[0])
    assert found["fa"] == [[200, 95]]
    assert found["mem_dfa slices 8"] == [[400, 20]]
    hollow = {
        line.get_label()
        for line in drawn.figure.axes[0].lines
        if line.get_markerfacecolor() == "white"
    }
    assert hollow == {"microbatch", "dfa"}
    assert drawn.finding == (
        "checkpoint takes 67 % of bp's peak memory at 3.00 times the time with exact gradients, "
        "mem_dfa slices 8 22 % at 4.00 times the time with other gradients"
    )
    assert "front of exact gradients" in texts(drawn.figure)
    assert "front of other gradients" in texts(drawn.figure)
    assert "other accuracies, which are not shown here" in texts(drawn.figure)


def test_a_legend_covers_no_line(tmp_path: Path) -> None:
    results.append(tmp_path, [row("bp", 20), row("mem_dfa", 20, peak_bytes=1 * MIB)])
    asked = cells("sweep --algo bp,mem_dfa --model conv20 --layers 20")
    figure = tradeoff_plots.pareto(str(tmp_path), "title", asked).figure
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)


def test_the_bench_is_drawn_from_its_own_table(tmp_path: Path) -> None:
    times = {"ratio_first_quartile": 0.9, "ratio_third_quartile": 22}
    table(
        tmp_path / "tables" / "bench.csv",
        turns("bp", **times, step_bytes=4 * MIB),
        turns("remat_scope", **times, ratio_to_bp=1.2, step_bytes=3 * MIB),
        turns("remat_scope", **times, ratio_to_bp=1.3, step_bytes=3 * MIB),
    )
    drawn = tradeoff_plots.taking_turns(str(tmp_path), "title", TURNS)
    found = lines(drawn.figure.axes[0])
    assert (found["bp"], found["remat_scope"]) == ([[1, 4]], [[1.3, 3]])
    assert drawn.figure.axes[0].get_xlim()[1] < 2, "one slow turn must not hide the rest"
    assert "Lines that reach the edge go on." in texts(drawn.figure)
    assert not drawn.missing


def test_a_bench_of_another_net_is_not_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--from", str(tmp_path), "--figure", "bench_conv20"]
    for changes, status in (({"model": "vgg16"}, 1), ({}, 0)):
        rows = [turns(cell.algorithm, **changes) for cell in wanted("bench_conv20")]
        table(tmp_path / "tables" / "bench.csv", *rows)
        assert figures.main(line) == status
        said = capsys.readouterr().err
        assert ("not drawn: bench_conv20: 5 of 5 cells are missing" in said) is bool(status)
        assert ("reproduce --figure bench_conv20" in said) is bool(status)


def test_a_damaged_table_of_the_bench_is_refused(tmp_path: Path) -> None:
    whole, path = turns("bp"), tmp_path / "tables" / "bench.csv"
    table(path, whole)
    assert tradeoff_plots.taking_turns(str(tmp_path), "title", TURNS).figure
    lacking = [{k: v for k, v in whole.items() if k != name} for name in ("rounds", "ratio_to_bp")]
    empty = [{**whole, name: None} for name in ("rounds", "ratio_to_bp")]
    for damaged in (*lacking, *empty, {**whole, "step_bytes": "many"}, {"model": "conv20"}):
        table(path, damaged)
        with pytest.raises(results.ResultsError, match=r"no table of bench"):
            tradeoff_plots.taking_turns(str(tmp_path), "title", TURNS)
    table(path, whole, whole)
    path.write_text(path.read_text().rsplit(",", 8)[0] + "\n")
    with pytest.raises(results.ResultsError, match="a row is not whole"):
        tradeoff_plots.taking_turns(str(tmp_path), "title", TURNS)


def test_depths_are_the_rows(tmp_path: Path) -> None:
    """A panel for each execution on the same axes; what ended before others do says why."""
    depths = [(name, layers) for name in ("bp", "mem_dfa") for layers in (1, 10)]
    changes = {"model": "depth_net", "batch_size": 32, "steps": 1}
    rows = [row(*depth, **changes, step_requested_bytes=depth[1] * MIB) for depth in depths]
    rows += [row("bp", 100, **changes, **FAILED), row("bp", 10, **changes, execution="xla")]
    results.append(tmp_path, rows)
    line = "sweep --algo bp,mem_dfa --model depth_net --layers 1,10,100 --steps 1"
    both = [*cells(f"{line} --execution xla".replace("1,10,100", "10")), *cells(line)]
    drawn = memory_plots.against_depth(str(tmp_path), "title", both)
    graph, xla = drawn.figure.axes
    assert [axes.get_title("left") for axes in (graph, xla)] == ["a  graph", "b  xla"]
    assert lines(graph) == {"bp": [[1, 1], [10, 10]], "mem_dfa": [[1, 1], [10, 10]]}
    assert lines(xla) == {"bp": [[10, 70]]}
    assert (graph.get_xscale(), graph.get_yscale()) == ("log", "log")
    assert (graph.get_xlim(), graph.get_ylim()) == (xla.get_xlim(), xla.get_ylim())
    assert "layers, log scale" in texts(drawn.figure)
    assert "bp (100: out of memory)" in texts(drawn.figure)
    missing = [(cell.algorithm, cell.layers, cell.execution) for cell in drawn.missing]
    assert missing == [("mem_dfa", 10, "xla"), ("mem_dfa", 100, "graph")]


@pytest.mark.parametrize(
    ("of_mem_dfa", "title"),
    [
        (7, "mem_dfa's step stays at 7.0 MiB from 1 to 10 layers while bp's grows to 70 MiB"),
        (80, "At 10 layers no step is below bp's 70 MiB"),
    ],
)
def test_a_title_says_the_finding_and_below_it_what_was_measured(
    of_mem_dfa: int, title: str, tmp_path: Path
) -> None:
    rows = [row("mem_dfa", n, step_requested_bytes=of_mem_dfa * MIB) for n in (1, 10)]
    results.append(tmp_path, [row("bp", 1), row("bp", 10), *rows])
    asked = cells("sweep --algo bp,mem_dfa --model conv20 --layers 1,10")
    drawn = memory_plots.against_layers(str(tmp_path), "conv20: layers", asked)
    assert drawn.finding == title
    assert drawn.figure.get_suptitle().replace("\n", "") == title
    assert "conv20: layers" in [text.get_text() for text in drawn.figure.texts]
    alone = memory_plots.against_layers(str(tmp_path), "conv20: layers", asked[:1])
    assert alone.figure.get_suptitle() == "conv20: layers", "there is nothing to compare"


def test_timelines_are_found_by_their_cells(tmp_path: Path) -> None:
    asked = cells("run --algo bp,mem_dfa,dfa --model conv20 --layers 20 --device cpu --trace")
    first, second, _ = (on_devices(cell)[0] for cell in asked)
    small().save(traces.file_of(first, str(tmp_path)))
    traces.file_of(second, str(tmp_path)).write_bytes(b"damaged")
    drawn = drawings.against_time(str(tmp_path), "title", asked)
    assert [axes.get_title("left") for axes in drawn.figure.axes] == ["bp"]
    assert [cell.algorithm for cell in drawn.missing] == ["mem_dfa", "dfa"]
    assert "is damaged or no timeline" in drawn.problem
    assert "Not recorded: mem_dfa; dfa." in texts(drawn.figure)


def test_an_algorithm_has_one_colour_in_all_figures(tmp_path: Path) -> None:
    names = [*registry.ALGORITHMS, *catalogue.PEERS]
    results.append(tmp_path, [row(name, 20) for name in names])
    algorithms = ",".join(list(registry.ALGORITHMS))
    asked = cells(f"sweep --algo {algorithms} --model conv20 --layers 20")
    for draw in (memory_plots.against_layers, tradeoff_plots.pareto):
        found = line_colours(draw(str(tmp_path), "title", asked).figure)
        for name in list(registry.ALGORITHMS):
            assert found[name] == canvas.LOOKS[name].colour


def test_names_of_points_do_not_cover_each_other() -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    crowd = [labels.Label(5 + 0.1 * n, 5, f"point number {n}", "#000000") for n in range(6)]
    boxes = [labels.letters_of(text) for text in labels.label_points(axes, crowd)]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_names_of_points_cross_no_upright_line() -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    pair = [
        labels.Label(5, 5, "a long name", "#000000"),
        labels.Label(6, 9, "b", "#000000"),
    ]
    heights = [(4.9, 5.1), (0, 10)]
    first, _ = labels.label_points(axes, pair, heights=heights)
    line, _ = axes.transData.transform((6, 5))
    box = labels.letters_of(first)
    assert not box.x0 < line < box.x1
    first, _ = labels.label_points(axes, pair)
    box = labels.letters_of(first)
    assert box.x0 < line < box.x1, "it would have stood there"


def test_what_is_missing_names_the_command_and_the_rest_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.append(tmp_path, [row("bp", 1)])
    assert figures.main(["--from", str(tmp_path), "--figure", "layers_conv20,depth"]) == 1
    printed = capsys.readouterr()
    stem = tmp_path / "figures" / "layers_conv20"
    assert f"figure: {stem}.png\n" in printed.out
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert not stem.with_suffix(".svg").exists(), "nobody asked for it"
    assert "not whole: layers_conv20: 139 of 140 cells are missing; measured by\n" in printed.err
    command = "    python -m experiments.reproduce --figure"
    assert f"{command} layers_conv20 --out {tmp_path}\n" in printed.err
    assert "not drawn: depth: 84 of 84 cells are missing; measured by\n" in printed.err
    assert f"{command} depth --out {tmp_path}\n" in printed.err
    assert not (tmp_path / "figures" / "depth.png").exists()


def test_a_figure_whose_cells_all_failed_is_not_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "pareto_vgg16"
    failed = {"model": "vgg16", "batch_size": 64, "repeats": None, **FAILED}
    results.append(
        tmp_path,
        [
            row(cell.algorithm, 15, **failed, dataset=cell.dataset, steps=cell.steps)
            for cell in wanted(name)
        ],
    )
    assert figures.main(["--from", str(tmp_path), "--figure", name]) == 1
    said = capsys.readouterr().err
    assert f"not drawn: {name}: every cell failed" in said
    assert "--retry" in said
    assert f"    python -m experiments.reproduce --figure {name} --out {tmp_path}\n" in said


def test_all_there_is_exit_status_0_and_equal_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = wanted("pareto_residual")
    changes = {"batch_size": 100, "optimizer": "momentum"}
    results.append(tmp_path, [row(c.algorithm, c.depth, model=c.model, **changes) for c in asked])
    written = []
    for out in (tmp_path / "one", tmp_path / "other"):
        line = ["--from", str(tmp_path), "--figure", "pareto_residual", "--svg", "--out"]
        assert figures.main([*line, str(out)]) == 0
        stem = out / "figures" / "pareto_residual"
        assert f"figure: {stem}.svg\n" in capsys.readouterr().out
        written.append([stem.with_suffix(kind).read_bytes() for kind in (".png", ".svg")])
    assert written[0] == written[1]
    assert written[0][1].startswith(b"<?xml")


def test_damaged_measurements_stop_only_what_needs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / results.FILE_NAME).write_text("nonsense\n")
    asked = cells("run --algo bp,mem_dfa --model vgg16 --trace")
    for cell in asked:
        small().save(traces.file_of(on_devices(cell)[0], str(tmp_path)))
    line = ["--from", str(tmp_path), "--figure", "timelines_vgg16,layers_vgg16"]
    assert figures.main(line) == 1
    printed = capsys.readouterr()
    assert "timelines_vgg16.png" in printed.out
    assert "not drawn: layers_vgg16" in printed.err
    assert "no table of measurements" in printed.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--figure", "mona_lisa"], "'mona_lisa' is not a figure; take timelines_conv20"),
        (["--from", "/nowhere/at/all"], "'/nowhere/at/all' is no folder"),
        (["--figure", "depth", "--from", "{}", "--out", "/dev/null/below"], "/dev/null/below"),
    ],
)
def test_bad_value_gets_one_sentence(
    words: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figures.main([word.format(tmp_path) for word in words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert part in said[0]

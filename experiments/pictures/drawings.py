"""How each kind of figure is drawn."""

from collections.abc import Callable, Sequence

from mem_dfa.experiments.cells.cell import Cell
from mem_dfa.experiments.paper.planned_figures import Kind
from mem_dfa.experiments.pictures import (
    accuracy_plots,
    depth_plot,
    memory_plots,
    search_plots,
    timeline_plots,
    tradeoff_plots,
)
from mem_dfa.experiments.pictures.canvas import Drawn

DRAWINGS: dict[Kind, Callable[[str, str, Sequence[Cell]], Drawn]] = {
    Kind.AGAINST_TIME: timeline_plots.against_time,
    Kind.AGAINST_LAYERS: memory_plots.against_layers,
    Kind.AGAINST_BATCH_SIZE: memory_plots.against_batch_size,
    Kind.AGAINST_DEPTH: depth_plot.against_depth,
    Kind.PARETO: tradeoff_plots.pareto,
    Kind.TAKING_TURNS: tradeoff_plots.taking_turns,
    Kind.ACCURACY: accuracy_plots.against_epoch_and_time,
    Kind.SEARCH: search_plots.against_learning_rate,
}
"""Each takes the folder of results, the title and the cells of the figure's commands."""

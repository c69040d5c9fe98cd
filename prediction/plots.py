"""Scores as pictures: by image type and by lead."""

from pathlib import Path

import numpy as np
import pandas as pd

from configs.page import LEADS
from utils.files import atomic_write
from utils.kaggle_metric import CAP, to_db

LOWEST_DB = -5.0  # what is worse is drawn there
COLOUR, LINE_COLOUR = "#4878a8", "#c22727"


def plot_by_type(results: pd.DataFrame, path: Path) -> None:
    """A box of the pages' scores for each image type, and the score that the competition's mean makes of
    them.

    results has a row a page: type, ratio (linear). Writes a PNG, atomically.
    """
    groups = {name: group["ratio"].to_numpy() for name, group in results.groupby("type")}
    plot_boxes(groups, path, "image type", mean=True)


def plot_by_lead(results: pd.DataFrame, path: Path) -> None:
    """A box of each lead's own signal to noise over all pages; results has a column of ratios a lead."""
    plot_boxes({lead: results[lead].to_numpy() for lead in LEADS}, path, "lead", mean=False)


def plot_boxes(groups: dict[str, np.ndarray], path: Path, what: str, mean: bool) -> None:
    """Boxes from quartile to quartile, whiskers from 5th to 95th percentile, of linear ratios in dB."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(1.5 + 0.75 * max(len(groups), 4), 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    decibels = [np.maximum(to_db(ratios), LOWEST_DB) for ratios in groups.values()]
    axes.boxplot(
        decibels,
        tick_labels=[f"{name}\n({len(values)})" for name, values in groups.items()],
        whis=(5, 95),
        patch_artist=True,
        boxprops={"facecolor": COLOUR, "alpha": 0.6},
        medianprops={"color": "black"},
        flierprops={"markersize": 3, "markeredgecolor": COLOUR},
    )
    if mean:
        scores = [to_db(ratios.mean()) for ratios in groups.values()]
        places = np.arange(1, len(groups) + 1)
        axes.plot(
            places, np.maximum(scores, LOWEST_DB), "D", color=LINE_COLOUR, label="score (mean of ratios)"
        )
        axes.axhline(
            to_db(CAP), color="grey", linewidth=0.8, linestyle="--", label="the competition's cap, 25.84 dB"
        )
        axes.legend(loc="lower left", fontsize=8)
    axes.set_xlabel(f"{what} (pages)")
    axes.set_ylabel("signal to noise, dB")
    axes.grid(axis="y", alpha=0.3)
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png")

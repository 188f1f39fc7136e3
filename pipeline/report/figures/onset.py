"""When each run began to overfit, as a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.report.figures.comparison import BLUE, ORANGE, VERMILLION, open_lines, order_variants
from pipeline.report.figures.layout import finish_figure


def plot_onset(
    onsets: pd.DataFrame, runs: pd.DataFrame, claimed: tuple[int, int] | None = None, *, caption: str = ""
) -> Figure:
    """Onset of overfitting of each run: a dot at its epoch, an open triangle at its last epoch where it was not seen.

    `onsets` is as `find_onsets` gives it, indexed by run_id: `epochs` watched and `onset` (epoch, from 1; nan where
    censored). Runs without a row there are not drawn and not counted. `claimed` are the first and last epoch of a
    claim's window, which is shaded.
    """
    drawn = runs[["run_id", "variant", "seed"]].join(onsets, on="run_id", how="inner")
    variants = order_variants(drawn)
    figure, axes = open_lines(variants, drawn, caption)
    drawn = drawn.sort_values("seed")
    heights = pd.Series(0.0, drawn.index)
    for place, variant in enumerate(variants):
        own = drawn["variant"] == variant
        heights[own] = place + (np.linspace(-0.3, 0.3, own.sum()) if own.sum() > 1 else 0)
    # A nan is not drawn, so each run leaves one mark: its onset, or the end of what was watched.
    axes.plot(drawn["onset"], heights, "o", color=VERMILLION, ms=5)
    axes.plot(drawn["epochs"].where(drawn["onset"].isna()), heights, ">", color=BLUE, mfc="none", ms=5)
    axes.set(xlabel="epoch", xlim=(0, drawn["epochs"].max() * 1.04))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    seen = Line2D([], [], color=VERMILLION, marker="o", ls="none", label="onset")
    censored = Line2D([], [], color=BLUE, marker=">", mfc="none", ls="none", label="not seen up to this epoch")
    known = drawn["onset"].notna()
    handles = [handle for handle, drawn_any in ((seen, known.any()), (censored, not known.all())) if drawn_any]
    if claimed:
        axes.axvspan(*claimed, color=ORANGE, alpha=0.2, lw=0)
        label = f"epochs {claimed[0]} to {claimed[1]}, as claimed"
        handles.append(Line2D([], [], color=ORANGE, alpha=0.4, lw=8, label=label))
    return finish_figure(figure, f"Onset of overfitting (honest test loss), n = {len(drawn)} runs", handles)

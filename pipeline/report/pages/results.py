"""What was found, as Markdown for docs/results.md and the README: the table of networks and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.table.entries import Entry
from pipeline.analysis.table.selection import MNIST_SHA256
from pipeline.report.pages.conclusion import itemise_verdicts, say_remarks, tabulate_verdicts
from pipeline.report.pages.table import render_markdown, write_caption
from pipeline.report.text.escape import escape_markdown, write_table
from pipeline.report.text.sentences import say_finding, say_verdict

COLUMNS = (
    ("test accuracy", "TEST_ACC", ".2f"),
    ("notebook", "published TEST_ACC", ".2f"),
    ("test loss", "TEST_LOSS", ".4f"),
    ("notebook", "published TEST_LOSS", ".4f"),
    ("honest gap", "honest gap", "+.4f"),
    ("parameters", "parameters", ","),
)
"""What each column is called, what it is in the conclusion table, and its format."""
FASTEST = "s/epoch"
LEGEND = (
    "Accuracy in %; losses and gap in nats. The test loss in this table includes the L2 penalty, as in the "
    "notebook; the claims' test loss does not. The honest gap is test minus train loss, with dropout off and without "
    "the penalty. `notebook` is what it published. `s/epoch` is the fastest epoch's, for one process; "
    "others took longer, where other work ran on the machine."
)

RECOMPUTE = """\
## Recompute it

The evidence is in the repository: params, metrics, predictions and hashes of every run. In an empty store:

```bash
python -m pipeline bundle import experiments/results/*.zip
python -m pipeline compare experiments/mnist14.toml --rule newest --published --truth
python -m pipeline compare experiments/twins.toml
python -m pipeline replay experiments/mnist14.toml
```

`replay` trains the first epoch of one of the runs again and compares every metric, bit for bit on the same type
of processor.
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the runs of an experiment took: `hours` by the clock of all epochs, `restarts` of killed runs, `machines`.

    `machines` has the number of runs by processor, `fastest` the seconds of each variant's fastest epoch.
    """

    experiment: str
    declared: int
    runs: int = 0
    hours: float = 0.0
    restarts: int = 0
    machines: Mapping[str, int] = field(default_factory=dict)
    fastest: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is published: the networks of the table, and the twins, None before a look at which claims are judged.

    `description` is that of the twins' experiment.
    """

    fourteen: Comparison
    cost: Cost
    twins: Comparison | None
    twins_cost: Cost
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where a page finds what is published beside it, as relative paths."""

    picture: str
    report: str
    results: str = ""


def write_summary(results: Results, links: Links) -> str:
    """The table, the link to its picture and the verdicts, for the README."""
    parts = [*_show_table(results, links), *_say_claims(results, links, lambda verdict: f"{verdict.statement}.")]
    parts += ["", f"[{links.results}]({links.results}) has every number and how to recompute all of it.", ""]
    return "\n".join(parts)


def write_results(results: Results, links: Links) -> str:
    """The whole page."""
    fourteen, twins = results.fourteen, results.twins
    parts = ["# Results", "", "Written by `python -m pipeline publish`; the end says how to recompute it.", ""]
    parts += ["## The notebook's networks", "", *_show_table(results, links), *_say_differences(fourteen), ""]
    parts += ["### In the notebook's own columns", "", render_markdown(fourteen.conclusion)]
    parts += ["`seconds per epoch` is the median epoch's, with whatever else ran on the machine.", ""]
    parts += ["## The claims", "", *_say_claims(results, links, say_verdict), ""]
    parts += [f"{escape_markdown(line)}\n" for line in (say_remarks(twins) if twins else ())]
    parts += ["## What it took", "", _say_cost(results.cost), _say_cost(results.twins_cost), ""]
    return "\n".join([*parts, RECOMPUTE])


def _show_table(results: Results, links: Links) -> list[str]:
    """The table, what its numbers are of, and its picture."""
    fourteen, cost = results.fourteen, results.cost
    legend = f"{_say_design(fourteen, cost)} {LEGEND}"
    return [*_tabulate(fourteen, cost.fastest), "", legend, "", _show(links.picture), ""]


def _say_claims(results: Results, links: Links, say: Callable[[Verdict], str]) -> list[str]:
    """What was found and each verdict, with what `say` says of it; before the first look how far the runs are."""
    twins, cost = results.twins, results.twins_cost
    if twins is None:
        return [f"The claims are not decided yet: {cost.runs} of {cost.declared} runs of their twins have finished."]
    design = f"{results.description}. " if results.description else ""
    report = f"[The report]({links.report}) is one page; open it in a browser."
    return [
        f"{escape_markdown(say_finding(twins.verdicts))} {report}",
        "",
        f"{escape_markdown(design + write_caption(twins.conclusion))} {_name_machines(cost)}.",
        "",
        tabulate_verdicts(twins.verdicts),
        *itemise_verdicts(twins.verdicts, say),
    ]


def _show(picture: str) -> str:
    return f"![Train and test loss of each network by epoch, with dropout off and without the penalty]({picture})"


def _tabulate(fourteen: Comparison, fastest: Mapping[str, float]) -> list[str]:
    """A line for each network, ours beside the notebook's."""
    rows = (
        [f"`{variant}`", *_format_row(entries), _format_number(fastest.get(variant), ".0f")]
        for variant, entries in fourteen.conclusion.rows.items()
    )
    return write_table(["variant", *(head for head, _, _ in COLUMNS), FASTEST], rows, numbers=len(COLUMNS) + 1)


def _format_row(entries: Mapping[str, Entry]) -> Iterator[str]:
    for _, column, form in COLUMNS:
        yield _format_number(entries[column].value, form, scale=100 if "ACC" in column else 1)


def _format_number(value: object, form: str, scale: int = 1) -> str:
    return f"{scale * value:{form}}" if isinstance(value, int | float) else "-"


def _say_design(fourteen: Comparison, cost: Cost) -> str:
    settings, seeds = fourteen.conclusion.settings, sorted(set(fourteen.runs["seed"]))
    runs = f"{cost.runs} of {cost.declared} {'networks' if len(seeds) == 1 else 'runs'}"
    seed = f"one seed ({seeds[0]}), so without a spread" if len(seeds) == 1 else f"the newest of {len(seeds)} seeds"
    images = f"{settings.subset:,} training images"
    if not settings.subset:
        whole = settings.data_sha256 == MNIST_SHA256
        images = "all 60,000 training images, on the 10,000 test images" if whole else "all training images"
    return f"{runs}, {seed}, after the last of {settings.epochs} epochs on {images}; {_name_machines(cost)}."


def _say_differences(fourteen: Comparison) -> list[str]:
    names, rows = ["TEST_ACC difference", "TEST_LOSS difference"], fourteen.conclusion.rows
    values = {variant: [entries[name].value for name in names] for variant, entries in rows.items()}
    known = pd.DataFrame.from_dict(values, orient="index", columns=names, dtype=float).dropna()
    if known.empty:
        return []
    points, losses = 100 * known[names[0]], known[names[1]]
    return [
        f"Against the notebook the test accuracy differs by {points.min():+.2f} (`{points.idxmin()}`) to "
        f"{points.max():+.2f} (`{points.idxmax()}`) points, by {points.mean():+.2f} in the mean, and the test loss by "
        f"{losses.min():+.4f} to {losses.max():+.4f} nats. Both are single trainings, with other versions and other "
        "random numbers: the difference of one network says nothing about which is better."
    ]


def _say_cost(cost: Cost) -> str:
    if not cost.runs:
        return f"- `{cost.experiment}`: none of {cost.declared} runs yet."
    return (
        f"- `{cost.experiment}`: {cost.runs} of {cost.declared} runs; their epochs took {cost.hours:.1f} hours by the "
        f"clock in all, on {_name_machines(cost)} with whatever else ran on it; {cost.restarts} restarts of runs that "
        "were killed on the way."
    )


def _name_machines(cost: Cost) -> str:
    return " and ".join(filter(None, cost.machines)) or "a machine that is not recorded"

"""A reproducibility checklist, answered from what the runs recorded: what is not recorded is not promised."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.table.selection import MNIST_SHA256
from pipeline.report.pages.provenance import Sources
from pipeline.report.text.sentences import LIMITS
from pipeline.study.facts import Provenance

YES, PARTLY, NO, UNKNOWN = "yes", "partly", "no", "not recorded"
FEWEST_FOR_SPREAD = 2
SETTINGS = (
    "Each run logs every hyperparameter and its network. How their values were found is not recorded, and nothing was "
    "tuned per variant."
)


def answer_checklist(comparison: Comparison, sources: Sources) -> list[tuple[str, str, str]]:
    """(question, yes, partly, no or not recorded, what that rests on), in the order of the usual checklists."""
    runs = sources.runs
    return [
        ("Is the code of every run known?", *_check_code(runs)),
        ("Is the data identified?", *_check_data(comparison)),
        ("Are the splits fixed, and is nothing chosen on test images?", *_check_split(comparison)),
        ("Are all hyperparameters given, and how they were chosen?", PARTLY, SETTINGS),
        ("Are the claims fixed before the runs?", *check_claims(comparison, sources)),
        ("Are the seeds given?", *_check_seeds(comparison)),
        ("Is the number of runs given, with those left out?", *_check_runs(comparison)),
        ("Are there error bars, and what are they?", *_check_intervals(comparison)),
        ("Are the software versions given?", *_check_versions(runs)),
        ("Is the compute given?", *_check_compute(runs)),
        ("Can a number be made again to the bit?", *_check_bits(comparison)),
        ("Are the limits said?", YES, f"{LIMITS} The data set is one; a verdict is on it and these networks alone."),
    ]


def _check_code(runs: Sequence[Provenance]) -> tuple[str, str]:
    commits = sorted({run.commit for run in runs if run.commit})
    known, dirty = sum(bool(run.commit) for run in runs), sum(run.dirty is True for run in runs)
    if not known:
        return NO, "No run recorded a git commit."
    said = f"{known} of {len(runs)} runs recorded their git commit ({len(commits)} in all), {dirty} of them of a "
    said += "checkout with changes, whose diff is in the run's file git.diff. " if dirty else "changed checkout. "
    places = ", ".join(sorted({run.repository for run in runs if run.repository}))
    said += f"Recorded as its place: {places}." if places else "Where others can get the code is not recorded."
    return (YES if known == len(runs) and not dirty else PARTLY), said


def _check_data(comparison: Comparison) -> tuple[str, str]:
    settings = comparison.conclusion.settings
    if settings.data_sha256 == MNIST_SHA256:
        return YES, f"MNIST, all of it; its contents have the sha256 {settings.data_sha256}."
    part = f"A stratified subset of {settings.subset:,} training images. " if settings.subset else ""
    return YES, f"{part}What was trained and tested on has the sha256 {settings.data_sha256}."


def _check_split(comparison: Comparison) -> tuple[str, str]:
    if comparison.conclusion.rule == "best":
        chosen = "its numbers were chosen on the test images"
        return NO, f"The table's rule takes the best run by test accuracy, so {chosen}."
    return YES, (
        "The data's own training and test images; there is no validation part. The test images are evaluated after "
        "every epoch, and nothing is selected on them: the table shows the last epoch, and each claim uses the epochs "
        "that it declares."
    )


def check_claims(comparison: Comparison, sources: Sources) -> tuple[str, str]:
    """Whether the claims were fixed before the runs, and what shows it."""
    if not comparison.question.claims:
        return NO, "No claim was declared, so this report describes and judges nothing."
    if not sources.frozen_at:
        return UNKNOWN, "The claims were never frozen."
    frozen = pd.to_datetime(sources.frozen_at, errors="coerce", utc=True)
    when = "an unknown time" if pd.isna(frozen) else _say_time(frozen)
    first = comparison.runs["started"].min()
    times = f"The claims were frozen at {when}; the first run compared began at {_say_time(first)}"
    if comparison.question.standing == "late":
        return NO, f"{times}, so nothing shows that they were not written to fit it."
    changed = [verdict.name for verdict in comparison.verdicts if verdict.verdict == "DEVIATED"]
    if changed:
        return PARTLY, f"{times}. Changed since: {', '.join(changed)}."
    return YES, f"{times}. None has changed since."


def _check_seeds(comparison: Comparison) -> tuple[str, str]:
    seeds = sorted({int(seed) for seed in comparison.runs["seed"]})
    return YES, f"{len(seeds)} in all: {', '.join(map(str, seeds))}. Start weights, order and dropout follow from them."


def _check_runs(comparison: Comparison) -> tuple[str, str]:
    counts, left_out = comparison.runs["variant"].value_counts(), comparison.conclusion.left_out
    said = f"{len(comparison.runs)} runs of {len(counts)} variants, {counts.min()} to {counts.max()} each"
    missing = f"; no run of {', '.join(comparison.missing)}" if comparison.missing else ""
    return YES, f"{said}{missing}; {len(left_out)} runs left out, each with its reason."


def _check_intervals(comparison: Comparison) -> tuple[str, str]:
    said = []
    fewest = comparison.runs["variant"].value_counts().min()
    if comparison.conclusion.rule == "all-seeds" and fewest >= FEWEST_FOR_SPREAD:
        said.append("The table: the mean over seeds with its 95 % t-interval.")
    if comparison.verdicts:
        said.append(
            "A claim: a 95 % t-interval over seeds, or over seeds and test images where declared; the verdict is "
            "judged at alpha after Holm's correction within its family and its look's share, which stands beside it."
        )
    if fewest >= FEWEST_FOR_SPREAD:
        said.append("Curves: the mean, with a band from the lowest to the highest seed, which is not an interval.")
    return (YES, " ".join(said)) if said else (NO, "One run a variant carries no interval.")


def _check_versions(runs: Sequence[Provenance]) -> tuple[str, str]:
    known = sum(bool(run.environment) for run in runs)
    if not known:
        return UNKNOWN, "The runs' environment.json is missing or out of reach."
    word = YES if known == len(runs) else PARTLY
    return word, f"{known} of {len(runs)} runs recorded Python, the system and every installed package."


def _check_compute(runs: Sequence[Provenance]) -> tuple[str, str]:
    timed = [run.seconds for run in runs if run.seconds is not None]
    known = sum(bool(run.environment) for run in runs)
    resumed = sum(run.attempts > 1 for run in runs)
    pauses = f" ({resumed} were resumed: their pauses count)" if resumed else ""
    said = f"{sum(timed) / 3600:.2f} hours from start to end over {len(timed)} runs{pauses}. "
    machine = "Processor, cores, threads and memory are below." if known else "The machine was not recorded."
    return (PARTLY if known and timed else NO), f"{said}{machine} Energy, and runs that were deleted, are not recorded."


def _check_bits(comparison: Comparison) -> tuple[str, str]:
    hashed = int((comparison.runs["weights_sha256"] != "").sum())
    return (PARTLY if hashed else NO), (
        f"{hashed} of {len(comparison.runs)} runs logged the sha256 of their weights to hold another run against. The "
        "same bits need the same versions, type of processor and threads; this report has not trained anything again."
    )


def _say_time(moment: pd.Timestamp) -> str:
    """To the second, UTC."""
    return f"{moment.tz_convert('UTC'):%Y-%m-%d %H:%M:%S} UTC"

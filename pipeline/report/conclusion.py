"""The conclusion in words: verdicts first, then the table and what was left out; as text and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.onset import estimate_onset_share
from pipeline.analysis.sentences import format_effect, format_p, say_unit
from pipeline.analysis.verdict import Verdict
from pipeline.report.comparison import CLAIMED_ONSET
from pipeline.report.escape import escape_markdown
from pipeline.report.table import render_markdown, render_text

NOTE_LIMIT = 4900  # MLflow keeps 5,000 characters of an experiment's tag
FEW = 3  # run ids named in a line; the rest are in the artifacts
COLUMNS = ("claim", "verdict", "effect", "interval", "adjusted p", "seeds", "twins that agree", "seeds needed")


def say_conclusion(comparison: Comparison) -> str:
    """For the terminal: each claim with its verdict, sentence and runs, the onsets, the table, the runs left out."""
    parts = [
        f"{verdict.verdict}: {verdict.statement}\n  {verdict.sentence}\n  {_say_evidence(verdict)}\n"
        for verdict in comparison.verdicts
    ]
    parts += [f"{line}\n" for line in _say_onsets(comparison)]
    parts.append(render_text(comparison.conclusion))
    conclusion = comparison.conclusion
    if conclusion.missing:
        parts.append(f"No run: {', '.join(conclusion.missing)}\n")
    reasons = conclusion.left_out.groupby("reason", sort=False)["run_id"].apply(list)
    for reason, run_ids in reasons.items():
        parts.append(f"Left out, {reason}: {len(run_ids)} ({_name_few(run_ids)})\n")
    return "\n".join(parts)


def write_conclusion(comparison: Comparison, title: str) -> str:
    """Markdown: the verdicts as a table and in sentences, the onsets, the conclusion table, then every claim's runs."""
    parts, verdicts = [f"# {title}\n"], comparison.verdicts
    if verdicts:
        parts.append(_tabulate_verdicts(verdicts))
        parts += [
            f"{_name_evidence(verdict)}: {_name_few(verdict.run_ids)}\n" for verdict in verdicts if verdict.run_ids
        ]
        parts += [f"- **{escape_markdown(v.name)}: {v.verdict}.** {escape_markdown(v.sentence)}" for v in verdicts]
        parts.append("")
    parts += [f"{escape_markdown(line)}\n" for line in _say_onsets(comparison)]
    if comparison.pairs is not None:
        parts.append(_say_exploration(comparison))
    parts.append(render_markdown(comparison.conclusion))
    # Last, as a note is cut at its end: the lists are long.
    parts += [
        f"{_name_evidence(verdict)}, all: {', '.join(verdict.run_ids)}.\n"
        for verdict in verdicts
        if len(verdict.run_ids) > FEW
    ]
    return "\n".join(parts)


def describe_onsets(comparison: Comparison) -> pd.DataFrame:
    """When each run began to overfit: run_id, variant, seed, onset (epoch, nan where censored), censored, epochs.

    `epochs` is how many were watched; a run without a whole curve has no row.
    """
    runs = comparison.runs[["run_id", "variant", "seed"]].join(comparison.onsets, on="run_id", how="inner")
    onsets = runs.assign(censored=runs["onset"].isna()).reset_index(drop=True)
    return onsets[["run_id", "variant", "seed", "onset", "censored", "epochs"]]


def shorten_note(text: str, limit: int = NOTE_LIMIT) -> str:
    """`text`, cut at a line's end where MLflow would not keep it all, with a word on where the rest is."""
    if len(text) <= limit:
        return text
    ending = "\n\n(cut; the whole is in the artifact `conclusion.md` of the newest compare run)"
    return text[: limit - len(ending)].rpartition("\n")[0] + ending


def describe_verdict(verdict: Verdict) -> dict[str, object]:
    """A verdict as plain values that JSON can hold, None for a number that is not there; parts by name."""
    fields = {name: value for name, value in vars(verdict).items() if name not in ("claim", "interval")}
    low, high = verdict.interval
    share, weakest, strongest = verdict.reduction
    described = {
        "claim": verdict.name,
        "statement": verdict.statement,
        **fields,
        "low": low,
        "high": high,
        "per_seed": [{"seed": seed, "effect": effect} for seed, effect in verdict.per_seed],
        "reduction": {"share": share, "low": weakest, "high": strongest},
        "onset_share": asdict(verdict.onset_share) if verdict.onset_share else None,
        "parts": [part.name for part in verdict.parts],
    }
    return {name: _make_plain(value) for name, value in described.items()}


def _make_plain(value: object) -> object:
    """The value with Python's own types and no number that JSON lacks."""
    if isinstance(value, dict):
        return {name: _make_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_make_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name_few(run_ids: Sequence[str]) -> str:
    """The first ids, and whether there are more."""
    return ", ".join(run_ids[:FEW]) + (" ..." if len(run_ids) > FEW else "")


def _name_evidence(verdict: Verdict) -> str:
    """What a list of a claim's runs is of, in Markdown."""
    return f"Runs behind {escape_markdown(verdict.name)} ({len(verdict.run_ids)})"


def _say_evidence(verdict: Verdict) -> str:
    """Numbers behind a verdict in one line: seeds, twins, seeds needed, the first runs."""
    needed = "-" if verdict.seeds_needed is None else str(verdict.seeds_needed)
    counts = f"n {verdict.n_seeds} seeds, {verdict.twins_agree} of {verdict.twins} twins, seeds needed {needed}"
    runs = f"{_name_few(verdict.run_ids)} ({len(verdict.run_ids)}, all in verdicts.json)" if verdict.run_ids else "none"
    return f"{counts}, runs: {runs}"


def _say_onsets(comparison: Comparison) -> list[str]:
    """A line on the share of runs that begin to overfit in the epochs of the notebook's claim; none if not watched."""
    first, last = CLAIMED_ONSET
    if comparison.conclusion.settings.epochs < last:  # saves reading the history
        return []
    onsets = comparison.onsets[comparison.onsets["epochs"] >= last]
    regularised = comparison.runs.set_index("run_id")["regularised"].reindex(onsets.index).to_numpy(dtype=bool)
    groups = {"plain": onsets[~regularised], "regularised": onsets[regularised]}
    said = []
    for name, own in groups.items():
        if len(own):
            share = estimate_onset_share(own, first, last)
            level = f"{100 * share.share:.1f} %, 95 % CI {100 * share.low:.1f} to {100 * share.high:.1f}"
            said.append(f"{name} {level}, n = {share.n} runs, {share.censored} censored")
    line = f"Onset of overfitting in epochs {first} to {last} (Kaplan-Meier share of runs): {'; '.join(said)}."
    return [line] if said else []


def _tabulate_verdicts(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a pipe table."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    for verdict in verdicts:
        cells = (verdict.name, f"**{verdict.verdict}**", *_format_numbers(verdict))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _format_numbers(verdict: Verdict) -> tuple[str, ...]:
    """Effect, interval, p, n, twins and seeds needed, `-` where a claim has none."""
    needed = "-" if verdict.seeds_needed is None else str(verdict.seeds_needed)
    counts = (str(verdict.n_seeds), f"{verdict.twins_agree} of {verdict.twins}", needed)
    if verdict.parts or not verdict.n_seeds:
        return ("-", "-", "-", *counts)
    low, high = (format_effect(bound, verdict) for bound in verdict.interval)
    effect = f"{format_effect(verdict.effect, verdict)} {say_unit(verdict)}"
    p = "-" if verdict.p_adjusted != verdict.p_adjusted else format_p(verdict.p_adjusted).removeprefix("= ")
    return (effect, f"{low} to {high}", p, *counts)


def _say_exploration(comparison: Comparison) -> str:
    """How many pairs of variants can be told apart, as exploration."""
    pairs = comparison.pairs
    assert pairs is not None
    apart = int((pairs["p_adjusted"] <= 0.05).sum())
    return (
        f"Exploration, no claim: {apart} of {len(pairs)} pairs of variants differ in test error at an adjusted p of "
        f"0.05 over {pairs['n_seeds'].iloc[0]} seeds (all in `pairs.csv`).\n"
    )

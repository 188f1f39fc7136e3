"""The conclusion in words: verdicts first, then the table and what was left out; as text and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.onset import find_hiding_noise
from pipeline.analysis.table.selection import MNIST_SHA256
from pipeline.plain import count
from pipeline.report.pages.table import group_left_out, render_markdown, render_text
from pipeline.report.text.escape import escape_markdown, write_table
from pipeline.report.text.lessons import say_single_seeds, say_specifications
from pipeline.report.text.numbers import (
    count_verdicts,
    format_effect,
    format_p,
    format_size,
    is_measured,
    join_words,
    say_bounds,
    say_effect,
    say_unit,
)
from pipeline.report.text.sentences import LIMITS, PROBE, say_finding, say_verdict
from pipeline.report.text.twins import say_twins
from pipeline.study.claims import CONFIRMING_EPOCHS
from pipeline.study.variants import matched_twins

NOTE_LIMIT = 4900  # MLflow keeps 5,000 characters of an experiment's tag
FEW = 3  # run ids named in a line; the rest are in the artifacts
COLUMNS = ("claim", "verdict", "effect", "95 % CI", "judged at", "adjusted p", "seeds", "by twin")


def say_conclusion(comparison: Comparison) -> str:
    """For the terminal: each claim with its verdict, sentence and runs, the onsets, the table, the runs left out."""
    conclusion = comparison.conclusion
    parts = [
        f"{verdict.word}: {verdict.statement}\n  {say_verdict(verdict)}\n  {_say_evidence(verdict)}\n"
        for verdict in comparison.verdicts
    ]
    parts += [f"{line}\n" for line in say_remarks(comparison)]
    parts.append(render_text(conclusion))
    if conclusion.missing:
        parts.append(f"No run: {', '.join(conclusion.missing)}\n")
    for reason, run_ids in group_left_out(conclusion).items():
        parts.append(f"Left out, {reason}: {len(run_ids)} ({_name_few(run_ids)})\n")
    return "\n".join(parts)


def write_conclusion(comparison: Comparison, name: str, description: str = "") -> str:
    """Markdown of an experiment: what was found, the verdicts as a table and in sentences, the table, all runs."""
    verdicts = comparison.verdicts
    counts = ", ".join(f"{number} {word.lower()}" for word, _, number in count_verdicts(verdicts))
    title = f"{name}: {counts}" if counts else f"Conclusion of {name}"
    parts = [f"# {escape_markdown(title)}\n", *([f"{escape_markdown(description)}\n"] if description else [])]
    if verdicts:
        parts += [f"{escape_markdown(say_finding(verdicts))}\n", tabulate_verdicts(verdicts)]
        parts += [f"{_name_evidence(each)}: {_name_few(each.run_ids)}\n" for each in verdicts if each.run_ids]
        parts += [*itemise_verdicts(verdicts, say_verdict), ""]
    parts += [f"{escape_markdown(line)}\n" for line in say_remarks(comparison)]
    if comparison.pairs is not None:
        parts.append(_say_exploration(comparison.pairs))
    parts.append(render_markdown(comparison.conclusion))
    # Last, as a note is cut at its end: the lists are long.
    long = [verdict for verdict in verdicts if len(verdict.run_ids) > FEW]
    parts += [f"{_name_evidence(verdict)}, all: {', '.join(verdict.run_ids)}.\n" for verdict in long]
    return "\n".join(parts)


def describe_onsets(comparison: Comparison) -> pd.DataFrame:
    """When each run began to overfit: run_id, variant, seed, onset (epoch, nan where censored), censored, epochs."""
    onsets = comparison.onsets.assign(censored=comparison.onsets["onset"].isna())
    return onsets[["run_id", "variant", "seed", "onset", "censored", "epochs"]]


def shorten_note(text: str) -> str:
    """`text`, cut at a line's end where MLflow would not keep it all, with a word on where the rest is."""
    if len(text) <= NOTE_LIMIT:
        return text
    ending = "\n\n(cut; the whole is in the artifact `conclusion.md` of the newest compare run)"
    return text[: NOTE_LIMIT - len(ending)].rpartition("\n")[0] + ending


def describe_verdict(verdict: Verdict) -> dict[str, object]:
    """A verdict as plain values that JSON can hold, None for a number that is not there; parts by name."""
    aside = ("claim", "interval", "interval_95", "look", "across", "by_twin", "without")
    fields = {name: value for name, value in vars(verdict).items() if name not in aside}
    (low, high), (low_95, high_95) = verdict.interval, verdict.interval_95
    described = {
        "claim": verdict.name,
        "statement": verdict.statement,
        "sentence": say_verdict(verdict),
        **fields,
        "low": low,
        "high": high,
        "low_95": low_95,
        "high_95": high_95,
        "look": asdict(verdict.look),
        "by_twin": [asdict(twin) for twin in verdict.by_twin],
        "across": asdict(verdict.across) if verdict.across else None,
        "without": describe_verdict(verdict.without) if verdict.without else None,
        "per_seed": [{"seed": seed, "effect": effect} for seed, effect in verdict.per_seed],
        "reduction": dict(zip(("share", "low", "high"), verdict.reduction, strict=True)),
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
    return ", ".join(run_ids[:FEW]) + (" ..." if len(run_ids) > FEW else "")


def _name_evidence(verdict: Verdict) -> str:
    return f"Runs behind {escape_markdown(verdict.name)} ({len(verdict.run_ids)})"


def _say_evidence(verdict: Verdict) -> str:
    needed = f", seeds needed about {verdict.seeds_needed}" if verdict.seeds_needed is not None else ""
    counts = f"n {count(verdict.n_seeds, 'seed')}, {count(verdict.twins, 'twin')}{needed}"
    runs = f"{_name_few(verdict.run_ids)} ({len(verdict.run_ids)}, all in verdicts.json)" if verdict.run_ids else "none"
    return f"{counts}, runs: {runs}"


def say_remarks(comparison: Comparison) -> list[str]:
    """What is said once, after all claims: limits, robustness, single seeds, onsets."""
    remarks = (_say_limits, say_specifications, say_single_seeds, _say_onsets)
    return [line for remark in remarks for line in remark(comparison)]


def _say_limits(comparison: Comparison) -> list[str]:
    """Once for all claims: on what data and images they rest, and what their intervals do not cover."""
    verdicts = comparison.verdicts
    if not any(verdict.n_seeds for verdict in verdicts):
        return []
    settings = comparison.conclusion.settings
    unnamed = "MNIST" if settings.data_sha256 == MNIST_SHA256 else f"the data with sha256 {settings.data_sha256[:12]}"
    name = next(filter(None, comparison.runs.get("data_name", [])), unnamed)
    images = max(verdict.images for verdict in verdicts)
    part = f"{settings.subset:,} training images of it" if settings.subset else "all training images"
    lines = [f"On {name}, {part}{f' and {images:,} test images' if images else ''}. {LIMITS}"]
    if any(v.claim.estimand == "gap" and v.claim.at != "last epoch" for v in verdicts):
        lines.append(PROBE + _say_last_epoch(comparison))
    lines += _say_treatment(comparison)
    return lines


def _say_last_epoch(comparison: Comparison) -> str:
    """What the claims on a gap come to in the last epoch, on all training images; the end of a sentence."""
    said = [
        f"{each.verdict.name} {format_effect(choice.effect, each.verdict)} {say_unit(each.verdict)} ({choice.outcome})"
        for each in comparison.specifications
        for choice in each.choices
        if choice.label == "last epoch" and each.verdict.claim.estimand == "gap"
    ]
    return f": {' and '.join(said)}." if said else "."


def _say_treatment(comparison: Comparison) -> list[str]:
    """What the regularised networks of all twins have and the plain ones have not, which no claim can tell apart."""
    twins = matched_twins(comparison.question.table, set(comparison.runs["variant"]))
    kinds = {"dropout": ("dropout",), "l2": ("L2", "he_normal"), "batch_norm": ("batch normalisation",)}
    differing = (words for name, words in kinds.items() if all(getattr(a, name) != getattr(b, name) for a, b in twins))
    own = [word for words in differing for word in words]
    if not twins or len(own) < 2:
        return []
    has = f"only the regularised one has {join_words(own)}"
    return [f"In each pair of twins {has}; the claims cannot tell which of these matters."]


def _say_onsets(comparison: Comparison) -> list[str]:
    """A line on the runs that begin to overfit in the epochs of a claim; none if not claimed or watched.

    Of the seeds that the claim is judged on; where noise hides the rise, that it does.
    """
    if not comparison.claimed_onset:
        return []
    first, last = comparison.claimed_onset
    if comparison.conclusion.settings.epochs < last + CONFIRMING_EPOCHS:
        return []
    seeds = next(verdict.look.seeds for verdict in comparison.verdicts if verdict.claim.epochs)
    rows, rise = comparison.onsets, max(claim.smallest_rise for claim in comparison.question.claims)
    said = []
    for regularised, own in (rows[rows["seed"].isin(seeds)] if seeds else rows).groupby("regularised"):
        name, noise = "regularised" if regularised else "plain", find_hiding_noise(own, rise)
        inside, none = own["onset"].between(first, last).sum(), own["onset"].isna().sum()
        counts = f"{inside} of {len(own)}, {none} without an onset"
        hidden = f"cannot be seen, as the noise of the median run is {noise:.2g} nats an epoch"
        said.append(f"{name} {hidden if noise else counts}")
    return [f"Runs that begin to overfit in epochs {first} to {last}: {'; '.join(said)}."] if said else []


def tabulate_verdicts(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a pipe table."""
    rows = [(verdict.name, f"**{verdict.word}**", *_format_numbers(verdict)) for verdict in verdicts]
    return "\n".join(write_table(COLUMNS, rows)) + "\n"


def itemise_verdicts(verdicts: Sequence[Verdict], say: Callable[[Verdict], str]) -> list[str]:
    """The verdicts as a list in Markdown, each with what `say` says of it."""
    return [f"- **{escape_markdown(each.name)}: {each.word}.** {escape_markdown(say(each))}" for each in verdicts]


def _format_numbers(verdict: Verdict) -> tuple[str, ...]:
    counts = (str(verdict.n_seeds or "-"), say_twins(verdict) or "-")
    if not is_measured(verdict):
        return ("-", "-", "-", "-", *counts)
    bounds = say_bounds(verdict.interval_95, verdict)
    level = "-" if verdict.outcome == "UNTESTABLE" else f"alpha {1 - verdict.level:.3g}"
    p = "-" if math.isnan(verdict.p_adjusted) else format_p(verdict.p_adjusted).removeprefix("= ")
    if verdict.null and p != "-":
        p += f" against {format_size(verdict.null, verdict)}"
    return (say_effect(verdict), bounds, level, p, *counts)


def _say_exploration(pairs: pd.DataFrame) -> str:
    apart = int((pairs["p_adjusted"] <= 0.05).sum())
    return (
        f"Exploration, no claim: {apart} of {len(pairs)} pairs of variants differ in test error at an adjusted p of "
        f"0.05 over {pairs['n_seeds'].iloc[0]} seeds (all in `pairs.csv`).\n"
    )

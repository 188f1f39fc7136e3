"""The conclusion in words: verdicts first, then the table and what was left out; as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.sentences import format_effect, format_p
from pipeline.analysis.verdict import Verdict
from pipeline.report.escape import escape_markdown
from pipeline.report.table import render_markdown, render_text

NOTE_LIMIT = 4900  # MLflow keeps 5,000 characters of an experiment's tag
COLUMNS = ("claim", "verdict", "effect", "interval", "adjusted p", "seeds", "twins that agree", "seeds needed")


def say_conclusion(comparison: Comparison) -> str:
    """For the terminal: each claim with its verdict and sentence, the table, the runs left out by reason."""
    parts = [f"{verdict.verdict}: {verdict.statement}\n  {verdict.sentence}\n" for verdict in comparison.verdicts]
    parts.append(render_text(comparison.conclusion))
    conclusion = comparison.conclusion
    if conclusion.missing:
        parts.append(f"No run: {', '.join(conclusion.missing)}\n")
    reasons = conclusion.left_out.groupby("reason", sort=False)["run_id"].apply(list)
    for reason, run_ids in reasons.items():
        named = ", ".join(run_ids[:3]) + (" ..." if len(run_ids) > 3 else "")
        parts.append(f"Left out, {reason}: {len(run_ids)} ({named})\n")
    return "\n".join(parts)


def write_conclusion(comparison: Comparison, title: str) -> str:
    """Markdown: the verdicts as a table and in sentences, then the conclusion table with its evidence."""
    parts = [f"# {title}\n"]
    if comparison.verdicts:
        parts.append(_tabulate_verdicts(comparison.verdicts))
        parts += [
            f"- **{escape_markdown(v.name)}: {v.verdict}.** {escape_markdown(v.sentence)}" for v in comparison.verdicts
        ]
        parts.append("")
    if comparison.pairs is not None:
        parts.append(_say_exploration(comparison))
    parts.append(render_markdown(comparison.conclusion))
    return "\n".join(parts)


def shorten_note(text: str, limit: int = NOTE_LIMIT) -> str:
    """`text`, cut at a line's end where MLflow would not keep it all, with a word on where the rest is."""
    if len(text) <= limit:
        return text
    ending = "\n\n(cut; the whole is in the artifact `conclusion.md` of the newest compare run)"
    return text[: limit - len(ending)].rpartition("\n")[0] + ending


def describe_verdict(verdict: Verdict) -> dict[str, object]:
    """A verdict as plain values, with nothing left to compute: for JSON, and for a table in MLflow."""
    single = not verdict.parts
    return {
        "claim": verdict.name,
        "statement": verdict.statement,
        "verdict": verdict.verdict,
        "effect": verdict.effect if single else None,
        "unit": verdict.unit,
        "low": verdict.interval[0] if single else None,
        "high": verdict.interval[1] if single else None,
        "p": verdict.p,
        "p_adjusted": verdict.p_adjusted,
        "p_sign_flip": verdict.p_sign_flip,
        "n_seeds": verdict.n_seeds,
        "twins_agree": verdict.twins_agree,
        "twins": verdict.twins,
        "seeds_needed": verdict.seeds_needed,
        "sentence": verdict.sentence,
        "run_ids": list(verdict.run_ids),
    }


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
    effect = f"{format_effect(verdict.effect, verdict)} {verdict.unit.replace('fraction', 'points')}"
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

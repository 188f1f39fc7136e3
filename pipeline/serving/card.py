"""The model card: what the network is, what was measured, how it was chosen, and what it is not good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.analysis.claims.verdict import Verdict
from pipeline.analysis.table.entries import measure_entry
from pipeline.data.datasets import shows_digits
from pipeline.images import MNIST, Images
from pipeline.report.text.escape import escape_markdown, quote_cell, quote_code, write_table
from pipeline.report.text.note import describe_network
from pipeline.report.text.numbers import is_measured, say_bounds, say_effect
from pipeline.serving.promote import SEED_RULE, Choice
from pipeline.study import metrics, tags
from pipeline.study.facts import restore_settings
from pipeline.study.layers import count_parameters

NUMBERS = (metrics.TEST_ACCURACY, metrics.HONEST_TEST_LOSS, metrics.HONEST_TRAIN_LOSS, metrics.GAP_HONEST)
MOST_NAMES = 30  # classes that a card names
DIGITS = {
    "subject": "handwritten digits",
    "answers": "the digits 0 to 9",
    "knows": "It knows MNIST alone: one centred light digit on dark ground, 28x28. "
    "On other writing it was not measured.",
}
PIXELS_IN = (
    "Input is uint8 (N, {raw}): pixels of 0 to 255{ink}. The model normalises them itself. MLflow refuses an array of\n"
    "  another type; in JSON there are none, and a server cuts fractions off, so never send it values of 0 to 1.\n"
)
NORMALISED_IN = (
    "Input is float32 (N, {shape}){ink}, normalised as above: `pipeline.data.datasets.normalise(pixels,\n"
    '  "{normalization}")` makes it of uint8 pixels (N, {raw}). Raw pixels give wrong answers; MLflow refuses uint8.\n'
)
TEMPLATE = """\
# {name}, seed {seed}: {subject}

**What.** A convolutional network that gives probabilities of {answers} for a {size} {colour} picture. {network}
{parameters:,} parameters.

**Data.** {data}, sha256 {data_sha256}; {train} training and {test:,} test images, `{normalization}` normalisation.

**Protocol.** {epochs} epochs, batch size {batch_size}, Adam at {learning_rate}, categorical cross-entropy,
{arithmetic}; the network after the last epoch. No epoch and no setting was selected. Experiment {experiment}.

## Numbers

| metric | this run | mean of {n} seeds | 95 % t-interval |
| --- | ---: | ---: | ---: |
{numbers}

The interval is of the mean over {n} seeds ({seeds}) under the same settings, on the same {test:,} test images: it does
not cover other images.

## Chosen how

{reason} The seed: {seed_rule}.
{claims}
## Limits

- {knows}
- It names one of the {number:,} for any picture, also for one that shows none of them. Its probabilities are not
  calibrated.
- {input}  `python -m pipeline predict` does all that for picture files.

## Fingerprint

| | |
| --- | --- |
{fingerprint}
"""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a run came from: the experiment's name, its params and tags, versions, its test images and their number."""

    experiment: str
    facts: Mapping[str, str]
    versions: Mapping[str, str]
    test_images: int
    images: Images = MNIST


def write_card(choice: Choice, source: Source) -> str:
    """The card of the chosen run, in Markdown."""
    facts, images, settings = source.facts, source.images, restore_settings(source.facts)
    return TEMPLATE.format(
        **(DIGITS if shows_digits(facts.get(tags.PARAM_DATA_NAME, ""), images) else _name_classes(images)),
        size=images.size,
        colour="colour" if images.colour else "grey",
        number=len(images.classes),
        input=_describe_input(facts, images),
        name=choice.variant.name,
        seed=settings.seed,
        network=describe_network(choice.variant),
        parameters=count_parameters(choice.variant, images)[0],
        data=quote_code(facts.get(tags.PARAM_DATA_NAME, "unknown")),
        data_sha256=quote_code(facts.get(tags.PARAM_DATA_SHA256, "unknown")),
        train=f"{settings.subset:,}" if settings.subset else "all",
        test=source.test_images,
        normalization=settings.normalization,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=escape_markdown(facts.get("learning-rate", "unknown")),
        arithmetic=settings.arithmetic,
        experiment=escape_markdown(source.experiment),
        n=len(choice.runs),
        seeds=", ".join(map(str, sorted(choice.runs["seed"]))),
        numbers="\n".join(_list_numbers(choice)),
        reason=choice.reason,
        seed_rule=SEED_RULE,
        claims=_tabulate_claims(choice.verdicts),
        fingerprint="\n".join(f"| {name} | {quote_cell(value)} |" for name, value in _identify(choice, source).items()),
    )


def _name_classes(images: Images) -> dict[str, str]:
    number, names = len(images.classes), ", ".join(map(quote_code, images.classes[:MOST_NAMES]))
    more = f" and {number - MOST_NAMES:,} more" if number > MOST_NAMES else ""
    return {
        "subject": f"{number:,} classes of {images.size} pictures",
        "answers": f"the {number:,} classes {names}{more}",
        "knows": f"It knows the pictures of its data set alone, {images.size}. On others it was not measured.",
    }


def _describe_input(facts: Mapping[str, str], images: Images) -> str:
    ink = facts.get(tags.DATA_INK, "light")
    text = PIXELS_IN if facts.get(tags.MODEL_INPUT) == tags.PIXELS else NORMALISED_IN
    return text.format(
        raw=", ".join(map(str, images.raw_shape)),
        shape=", ".join(map(str, images.shape)),
        ink="" if ink == "none" else f", {ink} ink",
        normalization=facts["normalization"],
    )


def _list_numbers(choice: Choice) -> list[str]:
    """A table row for each metric: this run, the mean over seeds, its interval."""
    own = choice.runs[choice.runs["run_id"] == choice.run_id].iloc[0]
    rows = []
    for metric in (row.final for row in NUMBERS):
        entry = measure_entry(choice.runs, metric)
        # Fewer seeds than the table's heading says would be a lie.
        measured = entry.value is not None and entry.low is not None and len(entry.run_ids) == len(choice.runs)
        numbers = f"{entry.value:.5f} | {entry.low:.5f} to {entry.high:.5f}" if measured else "- | -"
        rows.append(f"| {metric.title} | {own[metric]:.5f} | {numbers} |")
    return rows


def _tabulate_claims(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "\nThe experiment declared no claims.\n"
    rows = []
    for verdict in verdicts:
        effect = say_effect(verdict) if is_measured(verdict) else "-"
        if is_measured(verdict) and verdict.n_seeds > 1:
            effect += f" ({say_bounds(verdict.interval_95, verdict)})"
        rows.append((escape_markdown(verdict.statement), verdict.word, effect, str(verdict.n_seeds)))
    return "\n".join(["", *write_table(("claim", "verdict", "effect (interval)", "n seeds"), rows, numbers=1), ""])


def _identify(choice: Choice, source: Source) -> dict[str, str]:
    facts = source.facts
    dirty = " (with changes, see git.diff)" if facts.get(tags.GIT_DIRTY) == "True" else ""
    identity = {
        "run": choice.run_id,
        "weights sha256": facts[tags.WEIGHTS_SHA256],
        "cell": facts.get(tags.FINGERPRINT, "unknown"),
        "git commit": facts.get(tags.COMMIT, "unknown") + dirty,
        "threads": facts["threads"],
    }
    return identity | {name: source.versions.get(name, "unknown") for name in ("tensorflow", "keras", "numpy")}

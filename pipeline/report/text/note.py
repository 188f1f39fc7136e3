"""The note on a run: what a person would like to read first."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.data.datasets import Dataset
from pipeline.report.text.escape import escape_markdown, quote_code
from pipeline.study.facts import OWN_FILE, format_options
from pipeline.study.metrics import format_value
from pipeline.study.settings import Settings
from pipeline.study.variants import Variant

TEMPLATE = """\
### {name}, seed {seed}: test accuracy {test_accuracy}, test loss {honest_test_loss}, gap {gap_honest}

After {epochs} epochs on {train:,} images, tested on {test:,}; nothing was selected. Loss and gap (test less train loss)
in nats, without dropout and L2 penalty. One seed shows no spread: compare several before you conclude.

{description}

| | train | test |
| --- | ---: | ---: |
| loss as the notebook reads it (*) | {train_loss} | {test_loss} |
| loss, evaluation mode, no penalty | {honest_train_loss} | {honest_test_loss} |
| accuracy as the notebook reads it | {train_accuracy} | {test_accuracy} |
| accuracy, evaluation mode | {honest_train_accuracy} | {test_accuracy} |

(*) With the L2 penalty in; on the training images a running mean over the epoch, with dropout on. Its gap is
{gap_notebook} nats.

Data {data}, sha256 `{sha256}`.
The same weights again: {command}
"""


def write_note(variant: Variant, settings: Settings, dataset: Dataset, finals: Mapping[str, float]) -> str:
    """Markdown for the run's page in MLflow."""
    return TEMPLATE.format(
        name=variant.name,
        seed=settings.seed,
        description=describe_network(variant),
        epochs=settings.epochs,
        train=len(dataset.y_train),
        test=len(dataset.y_test),
        data=quote_code(dataset.name),
        sha256=dataset.sha256,
        command=quote_code(write_command(variant.name, settings, OWN_FILE)),
        **{name.removeprefix("final/"): format_value(name, value) for name, value in finals.items()},
    )


def describe_network(variant: Variant) -> str:
    """One or two sentences on what the variant builds."""
    convolutions = f"{variant.depth_counted} convolutions {variant.kernel}x{variant.kernel}"
    penalty = "L2 and he_normal" if variant.regularised else "no L2"
    said = f"{convolutions} (`{variant.features}`), head `{variant.head}`, {penalty}."
    if variant.twin:
        said += f" Its twin, which differs in the regularisation alone, is `{variant.twin}`."
    return f"{said} Note: {escape_markdown(variant.note)}." if variant.note else said


def write_command(variant: str, settings: Settings, file: str) -> str:
    """The command that trains a cell again; `file` has the row of a user's own variant."""
    return f"mlflow run . --env-manager local {format_options(variant, settings, file)}"

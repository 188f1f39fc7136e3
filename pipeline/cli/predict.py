"""`predict`: which digit, or other class, a picture shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.quiet import quiet_stderr
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.tracking.registry import FinishedRun

MODEL = "mnist-study"
ENDING = ".seen.png"


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--run", "run_id", metavar="ID", help="Use the network of this run.")
@click.option("--variant", metavar="NAME", help="Use this variant's newest finished run.")
@click.option(
    "--experiment",
    default="",
    help="Where --variant looks, by name or file; else MLflow's own.",
)
@click.option("--model", default=MODEL, show_default=True, help="Use the champion of this registered model.")
@click.option("--explain", is_flag=True, help=f"Save what the network sees as IMAGE{ENDING}.")
@click.option("--explain-in", type=click.Path(file_okay=False, path_type=Path), help="Save it in this folder instead.")
@click.option("--request", is_flag=True, help="Print the request for `mlflow models serve` instead of predicting.")
def predict(images: tuple[Path, ...], request: bool, **options: Any) -> None:
    """Say which digit each IMAGE shows, with the probabilities of all ten.

    A PNG or JPEG file of any size with one digit, dark on light or light on dark; it is centred and scaled as MNIST's
    are. A network that was trained on Fashion-MNIST names a class, 0 to 9, and is shown the whole picture. The
    champion that `promote` has chosen answers, or the run that an option names.

    \b
    python -m pipeline predict seven.png photo.jpg
    python -m pipeline predict --variant conv2_3x3 --experiment pairs --explain seven.png
    """
    import numpy as np

    from pipeline.data.datasets import normalise, shows_digits
    from pipeline.serving.image import draw_seen, fit_picture, make_digit, read_grey

    greys = [read_grey(image) for image in images]
    targets = _name_targets(images, options.pop("explain"), options.pop("explain_in"))
    run = _find_model(**options)
    word = "digit" if shows_digits(run.facts.get("data-name", "")) else "class"
    shown = zip(images, greys, strict=True)
    digits = np.stack([make_digit(*each) if word == "digit" else fit_picture(each[1]) for each in shown])
    seen = normalise(digits, run.normalization)
    for target, digit, values in zip(targets, digits, seen, strict=bool(targets)):
        target.parent.mkdir(parents=True, exist_ok=True)
        draw_seen(digit, values[..., 0]).save(target)
        click.echo(f"saved {target}", err=True)
    if request:
        click.echo(json.dumps({"inputs": seen.tolist()}))
        return
    with quiet_stderr():
        from pipeline.serving.predict import load_verified, predict_digits

        probabilities = predict_digits(load_verified(run), digits, run.normalization)
    click.echo(_tabulate(images, probabilities.tolist(), word))


def _name_targets(images: Sequence[Path], explain: bool, folder: Path | None) -> list[Path]:
    """Where each picture of what the network sees goes; none if nobody asked. Raises DataError for the same twice."""
    if not explain and folder is None:
        return []
    targets = [(folder or image.parent) / f"{image.name}{ENDING}" for image in images]
    if len(set(targets)) < len(targets):
        raise DataError("two of the pictures have one name and would be explained in one file; predict them apart")
    return targets


def _find_model(run_id: str | None, variant: str | None, experiment: str, model: str) -> FinishedRun:
    """The run whose network answers; says which it is."""
    if run_id and variant:
        raise click.UsageError("--run and --variant name two models; give one of them")
    if experiment and not variant:
        raise click.UsageError("--experiment says where --variant looks; give --variant too")

    from pipeline.study.experiment import open_experiment
    from pipeline.study.variants import VARIANTS, find_variant
    from pipeline.tracking.registry import find_champion, find_newest, find_run
    from pipeline.tracking.store import find_experiment, open_store

    declared = open_experiment(experiment)
    name = find_variant(variant, declared.table if declared else VARIANTS).name if variant else ""
    store = open_store()
    origin = ""
    if run_id:
        run = find_run(store, run_id)
    elif name:
        run = find_newest(store, find_experiment(store, declared.name if declared else experiment), name)
    else:
        version, run = find_champion(store, model)
        origin = f"{model} version {version}: "
    click.echo(f"{origin}{run.variant}, seed {run.seed}, {run.epochs} epochs; run {run.run_id}", err=True)
    return run


def _tabulate(images: Sequence[Path], probabilities: Sequence[Sequence[float]], word: str) -> str:
    """A line a picture: the digit (or what `word` calls it), then the probability of each of the ten."""
    width = max(len("picture"), *(len(str(image)) for image in images))
    lines = [f"{'picture':<{width}}  {word}" + "".join(f"{digit:>7}" for digit in range(10))]
    for image, row in zip(images, probabilities, strict=True):
        digit = max(range(10), key=row.__getitem__)
        lines.append(f"{image!s:<{width}}  {digit:>5}" + "".join(f"{value:>7.3f}" for value in row))
    return "\n".join(lines)

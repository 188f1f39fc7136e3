"""`predict`: which digit, or other class, a picture shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import check_experiment, check_variant, name_experiment
from pipeline.cli.results.answers import Answers, Asked, Results, list_doubts, list_json, name_picture, tabulate
from pipeline.cli.terminal import quiet_stderr
from pipeline.errors import DataError
from pipeline.plain import count, escape_controls
from pipeline.study.experiment import open_experiment
from pipeline.study.tags import PARAM_DATA_NAME
from pipeline.study.variants import VARIANTS

if TYPE_CHECKING:
    from pipeline.data.likeness import Sample
    from pipeline.serving.look import Look
    from pipeline.tracking.files.registry import FinishedRun
    from pipeline.tracking.store import Store

MODEL = "mnist-study"
ENDING = ".seen.png"


def _take_pictures(_ctx: click.Context, _param: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The pictures; raises FileNotFoundError where not one of them is there."""
    if not any(path.exists() or str(path) == "-" for path in paths):
        raise FileNotFoundError(2, "No such file or directory", str(paths[0]))
    return paths


@click.command()
@click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path), callback=_take_pictures
)
@click.option("--run", "run_id", metavar="ID", help="Use the network of this run.")
@click.option("--variant", metavar="NAME", help="Use this variant's newest finished run.")
@click.option("--experiment", default="", help="Where --variant looks: a name or a file; by default MLflow's own.")
@click.option("--model", default=MODEL, show_default=True, help="Use the champion of this registered model.")
@click.option("--explain", is_flag=True, help=f"Save how the picture was read, step by step, as IMAGE{ENDING}.")
@click.option("--explain-in", type=click.Path(file_okay=False, path_type=Path), help="Save it in this folder instead.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@click.option("--request", is_flag=True, help="Print the request for `mlflow models serve` instead of predicting.")
def predict(images: tuple[Path, ...], form: str, request: bool, **options: Any) -> None:
    """Say which digit, or other class, each IMAGE shows, and how sure the network is.

    IMAGE is a picture of one digit from a scanner or phone: PNG, JPEG, GIF, BMP, WebP or TIFF, up to 120 million
    pixels, dark on light or light on dark. Shadows, ruled lines, dust and a desk around the sheet are ignored. It
    may also be a folder of pictures, or - for standard input. A network trained on other images than digits names a
    class, and sees the whole picture, scaled to the size of its images and in their colours.

    The champion chosen by `promote` answers, or the run that an option names. The first column is the answer with
    its probability, then come the picture and the probabilities of all classes, or of the likeliest. A warning says
    why an answer is unsure. If a picture cannot be read, the others are still answered; the exit code is then 1. With
    --format json each picture is one line: file, digit or class, probabilities and warnings, or error.

    \b
    python -m pipeline predict seven.png photo.jpg
    python -m pipeline predict --format json scans/
    python -m pipeline predict --variant conv2_3x3 --experiment pairs --explain seven.png
    """
    options["experiment"] = check_model(options["run_id"], options["variant"], options["experiment"])

    from pipeline.data.datasets import shows_digits
    from pipeline.serving.picture import list_pictures
    from pipeline.tracking.files.registry import read_images, read_sample
    from pipeline.tracking.store import open_store

    paths = list_pictures(images)
    targets = _name_targets(paths, options.pop("explain"), options.pop("explain_in"))
    store = open_store()
    run = _find_model(store, **options)
    shown = read_images(store, run.run_id)
    digits = shows_digits(run.facts.get(PARAM_DATA_NAME, ""), shown)
    asked = Asked(run=run, images=shown, word="digit" if digits else "class")
    sample = read_sample(store, run.run_id, shown)
    results = list(_look_at_all(asked, sample, paths, targets))
    looks = [result for result in results if not isinstance(result, str)]
    if request:
        answers, lines = [], _write_request(looks, run)
    else:
        answers = _ask_network(run, looks)
        lines = list_json(asked, paths, results, answers) if form == "json" else tabulate(asked, looks, answers)
    click.echo(lines, nl=bool(lines))
    if form == "text" or request:
        _tell(asked, results, answers)
    if len(looks) < len(results):
        click.get_current_context().exit(1)


def _look_at_all(
    asked: Asked, sample: Sample | None, paths: Sequence[Path], targets: Sequence[Path]
) -> Iterator[Look | str]:
    """What the network will see of each picture, or why that is nothing; saves the explanations."""
    from pipeline.serving.look import describe_distance, look_at

    whole = asked.word != "digit"
    for place, path in enumerate(paths):
        try:
            look = look_at(path, whole=whole, ink=asked.run.ink, images=asked.images)
        except DataError as error:
            yield str(error)
            continue
        except OSError as error:
            yield f"{path}: {error.strerror or error}"
            continue
        if targets:
            targets[place].parent.mkdir(parents=True, exist_ok=True)
            look.draw().save(targets[place])
            click.echo(f"saved {escape_controls(str(targets[place]))}", err=True)
        distance = describe_distance(look, sample)
        yield replace(look, doubts=(*look.doubts, distance)) if distance else look


def _write_request(looks: Sequence[Look], run: FinishedRun) -> str:
    """The JSON body for /invocations; empty without a picture."""
    import numpy as np

    from pipeline.data.datasets import normalise

    if not looks:
        return ""
    pixels = np.stack([look.seen for look in looks])
    return json.dumps({"inputs": (pixels if run.takes_pixels else normalise(pixels, run.normalization)).tolist()})


def _ask_network(run: FinishedRun, looks: Sequence[Look]) -> list[list[float]]:
    """The probabilities of each picture."""
    import numpy as np

    if not looks:
        return []
    with quiet_stderr():
        from pipeline.serving.predict import load_verified, predict_images

        seen = np.stack([look.seen for look in looks])
        answers: list[list[float]] = predict_images(load_verified(run), seen, run.normalization).tolist()
    return answers


def _tell(asked: Asked, results: Results, answers: Answers) -> None:
    """Say on standard error what makes answers unsure, then which pictures have none."""
    looks = [result for result in results if not isinstance(result, str)]
    for look, row in zip(looks, answers, strict=False):
        for doubt in list_doubts(asked, look, row):
            click.echo(f"Warning: {name_picture(look)}: {doubt}", err=True)
    for result in results:
        if isinstance(result, str):
            click.echo(f"Error: {escape_controls(result)}", err=True)


def _name_targets(images: Sequence[Path], explain: bool, folder: Path | None) -> list[Path]:
    """Where each picture of what the network sees goes; none if nobody asked. Raises DataError for the same twice."""
    if not explain and folder is None:
        return []
    names = ["stdin" if image == Path("-") else image.name for image in images]
    targets = [(folder or image.parent) / f"{name}{ENDING}" for image, name in zip(images, names, strict=True)]
    if len(set(targets)) < len(targets):
        raise DataError("two of the pictures have one name and would be explained in one file; predict them apart")
    return targets


def check_model(run_id: str | None, variant: str | None, experiment: str) -> str:
    """The experiment's name; refuses options that name no model, or two, before anything heavy is imported."""
    if run_id and variant:
        raise click.UsageError("--run and --variant name two models; give one of them")
    if experiment and not variant:
        raise click.UsageError("--experiment says where --variant looks; give --variant too")
    check_experiment(experiment)
    if variant and experiment and not open_experiment(experiment) and variant not in VARIANTS:
        own = f'"{variant}" is not one of the study\'s variants; if "{experiment}" has variants of its own'
        raise click.UsageError(f"{own}, give its file to --experiment")
    check_variant(variant, experiment)
    return name_experiment(experiment)


def _find_model(store: Store, run_id: str | None, variant: str | None, experiment: str, model: str) -> FinishedRun:
    """The run whose network answers; says which it is."""
    from pipeline.tracking.files.registry import find_champion, find_newest, find_run
    from pipeline.tracking.store import find_experiment

    origin = ""
    if run_id:
        run = find_run(store, run_id)
    elif variant:
        run = find_newest(store, find_experiment(store, experiment), variant)
    else:
        version, run = find_champion(store, model)
        origin = f"{model} version {version}: "
    click.echo(f"{origin}{run.variant}, seed {run.seed}, {count(run.epochs, 'epoch')}; run {run.run_id}", err=True)
    return run

"""`promote`: put the run that the evidence carries into the model registry, with its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli.options import check_variant, experiment_argument
from pipeline.cli.results.predict import MODEL
from pipeline.cli.terminal import quiet_stderr
from pipeline.errors import AnalysisError

if TYPE_CHECKING:
    from pipeline.serving.card import Source
    from pipeline.tracking.files.registry import FinishedRun
    from pipeline.workflows.compare import Found


@click.command()
@experiment_argument()
@click.option("--variant", default="", metavar="NAME", help="Promote this variant, if the claims allow it.")
@click.option("--model", default=MODEL, show_default=True, help="Name of the registered model.")
def promote(experiment: str, variant: str, model: str) -> None:
    """Make a run of EXPERIMENT the champion, if the evidence allows.

    The run is registered as a model with a model card. EXPERIMENT is a file from experiments/ or the name of an
    MLflow experiment. Test scores do not choose: the experiment's claims with a margin decide between regularised
    and plain, or you do with --variant. It needs five finished seeds with the same settings; the lowest is
    promoted.

    \b
    python -m pipeline promote experiments/matched.toml
    python -m pipeline promote experiments/pairs.toml --variant conv2_3x3
    """
    check_variant(variant, experiment)

    from pipeline.serving.card import write_card
    from pipeline.serving.promote import choose_run
    from pipeline.tracking.files.artifacts import check_artifacts
    from pipeline.tracking.files.hashes import demand_unchanged
    from pipeline.tracking.files.registry import find_run, register_champion
    from pipeline.workflows.compare import find_comparison

    found = find_comparison(experiment, "all-seeds", {}, frozenset({"controls"}))
    choice = choose_run(found.comparison, variant, _are_claims_late(found))
    run = find_run(found.store, choice.run_id)
    check_artifacts(found.store, run.run_id)
    demand_unchanged(found.store, found.experiment_id, found.comparison.runs["run_id"])
    card = write_card(choice, _read_source(found, run))
    with quiet_stderr():
        from pipeline.serving.predict import load_verified

        load_verified(run)
    version, new = register_champion(found.store, model, run, card)
    state = "is now" if new else "was and stays"
    click.echo(f"{run.variant}, seed {run.seed}, run {run.run_id}: version {version} of {model} {state} its champion")
    click.echo(f"serve it: mlflow models serve -m models:/{model}@champion --env-manager local")


def _read_source(found: Found, run: FinishedRun) -> Source:
    """What the card says of the run, beside how it was chosen."""
    from pipeline.serving.card import Source
    from pipeline.tracking.files.registry import count_test_images, read_images, read_versions

    return Source(
        experiment=found.store.client.get_experiment(found.experiment_id).name,
        facts=run.facts,
        versions=read_versions(found.store, run.run_id),
        test_images=count_test_images(found.store, run.run_id),
        images=read_images(found.store, run.run_id),
    )


def _are_claims_late(found: Found) -> bool:
    """Whether the claims were frozen after the first run, or never; raises AnalysisError for claims left out."""
    from pipeline.tracking.files.registry import has_claims

    asked = found.comparison.question
    if not asked.claims and has_claims(found.store, found.experiment_id):
        raise AnalysisError("the experiment has declared claims; give its file, so that they are judged")
    return bool(asked.claims) and asked.standing != ""

"""MLflow's web interface on a store, for this machine alone; what it shows of an experiment is kept as a saved view."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Experiment

from pipeline.study import metrics
from pipeline.tracking.mlflow_internals import PREFERENCES, START_PAGE, VIEW_TAG, load_application
from pipeline.tracking.store import Store, project_root, store_errors
from pipeline.tracking.values import read_count

if TYPE_CHECKING:
    import uvicorn

VIEW = "study"
"""The interface opens it where an address has viewStateShareKey=study."""
RESULTS = (metrics.TEST_ACCURACY.final, metrics.HONEST_TEST_LOSS.final, metrics.GAP_HONEST.final)
FACTORS = ("depth-counted", "kernel", "regularised", "parameters", "seed", "epochs", "subset")
AXES = ("depth-counted", "kernel", "dropout")
SECTIONS = ("overview", "train", "test", "honest", "gap", "time", "final")
CLOSED = ("time", "final")
COLUMNS = 2
CARD_HEIGHT, RESULT_WIDTH = 300, 160  # pixels
TRAININGS = "tags.kind = 'train'"
PAGE = "workflowType=machine_learning"  # else the interface opens on its pages for language models
STOP_SECONDS = 2
NAMES = ("127.0.0.1", "localhost")
PREFER = f"""<script>
for (const [name, value] of Object.entries({json.dumps(PREFERENCES)})) {{
    if (localStorage.getItem(name) === null) localStorage.setItem(name, value);
}}
</script>"""


def open_view(store: Store) -> str:
    """Save the view of every experiment; the page of the experiment with the newest run. Raises StoreError."""
    with store_errors(store):
        experiments = store.client.search_experiments()
        for experiment in experiments:
            save_view(store.client, experiment)
        found = [experiment.experiment_id for experiment in experiments]
        newest = store.client.search_runs(found, order_by=["attributes.start_time DESC"], max_results=1)
    if not newest:
        return f"#/experiments?{PAGE}"
    return f"#/experiments/{newest[0].info.experiment_id}/runs?{PAGE}&viewStateShareKey={VIEW}"


def save_view(client: MlflowClient, experiment: Experiment) -> None:
    """Let the view of an experiment be found under Views; one that somebody has changed there stays as it is."""
    state = json.dumps(describe_view(grouped=_has_seeds(client, experiment.experiment_id)))
    now = int(datetime.now(UTC).timestamp() * 1000)
    if VIEW_TAG + VIEW in experiment.tags and not _is_outdated(experiment.tags[VIEW_TAG + VIEW], state):
        return
    view = {"name": VIEW, "createdAt": now, "updatedAt": now, "state": state}
    client.set_experiment_tag(experiment.experiment_id, VIEW_TAG + VIEW, json.dumps(view))


def _has_seeds(client: MlflowClient, experiment_id: str) -> bool:
    newest = client.search_runs([experiment_id], TRAININGS, max_results=1)
    seed = newest[0].data.params.get("seed", "0") if newest else "0"
    other = f"{TRAININGS} AND params.seed != '{read_count(seed) or 0}'"
    return bool(client.search_runs([experiment_id], other, max_results=1))


def _is_outdated(text: str, state: str) -> bool:
    """Whether a saved view is an earlier version of ours, as it was saved."""
    with suppress(ValueError, KeyError, TypeError):
        view = json.loads(text)
        return bool(view["createdAt"] == view["updatedAt"] and view["state"] != state)
    return False


def describe_view(*, grouped: bool) -> dict[str, object]:
    """Trainings alone, with results and factors as columns; parallel coordinates and bars stand before the curves.

    Where they are `grouped`, the seeds of a variant are one line, their mean, with a band from the lowest to the
    highest. The curves need no word: the interface draws every metric that has no chart yet, in the section of its
    prefix.
    """
    columns = [*(f"metrics.`{name}`" for name in RESULTS), *(f"params.`{name}`" for name in FACTORS)]
    variant = {"mode": "param", "groupByData": "arch"}
    axes = {"selectedParams": AXES, "selectedMetrics": RESULTS[1:2], "showAllRuns": True}
    return {
        "searchFilter": TRAININGS,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [variant]} if grouped else None,
        "runsHiddenMode": "SHOWALL",  # else the first ten
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns[: len(RESULTS)], RESULT_WIDTH),
        "compareRunCharts": [
            _describe_chart("PARALLEL", "axes", **axes),
            _describe_chart("BAR", "accuracy", metricKey=RESULTS[0]),
        ],
        "compareRunSections": [_describe_section(name) for name in SECTIONS],
        "isAccordionReordered": True,  # else the sections go by the alphabet
    }


def _describe_chart(kind: str, name: str, **more: object) -> dict[str, object]:
    place = {"uuid": f"{VIEW}-{name}", "metricSectionId": f"{VIEW}-{SECTIONS[0]}"}
    return {"type": kind, **place, "runsCountToCompare": 10, "deleted": False, "isGenerated": False, **more}


def _describe_section(name: str) -> dict[str, object]:
    state = {"display": name not in CLOSED, "isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": f"{VIEW}-{name}", "name": name, "columns": COLUMNS, "cardHeight": CARD_HEIGHT, **state}


def load_ui(store: Store, port: int) -> uvicorn.Server:
    """MLflow's web application on this store, loaded and not yet serving at the port of this machine.

    Only these two names are answered: MLflow's own patterns take 10.evil.example for a private address, by which a web
    page elsewhere could read the store.

    `mlflow server` would start the same application as a process of a process, which a SIGKILL leaves behind, at a port
    that is known only afterwards. An experiment that is made in the browser gets its folder in `mlruns`, where
    trainings write without a server; `mlartifacts` holds what plain `mlflow ui` took in.
    """
    import uvicorn  # a comparison, which only saves a view, does not wait for it

    hosts = ",".join(f"{name}:{port}" for name in NAMES)
    folder = store.database.resolve().parent if store.database else project_root()
    app, pages = load_application(store.uri, folder, hosts)
    prefer_training(pages)
    quiet = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=STOP_SECONDS)
    return uvicorn.Server(quiet)


def prefer_training(pages: Any) -> None:
    """Let MLflow's pages open on trainings, and its chat panel stay closed, until a visitor wants it otherwise."""
    serve = pages.view_functions[START_PAGE]

    def insert() -> Any:
        response = pages.make_response(serve())
        if response.status_code == 200:
            response.direct_passthrough = False
            response.set_data(response.get_data(as_text=True).replace("<head>", f"<head>{PREFER}", 1))
        return response

    pages.view_functions[START_PAGE] = insert

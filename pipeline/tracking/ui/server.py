"""MLflow's own web interface for a store: in this process alone, and for this machine alone."""

from __future__ import annotations

import json
import socket
from typing import Any

import uvicorn

from pipeline.tracking.mlflow_internals import PREFERENCES, START_PAGE, load_application
from pipeline.tracking.store import Store, project_root

STOP_SECONDS = 2
NAMES = ("127.0.0.1", "localhost")
PREFER = f"""<script>
for (const [name, value] of Object.entries({json.dumps(PREFERENCES)})) {{
    if (localStorage.getItem(name) === null) localStorage.setItem(name, value);
}}
</script>"""


def load_ui(store: Store, port: int) -> uvicorn.Server:
    """MLflow's web application on this store, loaded and not yet serving at the port of this machine.

    Only these two names are answered: MLflow's own patterns take 10.evil.example for a private address, by which a web
    page elsewhere could read the store.

    `mlflow server` would start the same application as a process of a process, which a SIGKILL leaves behind, at a port
    that is known only afterwards. An experiment that is made in the browser gets its folder in `mlruns`, where
    trainings write without a server; `mlartifacts` holds what plain `mlflow ui` took in.
    """
    hosts = ",".join(f"{name}:{port}" for name in NAMES)
    folder = store.database.resolve().parent if store.database else project_root()
    app, pages = load_application(store.uri, folder, hosts)
    prefer_training(pages)
    return uvicorn.Server(
        uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=STOP_SECONDS)
    )


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


def serve_ui(server: uvicorn.Server, listening: socket.socket) -> None:
    """Answer at the socket until a signal comes, which is raised again once the last answer is given."""
    server.run(sockets=[listening])

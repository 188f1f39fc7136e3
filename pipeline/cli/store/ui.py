"""`ui`: MLflow's web interface on the store in force."""

from __future__ import annotations

import os
import socket

import click

from pipeline.cli.options import Number
from pipeline.errors import RunKilled

HOST = "127.0.0.1"


@click.command()
@click.option(
    "--port", type=Number(0, 65_535), default=5000, show_default=True, help="Port on 127.0.0.1; 0 picks a free one."
)
def ui(port: int) -> None:
    """Show runs, curves and images in the browser.

    It serves MLflow's own interface for the store that trainings write to, on this machine only, until Ctrl-C. If
    MLFLOW_TRACKING_URI names a server, its address is printed instead: it has the same pages.

    \b
    python -m pipeline ui
    python -m pipeline ui --port 5001
    """
    from pipeline.tracking.store import open_store, resolve_uri

    uri = resolve_uri()
    if uri.lower().startswith(("http://", "https://")):
        click.echo(f"{uri} is the tracking server; open it in a browser")
        return
    try:
        with listen(port) as listening:
            from pipeline.tracking.ui import load_ui, open_view

            store = open_store()
            port = listening.getsockname()[1]
            address = f"http://{HOST}:{port}/{open_view(store)}"
            server = load_ui(store, port)
            click.echo(f"{address} shows the runs in {store.database or 'the tracking store'}; Ctrl-C stops it")
            server.run(sockets=[listening])  # a signal is raised again once the last answer is given
    except RunKilled:
        click.echo("Stopped.")


def listen(port: int) -> socket.socket:
    """A socket that takes connections at this port already; they are answered once the server runs."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # without the address that create_server adds
        raise click.ClickException(f"port {port} cannot be used ({reason}); choose another with --port") from error

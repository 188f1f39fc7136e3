"""`ui` is MLflow's interface on the store in force: for this machine alone, and gone when it is stopped."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.browser.interface import Interface
from tests.conftest import call
from tests.rig.postgres import PostgreSQL

pytest_plugins = ("tests.rig.fixtures",)


SEARCH = "api/2.0/mlflow/experiments/search?max_results=1"
STRANGE_HOSTS = ("mnist.example.org", "10.evil.example", "192.168.evil.example", "172.16.evil.example", "10.0.0.1")
"""Names that a page elsewhere can let lead to this machine; MLflow's own patterns take most of them for private."""


def ask(address: str, path: str, body: dict[str, object] | None = None, **headers: str) -> tuple[int, dict]:
    """(status, JSON answer) of a GET, or of a POST of a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/{path}", data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, {}


def test_a_taken_port_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = call("ui", "--port", str(port))
    said = f"Error: port {port} cannot be used (Address already in use); choose another with --port\n"
    assert (result.exit_code, result.output) == (1, said)
    assert list(tmp_path.iterdir()) == []


def test_a_server_shows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    result = call("ui")
    said = "https://mlflow.example.org is the tracking server; open it in a browser\n"
    assert (result.exit_code, result.output) == (0, said)


def test_it_serves_this_machine_alone_in_one_process_and_stops(tmp_path: Path) -> None:
    interface = Interface(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    try:
        page = r"http://127\.0\.0\.1:\d+/#/experiments\?workflowType=machine_learning"
        database = re.escape(str(tmp_path / "mlflow.db"))
        assert re.fullmatch(rf"{page} shows the runs in {database}; Ctrl-C stops it\n", interface.line)
        status, made = ask(interface.address, "api/2.0/mlflow/experiments/create", {"name": "made in the browser"})
        assert status == 200
        status, found = ask(interface.address, f"api/2.0/mlflow/experiments/get?experiment_id={made['experiment_id']}")
        assert found["experiment"]["artifact_location"] == str(tmp_path / "mlruns" / made["experiment_id"])
        process = psutil.Process(interface.process.pid)
        assert process.children(recursive=True) == []
        assert {place.laddr.ip for place in process.net_connections("inet") if place.status == "LISTEN"} == {
            "127.0.0.1"
        }
        port = interface.address.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
            assert ask(interface.address, SEARCH, None, Host=host)[0] == 200
        for host in STRANGE_HOSTS:
            for name in (host, f"{host}:{port}"):
                assert ask(interface.address, SEARCH, None, Host=name)[0] == 403, name
                made = ask(interface.address, "api/2.0/mlflow/experiments/create", {"name": name}, Host=name)
                assert made[0] == 403, name
        code, output = interface.stop()
        assert (code, output.splitlines()[-1]) == (0, "Stopped.")
        assert "Traceback" not in output
    finally:
        interface.kill()


@pytest.mark.slow
def test_a_password_of_postgresql_is_shown_nowhere(postgres: PostgreSQL, tmp_path: Path) -> None:
    uri = postgres.create_database("interface").replace("study@", "study:secret@")
    interface = Interface(uri, tmp_path)
    try:
        assert interface.line.endswith(" shows the runs in the tracking store; Ctrl-C stops it\n")
        assert ask(interface.address, "api/2.0/mlflow/experiments/search?max_results=1")[0] == 200
        assert "secret" not in " ".join(psutil.Process(interface.process.pid).cmdline())
        assert interface.stop(signal.SIGTERM) == (0, "Stopped.\n")
    finally:
        interface.kill()

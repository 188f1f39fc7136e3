"""Stores of their own, and bundles between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.tracking.bundle.archive import BundleWriter, open_bundle
from pipeline.tracking.bundle.export_runs import Wanted, export_experiment
from pipeline.tracking.bundle.import_runs import import_bundle
from pipeline.tracking.bundle.manifest import BundledRun, Manifest
from pipeline.tracking.store import Store, open_store
from tests.conftest import enter


def open_in(folder: Path, patch: pytest.MonkeyPatch) -> Store:
    """The store of a folder, which is made."""
    enter(folder, patch)
    return open_store()


def export(store: Store, name: str, path: Path, *, every: bool = False) -> Manifest:
    with path.open("w+b") as stream, BundleWriter(stream) as writer:
        manifest = export_experiment(store, name, writer, Wanted(every=every))
        writer.finish(manifest)
    return manifest


def take(store: Store, path: Path, into: str = "") -> list[tuple[BundledRun, str, bool]]:
    with open_bundle(path) as reader:
        return list(import_bundle(store, reader, into))

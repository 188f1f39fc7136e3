"""The names of MLflow tags and of the params beside the settings, each once."""

from __future__ import annotations

KIND = "kind"  # train, compare, resume, sweep, import
VARIANT = "variant"
TWIN = "twin"
OUTCOME = "outcome"  # running, finished, killed, failed: `mlflow run` overwrites MLflow's own status
REASON = "outcome.reason"
HEARTBEAT = "heartbeat"
EPOCH = "epoch"
ATTEMPT = "attempt"
RESUMES = "resumes"
FINGERPRINT = "fingerprint"
WEIGHTS_SHA256 = "weights.sha256"
HASHES_SHA256 = "hashes.sha256"
TABLE_SHA256 = "table.sha256"
CHECKPOINT_REFUSED = "checkpoint.refused"
REQUEST = "request.id"
ORIGIN = "bundle.source_run_id"  # of an imported run: the id that it had in its first store, and has in every bundle
EVIDENCE = "evidence"  # of a run that was imported without model and figures

HOST = "host"
BOOT_ID = "boot_id"
PID = "pid"
PID_STARTED = "pid_started"
OF_PROCESS = (BOOT_ID, PID, PID_STARTED, HEARTBEAT)  # of no use to anybody once a run has finished

GIT_DIRTY = "git.dirty"
DATA_SHA256 = "data.sha256"
DATA_SOURCE = "data.source"
DATA_INK = "data.ink"
TRAIN_IMAGES = "data.train_images"  # how many a run was trained on
MODEL_INPUT = "model.input"  # pixels: the logged model normalises them; those of earlier versions wanted it done
PIXELS = "pixels"

RUN_NAME = "mlflow.runName"
NOTE = "mlflow.note.content"
USER = "mlflow.user"
COMMIT = "mlflow.source.git.commit"
REPOSITORY = "mlflow.source.git.repoURL"
SOURCE_TYPE = "mlflow.source.type"
ENTRY_POINT = "mlflow.project.entryPoint"

PARAM_DATA_SHA256 = "data-sha256"
PARAM_DATA_NAME = "data-name"

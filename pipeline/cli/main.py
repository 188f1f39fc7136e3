"""The group of commands, and what is said of each way to end."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from pipeline import __version__, interrupts
from pipeline.cli.catalogue import data, variants
from pipeline.cli.results.compare import compare, publish, report
from pipeline.cli.results.gate import gate
from pipeline.cli.results.predict import predict
from pipeline.cli.results.promote import promote
from pipeline.cli.store.bundle import bundle
from pipeline.cli.store.doctor import doctor, sync
from pipeline.cli.store.status import status
from pipeline.cli.store.ui import ui
from pipeline.cli.terminal import outliving_reader, outliving_terminal, showing_life
from pipeline.cli.training.sweep import cell, cells, plan, sweep
from pipeline.cli.training.train import replay, smoke, train
from pipeline.errors import PipelineError, RunKilled, StoreUnreachable
from pipeline.plain import escape_controls, hide_secrets

QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's own start-up chatter; Python errors still show
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
GARBAGE = (100_000, 50, 100)
"""How rarely Python looks for cycles: as it does by itself that takes a seventh of a command, mostly among imports."""


class CommandGroup(click.Group):
    """A group whose errors are one line each, and leave no run of `mlflow run` open."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> NoReturn:
        """Run a command; exit code 1 for a PipelineError, 2 for wrong usage, 128 + n for signal n."""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        gc.set_threshold(*GARBAGE)
        if isinstance(sys.stdout, io.TextIOWrapper):  # one that cannot write a sign, as "ascii", writes its code
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            interrupts.install()
            code = super().main(args, *more, **{**settings, "standalone_mode": False})
            sys.exit(code if isinstance(code, int) else 0)
        except NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            _fail(_explain_usage(error), 2)
        except (click.ClickException, PipelineError) as error:
            _fail(str(error), error.exit_code)
        except OSError as error:
            _fail(f"{error.filename or 'a file of this command'}: {error.strerror or error}", 1)
        except (MemoryError, TypeError) as error:
            if isinstance(error, TypeError) and "out of memory" not in str(error):  # protobuf says it so
                raise
            detail = f" ({error})" if str(error) else ""
            _fail(f"out of memory{detail}; close programs or use a smaller --batch-size", 1)
        except ImportError as error:
            what = f"cannot load {error.name or 'a library'} ({str(error).splitlines()[0]})"
            _fail(f"{what}; give it more memory (ulimit -v), or install it again by `pip install -e .`", 1)
        except RunKilled as killed:
            _stop(killed)
        except Exception as error:
            _fail_store(error)

    def invoke(self, context: click.Context) -> Any:
        """Run a command; a reader of its lines that has left is not a failure of it."""
        code = None
        with outliving_reader(), showing_life():
            code = super().invoke(context)
        return code  # noqa: RET504  None where the reader has left


def _explain_usage(error: click.UsageError) -> str:
    """What was wrong and where to look, in one line."""
    command = error.ctx.command_path if error.ctx else "pipeline"
    return f"{' '.join(error.format_message().split())} (see {command} --help)"


def _fail(reason: str, code: int) -> NoReturn:
    """Say the reason in one line, also on the launcher's run where there is one, and exit."""
    reason = escape_controls(hide_secrets(reason))
    if "MLFLOW_RUN_ID" in os.environ:  # a run that `mlflow run` has made and no recorder has taken up
        _fail_adopted_run(reason)
    click.echo(f"Error: {reason}", err=True)
    sys.exit(code)


def _fail_store(error: Exception) -> NoReturn:
    """Say in one line that the store failed in the middle of a command; raise any other error, as it is a fault."""
    from pipeline.tracking.store import STORE_ERRORS, first_line, is_unreachable

    if not isinstance(error, STORE_ERRORS):
        raise error
    code = StoreUnreachable.exit_code if is_unreachable(error) else 1
    _fail(f"the tracking store did not answer: {first_line(error)}", code)


def _stop(killed: RunKilled) -> NoReturn:
    """Say how far the work came and how it goes on, also where the terminal has closed, and exit."""
    if "MLFLOW_RUN_ID" in os.environ:
        _fail_adopted_run("stopped before it began")
    with outliving_terminal():
        for line in (killed.said or "Stopped.").splitlines():
            click.echo(escape_controls(line), err=True)
    sys.exit(128 + killed.signal_number)


def _fail_adopted_run(reason: str) -> None:
    """Give the launcher's run its reason; a store that does not answer must not hide the first error."""
    from pipeline.tracking.store import open_store
    from pipeline.tracking.write.recorder import fail_adopted_run

    try:
        fail_adopted_run(open_store(), reason)
    except PipelineError as error:
        click.echo(f"Error: {escape_controls(str(error))}", err=True)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pipeline")
def main() -> None:
    """Tracked deep-learning experiments on MNIST: train networks, compare them, test claims.

    \b
    python -m pipeline smoke
    python -m pipeline train --arch conv2_3x3 --epochs 3
    python -m pipeline sweep experiments/smoke.toml
    """


TRAINING = (train, smoke, replay, plan, sweep, cell, cells)
RESULTS = (compare, report, publish, gate, predict, promote)
STORE = (status, ui, sync, doctor, bundle)
for command in (*TRAINING, *RESULTS, *STORE, data, variants):
    main.add_command(command)

"""What a command says when Ctrl-C or another signal stops it: how far it came, and the command that continues."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from click.core import ParameterSource

from pipeline.errors import RunKilled


@contextmanager
def telling_stop(say: Callable[[], str]) -> Iterator[None]:
    """When a signal stops the block, report what `say` returns, unless code closer to the work has said more."""
    try:
        yield
    except RunKilled as killed:
        killed.said = killed.said or say()
        raise


def repeat_command(context: click.Context) -> str:
    """The command that is running, as it can be typed again: its arguments, and the options that were given."""
    words = context.command_path.split()
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if context.get_parameter_source(parameter.name or "") != ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        else:
            words += [parameter.opts[0]] if parameter.is_flag else [parameter.opts[0], str(value)]  # type: ignore[attr-defined]
    return shlex.join(words)

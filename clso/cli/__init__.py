"""The command line. Commands import what they need when they run, so that `--help` answers at
once."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib.metadata import version

import click

from clso.cli.baseline import baseline
from clso.cli.evolve import evolve, resume
from clso.cli.inspect import compare, evaluate, report
from clso.cli.machine import doctor, list_plugins
from clso.cli.model import export, generate
from clso.cli.new_space import new_space
from clso.cli.output import echo, log_to_stderr
from clso.cli.probe import probe
from clso.cli.profile import profile
from clso.cli.prove import prove
from clso.cli.runs import importances, runs, trials
from clso.cli.watch import watch
from clso.errors import ClsoError, Stopped
from clso.lazy import seldom_look_for_garbage
from clso.threads import wait_passively

__all__ = ["cli", "main"]


class _Commands(click.Group):
    """Lists the commands in the order in which a user meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("clso"), prog_name="clso")
def cli() -> None:
    """Train small language models without gradients, and measure what it costs.

    With CLSO_TRACEBACK=1 in the environment an error's traceback is shown as well.
    """


for _command in (
    evolve,
    resume,
    evaluate,
    generate,
    export,
    baseline,
    compare,
    report,
    runs,
    watch,
    trials,
    importances,
    prove,
    profile,
    probe,
    list_plugins,
    new_space,
    doctor,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point: one line for every foreseen error; exit code 0 ok, 1 a run failed, 2 bad
    input, 130 stopped by Ctrl-C."""
    seldom_look_for_garbage()
    wait_passively()
    log_to_stderr()
    try:
        code = cli.main(prog_name="clso", standalone_mode=False)
    except Stopped as stopped:
        _end(str(stopped), stopped.exit_code)
    except ClsoError as error:
        if os.environ.get("CLSO_TRACEBACK"):
            traceback.print_exception(error)
        _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        where = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        _fail(f"{error.format_message()}{where}", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _end("stopped. What was saved is whole; `clso resume RUN` goes on from there.", 130)
    except OSError as error:
        if error.filename is None:
            # Output that a pipe or a disk did not take is still in the buffer, and would fail once
            # more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno == errno.EPIPE:
            sys.exit(1)
        where = f": {error.filename}" if error.filename else ""
        full = (
            " Free some space, then `clso resume RUN`."
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else ""
        )
        _fail(f"{error.strerror or error}{where}.{full}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    _end(f"error: {message}", code)


def _end(message: str, code: int) -> None:
    echo(" ".join(message.split()), err=True)
    sys.exit(code)

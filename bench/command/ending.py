"""How a command ends: with an exit status, and if it did not go well, with one line on the standard error."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench.errors import LostWorkersError, UsageError, is_disk_error
from bench.machine.signals import Interrupted

_SIGPIPE = 13
"""POSIX's number of it; Windows has no such signal."""


def status_of(program: str, command: Callable[[], int]) -> int:
    """Return the exit status of a command.

    It is the command's own, 1 if nothing more could be written or workers were lost, 2 on a user's mistake, and 128 + a
    signal that ended it.

    Args:
        program: its name, for the line.
        command: runs it.

    """
    _prepare_output()
    try:
        status = command()
        sys.stdout.flush()
        return status
    except UsageError as error:
        sys.stderr.write(f"{program}: error: {error}\n")
        return 2
    except (KeyboardInterrupt, Interrupted) as error:
        number = error.number if isinstance(error, Interrupted) else signal.SIGINT
        name = signal.Signals(number).name
        sys.stderr.write(f"{program}: interrupted by {name}; the same command, without --force, goes on from there\n")
        return 128 + number
    except LostWorkersError as error:
        sys.stderr.write(f"{program}: error: {error}\n" if str(error) else "")  # one rank of several says it
        return 1
    except BrokenPipeError:  # whoever reads our output has seen enough, as in `--list | head`
        sys.stdout = None
        return 128 + _SIGPIPE
    except OSError as error:
        if not is_disk_error(error):
            raise
        target = error.filename or "the standard output, or to a file"
        kept = "what is finished is kept, and the same command goes on from there"
        sys.stderr.write(f"{program}: error: cannot write to {target}: {error.strerror}; {kept}\n")
        sys.stdout = None  # else Python would try once more to write what it has buffered
        return 1


def _prepare_output() -> None:
    """Let anything be written to the standard output, be it closed or of an encoding without some of our characters."""
    if sys.stdout is None:  # it was closed, as by `>&-`
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe on Windows has not all
        sys.stdout.reconfigure(errors="backslashreplace")

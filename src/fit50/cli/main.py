"""From words to a verb, and from an exception to an exit code."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import CycloptsError, UnknownOptionError

from fit50.cli.options import field_hint
from fit50.cli.stopping import stopped_by_sigterm
from fit50.cli.verbs import app
from fit50.spec.errors import Stopped, UserError

_DOTTED = re.compile(r"--([a-z_]+(?:\.|\[)[^=]*)(?:=(.*))?", re.DOTALL)
_KEPT = "what optimize, train and prune have done is kept: run the same command again to go on"
_TRAINING = {"torch", "safetensors", "lightning_fabric", "scipy", "nncf", "onnx", "onnxscript"}


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits.

    0 for success, 2 for the user's mistake, 1 for ours, 130 after Ctrl-C, 143 after SIGTERM.
    """
    given = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in given
    try:
        with stopped_by_sigterm():
            app(dotted([word for word in given if word != "--debug"]), exit_on_error=False, print_error=False)
    except (CycloptsError, UserError) as error:
        if debug:
            traceback.print_exc()
        unknown = error.token.keyword if isinstance(error, UnknownOptionError) else None
        _end(f"error: {error}{field_hint(given[0], unknown) if unknown else ''}", 2)
    except BrokenPipeError:  # whoever read the output has gone, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        _end(f"\nstopped; {_KEPT}", 130)
    except Stopped as stopped:
        _end(f"\n{stopped}; {_KEPT}", 143)
    except Exception as error:
        if debug:
            raise
        if _of_training(error) and "Connection closed by peer" in str(error):
            _end("error: another process of this training has ended; its message says why", 1)
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _TRAINING:
            install = "install it with: pip install 'fit50[train]'"
            _end(f"error: fit50 {given[0]} needs the package {error.name!r}; {install}", 2)
        _end(f"error: this is a fault of fit50: {type(error).__name__}: {error}\n(--debug shows where)", 1)
    sys.exit(0)


def dotted(words: Sequence[str]) -> list[str]:
    """``--train.epochs 30`` as ``--set train.epochs=30``: the options are the fields of the spec."""
    result, rest = [], iter(words)
    for word in rest:
        match = _DOTTED.fullmatch(word)
        if match is None:
            result.append(word)
            continue
        path, value = match.groups()
        result += ["--set", f"{path}={next(rest, '') if value is None else value}"]
    return result


def _of_training(error: Exception) -> bool:
    """Whether torch.distributed raised this: a class of its own, or what gloo, which it calls, has only words for."""
    return type(error).__module__ == "torch.distributed" or (type(error) is RuntimeError and "gloo/" in str(error))


def _end(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)

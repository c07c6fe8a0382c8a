"""The entry point: what is answered at once, and the only place where errors become exit codes.

Exit codes: 0 ok · 1 error · 2 usage · 3 not found · 4 gate failed · 5 budget reached · 6 provider or key ·
130 interrupted.
"""

import contextlib
import errno
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from skill_fleet import __version__

if TYPE_CHECKING:
    from skill_fleet.foundation.errors import SkillFleetError

_BUG = 1
_TRACEBACK = "SKILL_FLEET_DEBUG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and say how it ended.

    Args:
        arguments: The words after `skill-fleet`; None reads the process's own.

    Returns:
        The exit code.
    """
    _tolerant()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        sys.stdout.write(f"skill-fleet {__version__}\n")
        return 0
    code = _answered(words)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _reader_is_gone()
    except OSError as error:
        sys.stderr.write(f"error: The output cannot be written: {error.strerror}.\n")
        _reader_is_gone()
        return code or _BUG
    return code


def _answered(words: list[str]) -> int:
    from skill_fleet.cli.app import ReaderGone, run
    from skill_fleet.foundation.errors import Interrupted, SkillFleetError

    try:
        with contextlib.redirect_stdout(sys.stdout):  # a command leaves it to what programs print
            return run(_workspace_first(words))
    except SkillFleetError as error:
        return _told(error, words)
    except SystemExit as left:
        return _told(_exit_refused(left), words)
    except KeyboardInterrupt:
        return _told(Interrupted("Interrupted."), words)
    except (ReaderGone, BrokenPipeError):
        _reader_is_gone()
        return 0
    except Exception as error:  # noqa: BLE001 - the edge of the process: a bug is one line too
        return _told(_full(error) or _bug(error), words)


def _told(error: "SkillFleetError", words: Sequence[str]) -> int:
    """One sentence on stderr, and JSON on stdout where that was asked for."""
    from skill_fleet.cli.plain import plain

    said = " ".join(part for part in (error.message, error.hint) if part)
    sys.stderr.write(f"error: {plain(said)}\n")
    if "--json" in words:
        with contextlib.suppress(OSError):  # stdout may be a file on the disk that is full
            sys.stdout.write(json.dumps({"error": error.to_json()}, ensure_ascii=False) + "\n")
    return error.exit_code


def _full(error: Exception) -> "SkillFleetError | None":
    """What to say where the disk is full; None of any other error."""
    if not isinstance(error, OSError) or error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return None
    from skill_fleet.foundation.errors import StorageError

    return StorageError(f"The output cannot be written: {error.strerror}.", hint="Free some disk space.")


def _bug(error: Exception) -> "SkillFleetError":
    from skill_fleet.config.load import environment
    from skill_fleet.foundation.errors import SkillFleetError
    from skill_fleet.foundation.redaction import secrets_of, without_keys, without_secrets

    environ = environment()

    def shown(text: str) -> str:
        return without_keys(without_secrets(text, secrets_of(environ)))

    hint = f"This is a bug; {_TRACEBACK}=1 shows the traceback."
    if environ.get(_TRACEBACK):
        import traceback

        sys.stderr.write(shown("".join(traceback.format_exception(error))))
        hint = "This is a bug."
    return SkillFleetError(shown(f"Unexpected {type(error).__name__}: {error}."), hint=hint, code="bug")


def _exit_refused(left: SystemExit) -> "SkillFleetError":
    from skill_fleet.foundation.errors import ProgramError

    return ProgramError(
        f"Code of a program or metric ended the process (SystemExit: {left.code}).",
        hint="Code that is imported or called here may not exit.",
    )


def _workspace_first(words: list[str]) -> list[str]:
    """`--workspace` may stand anywhere: moved to before the command, where it is read."""
    end = words.index("--") if "--" in words else len(words)
    for place, word in enumerate(words[:end]):
        if word == "--workspace" and place + 1 < end:
            return [word, words[place + 1], *words[:place], *words[place + 2 :]]
        if word.startswith("--workspace="):
            return [word, *words[:place], *words[place + 1 :]]
    return words


def _tolerant() -> None:
    """A character that the terminal's encoding does not have becomes a question mark, not an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _reader_is_gone() -> None:
    """Who read our output has closed it: nothing more to say, and nothing to complain about."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

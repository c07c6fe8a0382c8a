"""Everything there is to look at, in order."""

from collections.abc import Callable, Iterator
from pathlib import Path

from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.services.context import Context, open_context
from skill_fleet.services.doctor.check import Check
from skill_fleet.services.doctor.configuration import configuration, plugins, proxies
from skill_fleet.services.doctor.data import data
from skill_fleet.services.doctor.disk import disk
from skill_fleet.services.doctor.journal import journal
from skill_fleet.services.doctor.leftovers import leftovers
from skill_fleet.services.doctor.limits import limits
from skill_fleet.services.doctor.models import models, models_of
from skill_fleet.services.doctor.reach import Reach
from skill_fleet.services.doctor.service import service
from skill_fleet.services.doctor.versions import versions

NETWORK_SECONDS = 2.0
"""How long providers may take together; what has not answered by then counts as silent."""

Look = Callable[[Context], Iterator[Check]]
_HERE: tuple[Look, ...] = (disk, journal, data, leftovers, plugins, service)


def examine(workspace: Path | None, *, offline: bool = False, every: bool = False) -> list[Check]:
    """Everything there is to look at; where the configuration is wrong, that and the versions.

    Providers are asked which models they have, with the key that is configured for them: that costs nothing.
    They are asked beside each other, while the rest is looked at.

    Args:
        workspace: As for `open_context`.
        offline: Ask nobody: look at this machine, and at the service's database, only.
        every: Look at every registered model, not only at those that phases use.
    """
    checks = list(versions())
    try:
        context = open_context(workspace)
    except SkillFleetError as error:
        return [*checks, Check("configuration", "error", error.message, error.hint)]
    chosen = models_of(context, every=every)
    reach = None if offline else Reach.begun(context, chosen, NETWORK_SECONDS)
    checks += [*configuration(context), *models(context, chosen), *limits(context, chosen), *proxies(context)]
    rest = [check for look in _HERE for check in _looked(look, context)]
    if reach is not None:
        checks += reach.checks(context.clock)
    return [*checks, *rest]


def _looked(look: Look, context: Context) -> Iterator[Check]:
    """What one look finds; a file that it may not see ends it, and is told."""
    try:
        yield from look(context)
    except OSError as error:
        place = error.filename or context.workspace.root
        said = f"{place} cannot be looked at: {error.strerror or error}."
        yield Check(look.__name__, "error", said, "Look as the user it belongs to, or let this one read it.")

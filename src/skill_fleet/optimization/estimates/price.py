"""The estimate of a run: made once, before it begins, and kept with it."""

from typing import Any

from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.optimization.conclusions.foresight import reading_of
from skill_fleet.optimization.estimates.estimate import cap_warnings, estimate
from skill_fleet.optimization.estimates.profile import Profile, load_profile, profiled
from skill_fleet.optimization.planning.plan import Plan
from skill_fleet.optimization.session import Session


def priced(plan: Plan, *, reading: int = 1, profile: Profile | None = None) -> dict[str, Any]:
    """What a run would take: `estimate`, and `profile`, what it was sized by and what that took, or null."""
    size = None if profile is None else profiled(plan, profile)
    return {
        **estimate(plan, reading=reading, size=size),
        "profile": None if profile is None else profile.shown(),
    }


def price_of_run(session: Session) -> dict[str, Any]:
    """The estimate that a run began with; what its caps say of it is warned of, as they are now.

    A resumed run keeps its first one: that is what its actual price is held against.
    """
    file, limits = session.folder.estimate, session.plan.request.limits
    if file.exists():
        found: dict[str, Any] = read_json(file, what="estimate")
        found["warnings"] = [{"code": code, "message": said} for code, said in cap_warnings(limits, found)]
    else:
        profile = load_profile(session.folder)
        found = priced(session.plan, reading=reading_of(session), profile=profile)
        write_json(file, found)
    for warning in found["warnings"]:
        session.warn(warning["code"], warning["message"])
    return found

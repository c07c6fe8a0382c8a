"""A program that calls a model of its own is refused before a call is made: no journal would see it."""

import pytest

from skill_fleet.foundation.errors import ProgramError, UsageError
from skill_fleet.optimization.estimates.estimate import estimate
from skill_fleet.optimization.planning.plan import make_plan

SAID = r"calls a model of its own \(openai/gpt-own\)"


def test_a_predictor_that_holds_one_is_refused(place):
    with pytest.raises(UsageError, match="the predictor triage holds a model of its own"):
        make_plan(place.request(program="own_model:Held"), place.loaded)


def test_a_run_stops_at_the_first_call(place):
    import own_model

    program = "own_model:Switching"
    own_model.Sent.asked = 0
    with pytest.raises(ProgramError, match=SAID):
        estimate(make_plan(place.request(program=program), place.loaded))
    done = place.optimize(place.request(program=program))
    assert own_model.Sent.asked == 0
    assert (done.result.status, done.result.stop_reason) == ("failed", "program")
    assert done.error is not None
    assert done.error.exit_code == 1
    assert done.result.artifact is None

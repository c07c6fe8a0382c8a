"""What a command that is no run says where a run could be resumed."""

import pytest

from skill_fleet.foundation.errors import BudgetExhausted, ProviderError, SkillFleetError, StorageError
from skill_fleet.llm.failures import Failure, explained
from skill_fleet.llm.journal.store import KEPT as STORED
from skill_fleet.services.metered import without_run

KEPT = " Answers that are there cost nothing."


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            BudgetExhausted("The cap is reached.", hint="Raise the cap and resume the run."),
            "Raise the cap and give the command once more." + KEPT,
        ),
        (
            explained(ConnectionError("gone"), Failure("server", "retry", sent=True), "openai/x"),
            "Give the command once more when the provider answers again." + KEPT,
        ),
        (
            explained(ConnectionError("too many"), Failure("rate_limit", "retry", sent=False), "openai/x"),
            "Lower rpm, tpm or in_flight of this model, and give the command once more." + KEPT,
        ),
        (
            explained(ConnectionError("nobody"), Failure("transport", "retry", sent=False), "openai/x"),
            "Check the network, and that a server runs at the model's api_base; "
            "then give the command once more." + KEPT,
        ),
        (
            StorageError("Full.", hint=f"Free some disk space and resume the run: {STORED}."),
            f"Free some disk space and give the command once more: {STORED}.",
        ),
    ],
)
def test_the_command_is_given_once_more(error: SkillFleetError, hint: str) -> None:
    before = error.hint
    told = without_run(error)
    assert told.hint == hint
    assert (type(told), told.message, told.code) == (type(error), error.message, error.code)
    assert error.hint == before, "others are told of the very same error"


def test_what_says_nothing_of_runs_is_left_alone() -> None:
    error = ProviderError("Bad key.", hint="Check the key.")
    assert without_run(error) is error

"""Drafts whose answers have no form: no other draft is lost for them, and asking for more of them helps."""

import dataclasses
from typing import Any

import pytest
from dspy.lm15 import Message

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.offline.model import OfflineModel
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.services.context import open_context
from skill_fleet.services.creation import CreationRequest, create_skill

TASK = "Help our team roll back a failed Helm release"


class Formless(ScriptedModel):
    """The offline model, which answers without form in certain drafts.

    Args:
        first: Whether in the first.
        others: Whether in those that are drawn anew.
    """

    def __init__(self, *, first: bool, others: bool) -> None:
        super().__init__()
        self._formless = {False: first, True: others}

    def _respond(self, request: Any) -> Any:
        response = OfflineModel().complete(request)
        if self._formless[(request.config.temperature or 0.0) == 1.0]:
            return dataclasses.replace(response, message=Message.assistant("Sorry, I cannot do that."))
        return response


def made(root: Any, model: Any, **asked: int) -> dict[str, Any]:
    context = open_context(root, environ={}, flags={}, models=lambda _spec, _environ: model)
    return create_skill(context, CreationRequest(TASK, **asked))


def skills(root: Any) -> list[Any]:
    return list(root.rglob("SKILL.md"))


def test_a_draft_that_cannot_be_read_costs_no_other(workspace):
    value = made(workspace, Formless(first=False, others=True), best_of=3)
    assert len(value["drafts"]) == 1
    assert value["error"] is None
    assert value["notes"] == ["2 of 3 drafts did not have the form that was asked for."]
    assert len(skills(workspace)) == 1


def test_the_advice_after_one_that_cannot_be_read_helps(workspace):
    model = Formless(first=True, others=False)
    with pytest.raises(ProviderError, match="twice") as caught:
        made(workspace, model)
    assert caught.value.hint == "Try another model, or --best-of 2."
    asked = model.attempts
    value = made(workspace, model, best_of=2)
    assert len(value["drafts"]) == 1
    assert model.attempts == asked + value["calls"]["made"], "the first draft's answers are the journal's"
    assert value["calls"]["from_journal"] == asked
    assert value["notes"] == ["1 of 2 drafts did not have the form that was asked for."]


@pytest.mark.parametrize(
    ("asked", "said", "hint"),
    [
        ({"best_of": 3}, "asked for, twice, in none of 3 drafts.", "Try another model, or --best-of 6."),
        ({"refine": 2}, "asked for, twice, in none of 2 drafts.", "Try another model, or --refine 4."),
        ({"best_of": 64}, "in none of 64 drafts.", "Try another model."),
    ],
)
def test_where_none_can_be_read_the_provider_failed(workspace, asked, said, hint):
    with pytest.raises(ProviderError) as caught:
        made(workspace, Formless(first=True, others=True), **asked)
    assert caught.value.message.endswith(said)
    assert (caught.value.hint, caught.value.code) == (hint, "unreadable_answer")
    assert skills(workspace) == []


def test_drafts_that_can_all_be_read_are_told_of_without_a_note(workspace):
    value = made(workspace, Formless(first=False, others=False), best_of=2)
    assert (len(value["drafts"]), value["notes"]) == (2, [])

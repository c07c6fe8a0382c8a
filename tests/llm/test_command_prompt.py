"""A conversation as one text: every turn comes back as it went in."""

import pytest
from dspy.lm15 import FunctionTool, ImagePart, Message, Request, TextPart
from dspy.utils.exceptions import LMUnsupportedFeatureError
from hypothesis import given
from hypothesis import strategies as st

from command_programs import conversation_in
from skill_fleet.llm.commands.prompt import conversation

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(
        ["=== user ===\nno", "a\n==== assistant ====\nb", "=== system ===", "[[ ## a ## ]]\nx\n\n"]
    ),
)


def asked(*said: tuple[str, str], system: str | None = None) -> Request:
    makers = {"user": Message.user, "assistant": Message.assistant, "developer": Message.developer}
    return Request(model="m", messages=tuple(makers[role](text) for role, text in said), system=system)


def test_the_form_is_the_documented_one() -> None:
    text = conversation(asked(("user", "hello"), ("assistant", "hi"), ("user", "bye"), system="Be kind."))
    assert text == (
        "Below is a conversation, each turn under a heading of its own. Write the next turn of the assistant "
        "and nothing else: no heading, no remark before or after it. Use no tools.\n\n"
        "=== system ===\nBe kind.\n\n=== user ===\nhello\n\n=== assistant ===\nhi\n\n=== user ===\nbye\n"
    )


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "developer"]), TEXTS), min_size=1), TEXTS)
def test_every_turn_survives_whatever_it_says(turns: list[tuple[str, str]], system: str) -> None:
    _, back = conversation_in(conversation(asked(*turns, system=system)))
    assert back == [("system", system), *turns]


def test_what_is_no_text_is_refused_by_name() -> None:
    picture = Request(model="m", messages=(Message.user([ImagePart(data="eA==", media_type="image/png")]),))
    with pytest.raises(LMUnsupportedFeatureError, match="text only, not image"):
        conversation(picture)
    tool = FunctionTool(name="f", description="d", parameters={"type": "object", "properties": {}})
    with pytest.raises(LMUnsupportedFeatureError, match="no tools"):
        conversation(Request(model="m", messages=(Message.user("x"),), tools=(tool,)))


def test_a_system_prompt_in_parts_is_joined() -> None:
    request = Request(model="m", messages=(Message.user("x"),), system=(TextPart("a"), TextPart("b")))
    assert conversation_in(conversation(request))[1][0] == ("system", "a\nb")

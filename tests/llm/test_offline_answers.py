"""The offline model and other people's signatures: labels, numbers, lists, objects, short answers."""

from typing import Any, Literal

import dspy
import pydantic
import pytest

from skill_fleet.llm.offline.model import OfflineModel, model_name

TICKETS = [
    ("I was charged twice and want my refund", "billing"),
    ("The invoice for May is wrong", "billing"),
    ("A refund for the second seat, please", "billing"),
    ("The app crashes when I open settings", "tech"),
    ("Login fails with error 500 since the update", "tech"),
    ("It crashes on my phone again", "tech"),
    ("Where is my parcel?", "shipping"),
    ("The delivery came a week late", "shipping"),
    ("The parcel was left in the rain", "shipping"),
]


class Route(dspy.Signature):
    """Route the ticket."""

    ticket: str = dspy.InputField()
    label: Literal["tech", "billing", "shipping"] = dspy.OutputField()


class Person(pydantic.BaseModel):
    name: str
    age: int
    mood: Literal["calm", "cross"]
    tags: list[str]
    boss: "Person | None" = None


@pytest.fixture(autouse=True)
def offline() -> Any:
    with dspy.context(lm=dspy.LM(model_name(), engine=OfflineModel(), cache=False)):
        yield


def accuracy(predictor: dspy.Predict) -> float:
    return sum(predictor(ticket=ticket).label == label for ticket, label in TICKETS) / len(TICKETS)


def test_labels_follow_rules_of_the_instruction() -> None:
    rules = (
        "Route the ticket. If the ticket mentions 'refund' or 'invoice', answer billing. "
        "Answer tech when the ticket mentions a crash or an error. "
        "Use the label shipping for tickets about parcels or delivery."
    )
    assert accuracy(dspy.Predict(Route)) < 0.7
    assert accuracy(dspy.Predict(Route.with_instructions(rules))) >= 0.85


def test_labels_follow_definitions() -> None:
    said = (
        "Route it.\n- billing: refunds, invoices, charges\n- tech: crashes, errors, login\n"
        "- shipping: parcels, delivery"
    )
    assert accuracy(dspy.Predict(Route.with_instructions(said))) >= 0.75


def test_labels_follow_near_demonstrations() -> None:
    predictor = dspy.Predict(Route)
    predictor.demos = [
        dspy.Example(ticket="My refund for the invoice has not come", label="billing"),
        dspy.Example(ticket="The app crashes, error on login", label="tech"),
        dspy.Example(ticket="The parcel and its delivery are lost", label="shipping"),
    ]
    assert accuracy(predictor) >= 0.75


def test_open_answers_become_labels_when_demonstrations_show_some() -> None:
    predictor = dspy.Predict("ticket -> team")
    predictor.demos = [
        dspy.Example(ticket=text, team=team)
        for text, team in [
            ("refund the invoice", "red team"), ("invoice twice", "red team"),
            ("crash on start", "blue team"), ("login error crash", "blue team"),
        ]
    ]  # fmt: skip
    assert predictor(ticket="please refund this invoice").team == "red team"
    assert predictor(ticket="a crash after login").team == "blue team"


def test_short_answers_are_found_in_the_context() -> None:
    context = "The museum opened in 1902. Its architect was Ada Bell. Admission costs nine euros on weekdays."
    answer = dspy.Predict("question, context -> answer")(question="Who was its architect?", context=context)
    assert "Ada Bell" in answer.answer
    assert answer.answer in context


def test_every_type_gets_a_value_of_its_type() -> None:
    class Odd(dspy.Signature):
        """Fill everything in."""

        text: str = dspy.InputField()
        number: int = dspy.OutputField()
        score: float = dspy.OutputField(ge=0.2, le=0.4)
        fine: bool = dspy.OutputField()
        words: list[str] = dspy.OutputField()
        counts: dict[str, int] = dspy.OutputField()
        maybe: str | None = dspy.OutputField()
        person: Person = dspy.OutputField()
        people: list[Person] = dspy.OutputField()
        picks: list[Literal["one", "two"]] = dspy.OutputField()

    for text in ("Seven apples for Ann", "", "12 monkeys"):
        filled = dspy.Predict(Odd)(text=text)
        assert isinstance(filled.number, int)
        assert 0.2 <= filled.score <= 0.4
        assert isinstance(filled.fine, bool)
        assert isinstance(filled.person, Person)
        assert isinstance(filled.people[0], Person)
        assert set(filled.picks) <= {"one", "two"}
        assert isinstance(filled.counts, dict)
    assert dspy.Predict("text -> number: int")(text="12 monkeys").number == 12


def test_a_free_answer_follows_what_the_instruction_demands() -> None:
    signature = dspy.Signature(
        "question -> answer", "Answer. Mention the word 'quixotry'. End the answer with 'So be it.'"
    )
    answer = dspy.Predict(signature)(question="Why do cats purr?").answer
    assert "quixotry" in answer
    assert answer.endswith("So be it.")


def test_an_agent_loop_ends() -> None:
    def search(query: str) -> str:
        """Search."""
        return f"nothing about {query}"

    answer = dspy.ReAct("question -> answer", tools=[search], max_iters=5)(question="Why do cats purr?")
    assert answer.answer


def test_without_structure_it_says_something_about_the_prompt() -> None:
    said = dspy.settings.lm("Tell me about glacier caves.")
    text = said[0] if isinstance(said[0], str) else said[0]["text"]
    assert "glacier" in text

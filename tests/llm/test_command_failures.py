"""What programs say when they fail, in the words that they use, and what it is taken for."""

import errno

import pytest
from dspy.utils.exceptions import LMConfigurationError

from skill_fleet.llm.commands.failures import (
    NotStarted,
    failed,
    no_text,
    not_started,
    printed_too_much,
    said_instead,
    stopped,
    timed_out,
)
from skill_fleet.llm.failures import explained, understand

STOP, WAIT, GIVE_UP = "stop", "retry", "give_up"
SAID = [
    ("Prompt is too long", "context_window_exceeded", GIVE_UP, False),
    (
        "Error: 400 This model's maximum context length is 8192 tokens",
        "context_window_exceeded",
        GIVE_UP,
        False,
    ),
    ("Invalid API key · Please run /login", "auth", STOP, False),
    ("Not logged in · Please run /login", "auth", STOP, False),
    ("unexpected status 401 Unauthorized: Missing bearer", "auth", STOP, False),
    (
        "Please set an Auth method in your settings.json or specify GEMINI_API_KEY: no API key",
        "auth",
        STOP,
        False,
    ),
    ("Error: No key found - add one using 'llm keys set openai'", "auth", STOP, False),
    ("No authentication information found.", "auth", STOP, False),
    ("Credit balance is too low", "billing", STOP, False),
    ("You've hit your session limit · resets 5:10pm (Europe/Paris)", "billing", STOP, False),
    ("You've hit your limit · resets 3:30am (Asia/Calcutta)", "billing", STOP, False),
    ("ERROR: You've hit your usage limit. Upgrade to Pro or try again in 2 days.", "billing", STOP, False),
    ("Error code: 429 - {'error': {'code': 'insufficient_quota'}}", "billing", STOP, False),
    ("You exceeded your current quota, please check your plan and billing details.", "billing", STOP, False),
    ("Quota exceeded for quota metric 'Requests' and limit 'Requests per day'", "billing", STOP, False),
    ("Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'", "rate_limit", WAIT, False),
    ("You've hit your rate limit.", "rate_limit", WAIT, False),
    ("429 Too Many Requests", "rate_limit", WAIT, False),
    ("status: RESOURCE_EXHAUSTED", "rate_limit", WAIT, False),
    ("API Error: 529 {'type':'overloaded_error'}", "server", WAIT, True),
    ("upstream connect error: 503 Service Unavailable", "server", WAIT, True),
    ("Error: model 'nosuch' not found", "unsupported_model", STOP, False),
    ("error: unexpected argument '--ephemeral' found", "configuration", STOP, False),
    ("unknown shorthand flag: 'z' in -z", "configuration", STOP, False),
    ("Segmentation fault (core dumped)", "command_failed", WAIT, True),
    ("", "command_failed", WAIT, True),
]


@pytest.mark.parametrize(("said", "code", "remedy", "sent"), SAID)
def test_words_decide_what_is_done(said: str, code: str, remedy: str, sent: bool) -> None:
    found = understand(failed("prog", 1, said, "", "command/prog"))
    assert (found.code, found.remedy, found.sent) == (code, remedy, sent)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Rate limit reached. Please try again in 21.509s.", 21.509),
        ("Rate limit is exceeded. Try again in 17 seconds.", 17),
        ("rate limit: retry after 300ms", 0.3),
        ("rate limit: wait for 2 minutes", 120),
        ("Rate limit reached.", None),
    ],
)
def test_the_pause_it_was_asked_for_is_read(said: str, seconds: float | None) -> None:
    assert understand(failed("prog", 1, said, "", "command/prog")).retry_after == seconds


def test_what_it_printed_counts_where_its_standard_error_says_nothing() -> None:
    assert failed("p", 1, "", "Credit balance is too low\n", "m").code == "billing"
    assert failed("p", 1, "warning: old node", "Credit balance is too low\n", "m").code == "billing"
    half = "A skill about an API key that is not found. " * 30
    assert failed("p", 1, "", half, "m").code == "command_failed"  # half an answer, not a message


@pytest.mark.parametrize("status", [126, 127])
def test_a_wrapper_that_finds_no_program_is_a_matter_of_configuration(status: int) -> None:
    found = failed("wrap", status, "env: claude: No such file or directory", "", "m")
    assert isinstance(found, LMConfigurationError)
    assert understand(found).remedy == "stop"


def test_the_sentence_names_program_status_and_the_line_that_says_most() -> None:
    words = (
        "node:internal\n    at Object.run (file.js:1)\nError: the disk of the server is gone.\n    at main\n"
    )
    error = failed("prog", 3, words, "", "command/prog")
    told = explained(error, understand(error), "command/prog")
    assert told.message == (
        "The model command/prog failed (command_failed): prog ended with status 3: "
        "Error: the disk of the server is gone."
    )
    assert failed("prog", -9, "", "", "m").message == "prog was killed by signal 9, and said nothing"
    half = failed("prog", 3, "", "Here is an answer\nthat is not whole", "m").message
    assert half == "prog ended with status 3, without a word of why; it printed: that is not whole"
    both = failed("prog", 3, "error: no disk", "Here is half an answer", "m").message
    assert both == "prog ended with status 3: error: no disk"


def test_the_hint_is_what_helps_with_a_command() -> None:
    error = failed("claude", 1, "Not logged in", "", "command/claude")
    hint = explained(error, understand(error), "command/claude").hint
    assert hint.startswith("Log in with the program itself")
    long = timed_out("claude", 90.0, "command/claude")
    assert explained(long, understand(long), "command/claude").hint == (
        "Raise timeout of this model (below 120), or lower its in_flight."
    )


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (failed("p", 3, "", "", "m"), "by hand"),
        (failed("p", -9, "", "", "m"), "memory"),
        (failed("p", -11, "", "", "m"), "crashed"),
        (no_text("p", 5, "m"), "UTF-8"),
        (printed_too_much("p", 8, "m"), "the answer alone"),
    ],
)
def test_each_end_has_its_own_advice(error: Exception, advice: str) -> None:
    assert advice in explained(error, understand(error), "m").hint


@pytest.mark.parametrize(
    ("printed", "code"),
    [
        ("Claude AI usage limit reached|1749924000\n", "billing"),
        ("You've hit your limit · resets 3:30am", "billing"),
        ("Credit balance is too low", "billing"),
        ("Invalid API key · Please run /login", "auth"),
        ("API Error: 500 Internal server error", "server"),
        ("Prompt is too long", "context_window_exceeded"),
    ],
)
def test_a_message_in_place_of_an_answer_is_no_answer(printed: str, code: str) -> None:
    found = said_instead("claude", printed, "m")
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    "answer",
    [
        "[[ ## name ## ]]\nNot logged in\n\n[[ ## completed ## ]]",
        "A skill for users who are not logged in.",
        "Prompt is too long, so cut it: " + "and then more " * 40,
        "",
    ],
)
def test_an_answer_that_speaks_of_such_things_is_one(answer: str) -> None:
    assert said_instead("claude", answer, "m") is None


def test_unreadable_and_slow_answers_may_have_been_billed() -> None:
    for error, code in (
        (no_text("p", 5, "m"), "malformed"),
        (printed_too_much("p", 8, "m"), "malformed"),
        (timed_out("p", 1.0, "m"), "timeout"),
    ):
        found = understand(error)
        assert (found.code, found.remedy, found.sent) == (code, WAIT, True)


def test_a_machine_without_room_for_a_process_is_tried_again_and_nothing_is_billed() -> None:
    found = not_started("p", OSError(errno.EAGAIN, "no more processes"), "m")
    assert isinstance(found, NotStarted)
    assert (understand(found).remedy, understand(found).sent) == (WAIT, False)
    gone = understand(not_started("p", FileNotFoundError(errno.ENOENT, "No such file or directory"), "m"))
    assert (gone.code, gone.remedy, gone.sent) == ("configuration", STOP, False)


def test_one_that_nobody_waits_for_is_not_said_to_be_late() -> None:
    found = understand(stopped("p", "command/p"))
    assert (found.code, found.remedy, found.sent) == ("transport", "retry", True)
    assert "within" not in str(stopped("p", "command/p"))

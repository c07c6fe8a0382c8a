"""Who reads a skill while it is written: every word once, what failed taken back, nothing else changed."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from dspy.utils.exceptions import LMInvalidRequestError, LMStreamAssemblyError, LMTransportError

from skill_fleet.llm.offline.model import OfflineModel
from skill_fleet.services.context import open_context
from skill_fleet.services.creation import CreationRequest, create_skill
from streaming_models import WordByWord

TASK = "Help our team roll back a failed Helm release"
MARK = re.compile(r"\[\[ ## (\w+) ## \]\]")
QUICK = {"calls.first_pause": 0.001}


class OfflineWords(WordByWord):
    """The offline model, word by word."""

    def _respond(self, request: Any) -> Any:
        return OfflineModel().complete(request)


@dataclass
class Notes:
    """A reader that keeps what it was shown: the steps, and the text of each attempt."""

    steps: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.steps.append(name)

    def begins(self) -> None:
        self.texts.append("")

    def says(self, text: str, *, thought: bool) -> None:
        assert not thought
        self.texts[-1] += text


def made(root: Any, model: Any, request: CreationRequest | None = None, **options: Any) -> dict[str, Any]:
    context = open_context(root, environ={}, flags=QUICK, models=lambda _spec, _environ: model)
    return create_skill(context, request or CreationRequest(TASK), **options)


def journaled(root: Any) -> list[Any]:
    import sqlite3

    with sqlite3.connect(next(root.rglob("responses*.sqlite"))) as db:
        found = db.execute("select key, body from response order by key").fetchall()
    db.close()
    return found


def test_every_step_is_told_and_every_word_shown(workspace):
    notes = Notes()
    value = made(workspace, model := OfflineWords(), reader=notes)
    assert notes.steps[:4] == ["understand", "plan", "write", "review"]
    assert model.streamed == model.attempts == len(notes.texts) == value["calls"]["made"]
    written = notes.texts[notes.steps.index("write")]
    body = (workspace / value["path"]).read_text().partition("\n# ")[2]
    assert MARK.findall(written) == ["skill_content", "completed"]
    assert body[:200] in written


def test_nothing_is_different_for_being_read(tmp_path):
    alone, watched = tmp_path / "alone", tmp_path / "watched"
    for root in (alone, watched):
        (root / "config").mkdir(parents=True)
    first = made(alone, OfflineWords())
    second = made(watched, OfflineWords(), reader=Notes())
    assert first == second
    assert (alone / first["path"]).read_bytes() == (watched / second["path"]).read_bytes()
    assert journaled(alone) == journaled(watched), "the journal's answers are the same bytes"


def test_without_a_reader_nothing_is_streamed(workspace):
    made(workspace, model := OfflineWords())
    assert model.streamed == 0 < model.attempts


def test_an_attempt_that_breaks_off_is_made_again_and_begins_anew(workspace):
    def breaks(attempt: int, piece: int) -> None:
        if attempt == 2 and piece == 4:
            raise LMTransportError("the connection broke")

    notes = Notes()
    value = made(workspace, OfflineWords(breaks=breaks), reader=notes)
    assert len(notes.texts) == value["calls"]["made"] == len(notes.steps) + 1
    assert notes.texts[2].startswith(notes.texts[1])
    assert len(notes.texts[2]) > len(notes.texts[1])


def test_a_stream_that_ends_too_soon_was_one_all_the_same(workspace):
    def breaks(attempt: int, piece: int) -> None:
        if attempt == 2 and piece == 4:
            raise LMStreamAssemblyError("no end")

    made(workspace, model := OfflineWords(breaks=breaks), reader=Notes())
    assert model.streamed == model.attempts


def test_what_the_journal_has_is_not_shown_again(workspace):
    request = CreationRequest(TASK, output="out", force=True)
    made(workspace, OfflineWords(), request, reader=Notes())
    notes = Notes()
    value = made(workspace, OfflineWords(), request, reader=notes)
    assert value["calls"]["made"] == 0
    assert notes.texts == []
    assert notes.steps


@pytest.mark.parametrize("way", ["best_of", "refine"])
def test_steps_of_every_draft_have_their_names(workspace, way):
    notes = Notes()
    drafts: list[tuple[int, int]] = []
    value = made(
        workspace,
        OfflineWords(),
        CreationRequest(TASK, **{way: 3}),
        reader=notes,
        on_draft=lambda done, total: drafts.append((done, total)),
    )
    assert notes.steps.count("write") == 3, "copies of a program have the names of the program"
    assert set(notes.steps) <= {"understand", "plan", "write", "review", "repair", ""}
    assert ("" in notes.steps) == (way == "refine"), "advice is no step of the program"
    assert drafts == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert len(notes.texts) == value["calls"]["made"]


def test_an_offline_model_is_not_heard_and_its_steps_are(workspace):
    notes = Notes()
    create_skill(open_context(workspace, environ={}), CreationRequest(TASK), reader=notes)
    assert set(notes.texts) == {""}
    assert "write" in notes.steps


@pytest.mark.parametrize("refusal", [LMStreamAssemblyError("no end"), LMInvalidRequestError("no `stream`")])
def test_a_server_that_knows_no_streams_is_asked_whole_from_then_on(workspace, refusal):
    def breaks(_attempt: int, _piece: int) -> None:
        raise refusal

    notes = Notes()
    value = made(
        workspace, model := OfflineWords(breaks=breaks), CreationRequest(TASK, best_of=2), reader=notes
    )
    assert model.streamed == 1, "over all drafts"
    assert model.attempts == value["calls"]["made"] == len(notes.texts)
    assert set(notes.texts) == {""}
    assert (workspace / value["path"]).exists()

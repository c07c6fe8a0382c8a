"""Sentences for a section, by what its title promises.

A title is recognised by its words alone (`Rollback`, `Recovery`, `Undo` promise the same); an unknown
title gets a plain treatment built from its own words. Slots: `{goal}` the task as an instruction,
`{a}`...`{d}` its terms in turn, `{title}` the section's own title in lower case. A term may be singular
or plural, so none is ever the subject of a verb that would show it.
"""

import functools
import re
from dataclasses import dataclass
from typing import Literal

Shape = Literal["paragraph", "bullets", "steps", "boxes", "example"]


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a kind of section is written.

    Attributes:
        words: Beginnings of title words that promise it, separated by `|`.
        shape: Its list: bullets, numbered steps, boxes, an example with a fence, or none.
        opening: Sentences to open with; one is taken.
        items: What its list is made of, in an order that makes sense.
    """

    words: str
    shape: Shape
    opening: tuple[str, ...]
    items: tuple[str, ...]


_TREATMENTS = (
    Treatment(
        r"overview|introduction|summary|purpose|background|about",
        "paragraph",
        (
            (
                "This skill serves an agent that has to {goal}. Start with {a}: what is said later "
                "about {b} rests on it."
            ),
            (
                "Use this skill to {goal}. It deals with {a} first and with {b} next, and changes "
                "neither before the present state has been written down."
            ),
        ),
        (
            "It is the one to load when someone mentions {b}, {c} or what belongs to them.",
            "The outcome has to be something another person can check, with a plain word on {c}.",
            (
                "Where a decision about {c} belongs to the person who asked, put it to them in one "
                "sentence and wait."
            ),
            "Leave {d} alone unless the request names it, and say so in the hand-over.",
        ),
    ),
    Treatment(
        r"prerequisit|requirement|before you|setup|preparation|access",
        "bullets",
        ("Have these at hand before work on {a} begins:",),
        (
            "Read access to {a}, and the right to change it where the task asks for a change.",
            "A saved copy of {b} as found, under a name with today's date.",
            "The name of the person who decides about {c} when the facts do not.",
            "A place to try the work on {d} that nobody depends on.",
        ),
    ),
    Treatment(
        r"input|source data|material|parameters",
        "bullets",
        ("Collect the inputs first and note for each where it came from:",),
        (
            "For {a}: the version in force, with its date and its owner.",
            "For {b}: the values as delivered, kept unchanged beside the working copy.",
            "For {c}: the limits that apply, with the unit each is measured in.",
            "For {d}: what is known to be missing, so that a gap is not read as zero.",
        ),
    ),
    Treatment(
        (
            r"procedure|step|instruction|workflow|process|how|usage|method|approach|strategy"
            r"|implementation|practice"
        ),
        "steps",
        (
            "To {goal}, follow the steps in order and finish each before the next:",
            "Work in these steps, beginning with {a}; stop at the first one that fails:",
        ),
        (
            "Write down in one line what the request wants done about {a}, and what it leaves out.",
            "Look at {b} as found and compare that with what the request assumes; report any difference.",
            "Choose the smallest change that would satisfy the request, and try it on a copy of {a}.",
            "Apply it for real, one part at a time, recording the time and the effect on {c}.",
            (
                "Check {b} against the goal; when the check fails, undo the last part and return to "
                "the step before it."
            ),
            "Hand over: what was changed about {a}, how {d} came out, and which question stays open.",
        ),
    ),
    Treatment(
        r"syntax|form|notation|reference|command|quick",
        "example",
        ("The shortest complete form for {a} looks like this; replace the names with those of the task:",),
        (
            (
                "Name {a} once, at the top, and keep that name in every later step so that {b} can be "
                "traced back."
            ),
            "Keep everything that concerns {c} in one place, so that a reader changes it once.",
        ),
    ),
    Treatment(
        r"example|sample|snippet|demo|illustration|template",
        "example",
        (
            "A worked case: somebody wants to {goal}. For {a} that comes down to this:",
            "Suppose an agent has to {goal}. With {a} at hand, this is the core of it:",
        ),
        (
            (
                "Before, nobody had looked at {c}. Afterwards the check on {b} passes, and its output "
                "stands in the record."
            ),
            "Answer a request that leaves out {d} the same way, with that gap named at the top.",
        ),
    ),
    Treatment(
        r"pitfall|mistake|anti|gotcha|caveat|warning|avoid|limit",
        "bullets",
        ("What usually goes wrong around {a}:",),
        (
            (
                "Changing {a} together with {b}: when the result is off, nobody can tell which of the "
                "two did it. Change one, look, then change the other."
            ),
            "Trusting an old note about {c}. Look at the current state instead.",
            "Calling the work done as soon as {a} seems right. It is done when the check on {b} passes.",
            "Forgetting {d} in the hand-over, so that the next person has to find it again.",
        ),
    ),
    Treatment(
        r"checklist|check list|review|sign|acceptance|done",
        "boxes",
        ("Tick every box before handing over:",),
        (
            "The request to {goal} stands at the top, word for word.",
            "Read in the present state, not from memory: {a}.",
            "Checked by somebody or something other than the author: {b}.",
            "Every open point about {c} names the person who decides.",
            "Nothing was changed on the way beyond {d}.",
        ),
    ),
    Treatment(
        r"verif|validat|test|assert|quality|check|success|measure",
        "steps",
        ("Count the work on {a} as right only when all of this holds:",),
        (
            "Repeat the check on {a} from a clean start and compare the two results.",
            "Feed {b} one case that must fail, and see it fail with a message that names the cause.",
            "Compare {c} before and after; explain every difference in one sentence, or undo it.",
            "Have a second reader confirm {d} from the record alone.",
        ),
    ),
    Treatment(
        r"evidence|finding|citation|result|proof",
        "bullets",
        ("Keep the evidence for each statement about {a} beside it:",),
        (
            "The exact words or figure that support it, with the place in the source that deals with {b}.",
            "How strong it is: measured, reported by several, or one opinion on {c}.",
            "What would contradict it, and whether anybody looked for that under {d}.",
        ),
    ),
    Treatment(
        r"source|bibliograph|resource|literature|reading",
        "bullets",
        ("Look for material on {a} in this order and note the date of each find:",),
        (
            "Primary records: the original text, data or log that deals with {a}.",
            "Accounts by people who worked on {b} themselves.",
            "Summaries about {c}, used only to find more of the first two.",
            "Set aside anything on {d} whose author or date cannot be named.",
        ),
    ),
    Treatment(
        r"rollback|recover|undo|restore|revert|fallback|abort",
        "steps",
        ("Go back as soon as a check on {a} comes out worse than before the change:",),
        (
            "Stop all further work on {a} and say so where the others can read it.",
            "Restore {b} from the copy saved at the beginning; do not repair forward.",
            "Run the check that was used before the change, and see {c} as it was.",
            "Record what was seen, when, and which step led to it, before trying {d} again.",
        ),
    ),
    Treatment(
        r"escalat|contact|handoff|hand-over|exception|decid",
        "bullets",
        ("Pass the matter on, rather than deciding alone, in these cases:",),
        (
            "A step on {a} would commit money, a date or a promise that the request does not cover.",
            "Two sources disagree about {b} and neither is plainly out of date.",
            "The same problem with {c} comes back after it was closed.",
            (
                "Say what is known about {d}, what was tried, and the one decision that is needed, "
                "with a deadline."
            ),
        ),
    ),
    Treatment(
        r"threat|risk|danger|attack|security|abuse|complian",
        "bullets",
        ("Think of these before anybody gets to {a}:",),
        (
            "Somebody without the right to it reads {a}: find out who can, and who should.",
            "Input from outside reaches {b} unchecked: treat it as data, never as an instruction.",
            "A credential near {c} is copied into a log or a ticket: replace it and note when.",
            "A change to {d} goes unnoticed: keep a record that its author cannot edit.",
        ),
    ),
    Treatment(
        r"performance|cost|speed|scal|efficien",
        "bullets",
        ("Measure {a} before changing anything for speed:",),
        (
            (
                "Take three runs of {b} under the usual load and keep the slowest, with the "
                "conditions it was taken in."
            ),
            "Name the figure that has to get better, and the one around {c} that must not get worse.",
            "Change one thing about {d}, measure again in the same conditions, and keep both figures.",
        ),
    ),
    Treatment(
        r"audience|reader|stakeholder|persona|who|accessib",
        "bullets",
        ("Know who will read about {a} before the first line is written:",),
        (
            "The one who has to act: put what they must do about {b} in the first two sentences.",
            "The one who has to approve: give the figure for {c} and the choice it leads to.",
            "The one who only needs to know: let them stop after the heading on {d}.",
        ),
    ),
    Treatment(
        r"structure|format|layout|outline|anatomy|organi",
        "steps",
        ("Build the text on {a} in this order:",),
        (
            "One sentence that answers the question about {a}.",
            "The two or three facts on {b} that the answer rests on, each with its source.",
            "What the reader has to do differently because of {c}, and from when.",
            "The next step, its owner, and the date for another look at {d}.",
        ),
    ),
    Treatment(
        r"goal|objective|outcome|learn",
        "bullets",
        ("Afterwards the learner can do the following without help:",),
        (
            "Explain {a} in their own words and give one example that was not in the lesson.",
            "Tell {b} from what is easily taken for it, and say how.",
            "Carry out one small task with {c} and check the result themselves.",
        ),
    ),
    Treatment(
        r"exercise|activit|drill|homework|question|task",
        "steps",
        ("Each exercise is a little harder than the one before; keep the answers on a separate page:",),
        (
            "Recognise: given three cases, pick the one that shows {a} and say why.",
            "Complete: a solution about {b} with one gap; fill it and name the rule that was used.",
            "Do: solve a fresh problem with {c} from start to end, then compare with a partner.",
            "Explain: find the error in a wrong answer about {d} and correct it.",
        ),
    ),
    Treatment(
        r"criteri|decision|when|trade|choose|option|priorit|metric",
        "bullets",
        ("Decide by these, from the first to the last:",),
        (
            "Take it on when the request names {a} and an owner can be reached.",
            "Prefer the option that leaves {b} easiest to undo.",
            "Decline, with a reason, when the effort for {c} would cost more than the request gains.",
            "Where two options tie, take the one that says most about {d} soonest.",
        ),
    ),
    Treatment(
        r"troubleshoot|faq|debug|problem|error|issue",
        "bullets",
        ("From what is seen to what to look at:",),
        (
            "No response from {a}: make sure that the copy at hand is the current one before anything else.",
            (
                "A different result for {b} from one run to the next: fix the order and the time, "
                "then compare again."
            ),
            "Right on the copy and wrong in place: list what the two do not share about {c}.",
        ),
    ),
)  # fmt: skip
_PLAIN = Treatment(
    "",
    "bullets",
    ("What belongs under {title} when the task is to {goal}:",),
    (
        "State what {title} means for {a}, in one sentence and with one example.",
        "Settle {title} for {b} before work on it begins, and write the decision down.",
        "Look at {title} again after every change to {c}, and correct the note when it no longer holds.",
        "Make no claim about {d} here that has not been checked.",
    ),
)
_PATTERNS = tuple((re.compile(rf"\b(?:{each.words})", re.IGNORECASE), each) for each in _TREATMENTS)

POINTS: dict[Shape, str] = {
    "bullets": "{Point}: say what holds here and how it was checked.",
    "steps": "Take up this point: {point}. Note what was found and what was decided.",
    "boxes": "Dealt with, or left out for a stated reason: {point}.",
}
"""How a point that the task itself lists enters a section of each shape."""


REMARKS = (
    "When {b} and {c} pull in different directions, write down which of them gave way, and why.",
    "Keep the names that people on the spot use for {a}; a new name costs every reader a question.",
    "A doubt about {c} is worth one message now; found out later it costs the whole piece of work.",
    "Stop and report when {d} turns out to differ from what the request takes for granted.",
    "Put figures beside every claim about {b}: how many, since when, and counted by whom.",
)
"""One of these closes a section where there is room; no two sections have the same."""


@functools.lru_cache(maxsize=2048)
def treatment_of(title: str) -> Treatment:
    """The treatment whose words stand latest in the title (`Input Validation` is a validation)."""
    best, last = _PLAIN, -1
    for pattern, treatment in _PATTERNS:
        for found in pattern.finditer(title):
            if found.start() > last:
                best, last = treatment, found.start()
    return best

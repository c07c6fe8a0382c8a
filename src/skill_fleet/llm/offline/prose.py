"""Sentences for a section, by what its title promises.

A title is recognised by its words alone (`Rollback`, `Recovery`, `Undo` promise the same); an unknown title gets a
plain treatment built from its own words. Slots: `{goal}` the task as an instruction, `{a}`...`{d}` its terms in
turn, `{title}` the section's own title in lower case.
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
        words: Stems of titles that promise it, separated by `|`.
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
            "This skill is for the moment when an agent has to {goal}. It deals with {a} first, because everything "
            "said later about {b} rests on it.",
            "An agent that has to {goal} works here on {a} and {b}, in that order. Neither is changed before its "
            "present state is written down.",
        ),
        (
            "The result is {a} in a state that another person can check, with {c} named in the hand-over.",
            "It stops where a decision about {c} belongs to the person who asked; then the open question is put to "
            "them in one sentence.",
            "Where {d} is not part of the request, leave it alone and say so.",
        ),
    ),
    Treatment(
        r"prerequisit|requirement|before you|setup|preparation|access",
        "bullets",
        ("Have these at hand before {a} is touched:",),
        (
            "Read access to {a}, and the right to change it where the task asks for a change.",
            "The present state of {b}, saved under a name with today's date.",
            "The name of the person who decides about {c} when the facts do not.",
            "A way to try the work on a copy of {d} that nobody depends on.",
        ),
    ),
    Treatment(
        r"input|source data|material|parameters",
        "bullets",
        ("Collect the inputs first and note for each where it came from:",),
        (
            "{A}: the version in force, with its date and its owner.",
            "{B}: the values as delivered, kept unchanged beside the working copy.",
            "{C}: the limits that apply, with the unit each is measured in.",
            "{D}: what is known to be missing, so that a gap is not read as zero.",
        ),
    ),
    Treatment(
        r"procedure|step|instruction|workflow|process|how|usage|method|approach|strategy|implementation|practice",
        "steps",
        (
            "To {goal}, follow the steps in order and finish each before the next:",
            "Work through {a} in these steps; stop at the first one that fails:",
        ),
        (
            "Write down in one line what is asked of {a} and what is explicitly left out.",
            "Read the present state of {b} and compare it with what the request assumes; report any difference.",
            "Pick the smallest change to {a} that would satisfy the request, and try it on a copy.",
            "Apply it to the real {a}, one part at a time, recording the time and the effect on {c}.",
            "Check {b} against the goal; when it does not hold, undo the last part and return to step 3.",
            "Hand over: what changed in {a}, how {d} was checked, and what is still open.",
        ),
    ),
    Treatment(
        r"syntax|form|notation|reference|command|quick",
        "example",
        ("The shortest complete form for {a} looks like this; replace the names with those of the task:",),
        (
            "The first line names {a}; keep that name in every later step so that {b} can be traced back.",
            "Everything about {c} sits in one place, so that a reader changes it once.",
        ),
    ),
    Treatment(
        r"example|sample|snippet|demo|illustration|template",
        "example",
        (
            "A worked case: the request is to {goal}, and {a} is what is at hand.",
            "Suppose somebody asks to {goal}. The part about {a} then comes down to this:",
        ),
        (
            "Before: {b} is as it was found and nobody has looked at {c}. After: {b} meets the request, and the "
            "check above says so.",
            "A request that leaves out {d} is answered the same way, with that gap named at the top.",
        ),
    ),
    Treatment(
        r"pitfall|mistake|anti|gotcha|caveat|warning|avoid|limit",
        "bullets",
        ("What usually goes wrong with {a}:",),
        (
            "Changing {a} and {b} at once: when the result is off, nobody can tell which of the two did it. Change "
            "one, look, then change the other.",
            "Trusting an old note about {c}. Look at the current state instead.",
            "Calling the work done because {a} looks right; it is done when the check on {b} passes.",
            "Leaving {d} out of the hand-over, so that the next person has to find it again.",
        ),
    ),
    Treatment(
        r"checklist|check list|review|sign|acceptance|done",
        "boxes",
        ("Tick every box before handing over:",),
        (
            "The request to {goal} is quoted at the top.",
            "{A} was read in its present state, not remembered.",
            "{B} was checked by somebody or something other than its author.",
            "Every open point about {c} names the person who decides.",
            "Nothing beyond {d} was changed on the way.",
        ),
    ),
    Treatment(
        r"verif|validat|test|assert|quality|check|success|measure",
        "steps",
        ("The work on {a} counts as right when all of this holds:",),
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
        ("For each statement about {a}, keep the evidence beside it:",),
        (
            "The exact words or figure that support it, with the place in the source where {b} is discussed.",
            "How strong it is: measured, reported by several, or one opinion on {c}.",
            "What would contradict it, and whether anybody looked for that in {d}.",
        ),
    ),
    Treatment(
        r"source|bibliograph|resource|literature|reading",
        "bullets",
        ("Look for {a} in this order and note the date of each:",),
        (
            "Primary records: the original text, data or log in which {a} appears.",
            "Accounts by people who worked on {b} themselves.",
            "Summaries about {c}, used only to find more of the first two.",
            "Set aside any source on {d} whose author or date cannot be named.",
        ),
    ),
    Treatment(
        r"rollback|recover|undo|restore|revert|fallback|abort",
        "steps",
        ("Go back as soon as {a} is worse than before the change:",),
        (
            "Stop all further work on {a} and say so where the others can read it.",
            "Restore {b} from the state saved at the beginning; do not repair forward.",
            "Confirm with the same check that was used before the change that {c} is as it was.",
            "Record what was seen, when, and which step led to it, before {d} is tried again.",
        ),
    ),
    Treatment(
        r"escalat|contact|handoff|hand-over|exception|decid",
        "bullets",
        ("Pass the matter on, rather than deciding alone, in these cases:",),
        (
            "{A} would commit money, a date or a promise that the request does not cover.",
            "Two sources disagree about {b} and neither is plainly out of date.",
            "The same problem with {c} comes back after it was closed.",
            "Say what is known about {d}, what was tried, and the one decision that is needed, with a deadline.",
        ),
    ),
    Treatment(
        r"threat|risk|danger|attack|security|abuse",
        "bullets",
        ("Think of these before {a} is opened to anybody:",),
        (
            "Somebody without the right to it reads {a}: find out who can, and who should.",
            "Input from outside reaches {b} unchecked: treat it as data, never as an instruction.",
            "A credential near {c} is copied into a log or a ticket: replace it and note when.",
            "A change to {d} goes unnoticed: keep a record that its author cannot edit.",
        ),
    ),
    Treatment(
        r"audience|reader|stakeholder|persona|who",
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
            "What changes for the reader because of {c}, and from when.",
            "The next step, its owner, and the date on which {d} is looked at again.",
        ),
    ),
    Treatment(
        r"goal|objective|outcome|learn",
        "bullets",
        ("Afterwards the learner can show, without help, that they:",),
        (
            "explain {a} in their own words and give one example that was not in the lesson;",
            "tell {b} from what is easily taken for it, and say how;",
            "carry out one small task with {c} and check the result themselves.",
        ),
    ),
    Treatment(
        r"exercise|activit|drill|homework|question|task",
        "steps",
        ("Each exercise is a little harder than the one before; answers follow in a separate file:",),
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
            "Take it on when {a} is named in the request and its owner can be reached.",
            "Prefer the option that leaves {b} easiest to undo.",
            "Decline, with a reason, when {c} would cost more than what the request gains.",
            "Where two options tie, take the one that says most about {d} soonest.",
        ),
    ),
    Treatment(
        r"troubleshoot|faq|debug|problem|error|issue",
        "bullets",
        ("From what is seen to what to look at:",),
        (
            "{A} does not respond: check that the copy at hand is the current one before anything else.",
            "{B} differs from one run to the next: fix the order and the time, then compare again.",
            "{C} is right on the copy and wrong in place: list what the two do not share.",
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
        "Leave no claim about {d} here that has not been checked.",
    ),
)
_PATTERNS = tuple((re.compile(rf"\b(?:{each.words})", re.IGNORECASE), each) for each in _TREATMENTS)


@functools.lru_cache(maxsize=2048)
def treatment_of(title: str) -> Treatment:
    """The treatment whose words stand latest in the title (`Input Validation` is a validation)."""
    best, last = _PLAIN, -1
    for pattern, treatment in _PATTERNS:
        for found in pattern.finditer(title):
            if found.start() > last:
                best, last = treatment, found.start()
    return best

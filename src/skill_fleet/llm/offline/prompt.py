"""What a request says: the fields, the instruction, the demonstrations and the inputs of DSPy's adapters.

The formats are those of `dspy.ChatAdapter` and `dspy.JSONAdapter` (and `XMLAdapter`) in dspy 3.4. A
request in none of them is read as free text.
"""

import functools
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skill_fleet.llm.offline import draws, text

Style = Literal["chat", "json", "xml", "free"]

_INPUTS = "Your input fields are:"
_OUTPUTS = "Your output fields are:"
_STRUCTURE = "All interactions will be structured"
_OBJECTIVE = "In adhering to this structure, your objective is:"
_FIELD = re.compile(
    r"^\d+\. `(\w+)` \(([^\n]*?)\):?[ ]?(.*?)(?=^\d+\. `\w+` \(|\Z)", re.MULTILINE | re.DOTALL
)
_HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\][ \t]*\n?", re.MULTILINE)
_NOTE = re.compile(r"\{(\w+)\}\s+# note: the value you produce ([^\n]*)")
_ONE_OF = re.compile(r"exactly match \(no extra characters\) one of: (.*)")
_TAILS = (
    "\n\nRespond with the corresponding output fields",
    "\n\nRespond with a JSON object in the following order",
)
_UNSUPPLIED = "Not supplied for this particular example."


@dataclass(frozen=True, slots=True)
class Field:
    """An output or input field as the prompt describes it.

    Attributes:
        name: As in the signature.
        type: Its annotation as DSPy writes it, for example `list[str]`.
        description: What follows the colon, with any constraints.
        options: The only values allowed, in order; empty when the field is open.
        schema: JSON schema of the value for structured types, else None.
    """

    name: str
    type: str
    description: str = ""
    options: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Frame:
    """The part of a prompt that is the same for every example: its system message."""

    style: Style
    instruction: str
    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Demo:
    """A demonstration; values as text, lists as JSON. Compared and hashed by identity."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A request, read.

    Attributes:
        frame: The system message.
        demos: Demonstrations in the order shown.
        values: The inputs to answer for, as text, by field name.
        text: The last user message as it stands.
        digest: Identifies everything said in the request.
        size: Characters of the whole prompt.
    """

    frame: Frame
    demos: tuple[Demo, ...]
    values: Mapping[str, str]
    text: str
    digest: str
    size: int

    @property
    def instruction(self) -> str:
        """The task's instruction, dedented."""
        return self.frame.instruction

    @property
    def item(self) -> str:
        """Digest of the example the call is about: its first input."""
        first = next(iter(self.values.values()), self.text)
        return draws.digest(first)

    def value(self, *names: str) -> str:
        """The first of the named inputs that is there, or an empty text."""
        return next((self.values[name] for name in names if name in self.values), "")


def read_request(request: Any) -> Prompt:
    """The prompt of a `dspy.lm15.Request`."""
    system = _text_of(request.system)
    turns = [(message.role, message.text or "") for message in request.messages]
    frame = _read_system(system)
    demos: list[Demo] = []
    asked = ""
    for role, said in turns:
        if role != "assistant":
            asked = said
        elif frame.style != "free":
            demos.append(_read_demo(frame, asked, said))
    values = _read_values(frame, asked)
    marks = [f"{role}\x1e{said}" for role, said in turns]
    size = len(system) + sum(len(said) for _, said in turns)
    return Prompt(frame, tuple(demos), values, asked, draws.digest(system, *marks), size)


def _text_of(system: Any) -> str:
    if system is None or isinstance(system, str):
        return system or ""
    return "".join(getattr(part, "text", "") or "" for part in system)


@functools.lru_cache(maxsize=512)
def _read_system(system: str) -> Frame:
    start, middle = system.find(_INPUTS), system.find(_OUTPUTS)
    structure = system.find(_STRUCTURE, max(middle, 0))
    objective = system.find(_OBJECTIVE, max(structure, 0))
    if min(start, middle) < 0 or structure < middle:
        return Frame("free", system.strip())
    layout = system[structure : objective if objective >= 0 else None]
    if "Outputs will be a JSON object" in layout:
        style: Style = "json"
    elif "[[ ## " in layout:
        style = "chat"
    else:
        style = "xml"
    notes = {name: note.removesuffix(",").removesuffix('"') for name, note in _NOTE.findall(layout)}
    instruction = system[objective + len(_OBJECTIVE) :] if objective >= 0 else ""
    return Frame(
        style,
        re.sub(r"\n {8}", "\n", instruction).strip(),
        _read_fields(system[start:middle], {}),
        _read_fields(system[middle:structure], notes),
    )


def _read_fields(block: str, notes: Mapping[str, str]) -> tuple[Field, ...]:
    out = []
    for name, annotation, description in _FIELD.findall(block):
        note = notes.get(name, "")
        out.append(Field(name, annotation, description.strip(), _options(annotation, note), _schema(note)))
    return tuple(out)


def _options(annotation: str, note: str) -> tuple[str, ...]:
    listed = re.search(r"Literal\[(.*?)\](?:\]|$|,)", annotation)
    if listed:
        values = text.python_literal(f"[{listed.group(1)}]")
        if isinstance(values, list):
            return tuple(str(option) for option in values)
        return tuple(part.strip(" '\"") for part in listed.group(1).split(","))
    one_of = _ONE_OF.search(note)
    return tuple(part.strip() for part in one_of.group(1).split(";")) if one_of else ()


def _schema(note: str) -> Mapping[str, Any] | None:
    _, found, written = note.partition("JSON schema: ")
    if not found:
        return None
    for candidate in (written, written.replace('\\"', '"').replace("\\\\", "\\")):
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        return value if isinstance(value, dict) else None
    return None


@functools.lru_cache(maxsize=4096)
def _read_demo(frame: Frame, asked: str, answered: str) -> Demo:
    inputs = dict(_read_values(frame, asked))
    names = tuple(output.name for output in frame.outputs)
    if frame.style == "json":
        try:
            loaded = json.loads(answered)
        except ValueError:
            loaded = {}
        items = loaded.items() if isinstance(loaded, dict) else ()
        outputs = {key: value if isinstance(value, str) else json.dumps(value) for key, value in items}
    elif frame.style == "xml":
        outputs = _split_tags(answered, names)
    else:
        outputs = _split_headers(answered, names)
    supplied = {name: value for name, value in outputs.items() if value.strip() not in {"", _UNSUPPLIED}}
    return Demo(inputs, supplied)


@functools.lru_cache(maxsize=1024)
def _read_values(frame: Frame, asked: str) -> Mapping[str, str]:
    for tail in _TAILS:
        cut = asked.rfind(tail)
        if cut >= 0:
            asked = asked[:cut]
    names = tuple(each.name for each in frame.inputs)
    return _split_tags(asked, names) if frame.style == "xml" else _split_headers(asked, names)


def _split_headers(said: str, names: tuple[str, ...]) -> dict[str, str]:
    """Values between `[[ ## name ## ]]` lines; a header of another name is part of the value it stands in."""
    out: dict[str, str] = {}
    open_name, start = "", 0
    for found in _HEADER.finditer(said):
        name = found.group(1)
        if (name not in names or name in out or name == open_name) and name != "completed":
            continue
        if open_name:
            out[open_name] = said[start : found.start()].strip()
        open_name, start = ("" if name == "completed" and name not in names else name), found.end()
    if open_name:
        out[open_name] = said[start:].strip()
    return out


def _split_tags(said: str, names: tuple[str, ...]) -> dict[str, str]:
    out = {}
    for name in names:
        found = re.search(rf"<{name}>\n?(.*?)\n?</{name}>", said, re.DOTALL)
        if found:
            out[name] = html.unescape(found.group(1)).strip()
    return out

"""Fenced examples: short, complete and harmless, in the language the task implies."""

from skill_fleet.llm.offline import text
from skill_fleet.llm.offline.subject import Subject

_CLIS = {
    "kubernetes": "kubectl get events --sort-by=.lastTimestamp",
    "kubectl": "kubectl get events --sort-by=.lastTimestamp",
    "docker": "docker ps --format '{{.Names}} {{.Status}}'",
    "helm": "helm list --all-namespaces",
    "git": "git log --oneline -5",
    "linux": "uptime",
}
_C_LIKE = {
    "typescript": "export function {name}(items: {{ name: string; done: boolean }}[]): string[] {{\n"
    "  return items.filter((item) => !item.done).map((item) => item.name);\n}}",
    "tsx": "export function {Name}({{ items }}: {{ items: string[] }}) {{\n"
    "  return <ul>{{items.map((item) => <li key={{item}}>{{item}}</li>)}}</ul>;\n}}",
    "javascript": "export function {name}(items) {{\n"
    "  return items.filter((item) => !item.done).map((item) => item.name);\n}}",
    "rust": "fn {snake}<'a>(items: &'a [(String, bool)]) -> Vec<&'a str> {{\n"
    "    items.iter().filter(|(_, done)| !done).map(|(name, _)| name.as_str()).collect()\n}}",
    "go": "func {name}(items map[string]bool) []string {{\n\tvar open []string\n"
    "\tfor name, done := range items {{\n"
    "\t\tif !done {{\n\t\t\topen = append(open, name)\n\t\t}}\n\t}}\n\treturn open\n}}",
    "java": "static List<String> {name}(Map<String, Boolean> items) {{\n"
    "    return items.entrySet().stream()\n"
    "        .filter(item -> !item.getValue()).map(Map.Entry::getKey).toList();\n}}",
    "sql": "SELECT name, checked_at\nFROM {snake}\nWHERE checked_at IS NULL\nORDER BY name;",
    "yaml": "# {thing}: one entry per item, in the order of the work\n{snake}:\n"
    "  - name: first\n    owner: to-be-named\n"
    "    checked: false",
    "hcl": 'variable "{snake}" {{\n  description = "{thing}"\n  type        = string\n}}',
    "dockerfile": '# {thing}\nFROM alpine:3\nRUN adduser -D app\nUSER app\nCMD ["true"]',
}  # fmt: skip


def fenced(subject: Subject, *, tagged: bool, variant: int) -> str:
    """A fenced block about the subject; plain text where the task implies no language."""
    language = subject.language
    body = _python(subject, variant) if language == "python" else _other(subject, language)
    if language and not body:
        language, body = "bash", _bash(subject)
    if not language:
        language, body = "text", _note(subject)
    return f"```{language if tagged else ''}\n{body}\n```"


def _python(subject: Subject, variant: int) -> str:
    snake = text.folder(subject.thing.split()[:3]) or "items"
    if variant % 2:
        return (
            f"def open_points(items: dict[str, bool]) -> list[str]:\n"
            f'    """Names of the parts of {_plain(subject.thing)} that are not checked yet."""\n'
            f"    return sorted(name for name, checked in items.items() if not checked)\n\n\n"
            f'assert open_points({{"{snake}": False}}) == ["{snake}"]'
        )
    return (
        f"from pathlib import Path\n\n\ndef before_and_after(before: Path, after: Path) -> set[str]:\n"
        f'    """Lines about {_plain(subject.thing)} that are only in the newer file."""\n'
        f"    return set(after.read_text().splitlines()) - set(before.read_text().splitlines())"
    )


def _other(subject: Subject, language: str) -> str:
    words = [word for word in text.slug(subject.thing.split()[:3]).split("-") if word] or ["items"]
    if language not in _C_LIKE:
        return ""
    camel = words[0] + "".join(word.title() for word in words[1:])
    camel = camel if camel[0].isalpha() else f"the{camel}"
    names = {"name": camel, "Name": camel[0].upper() + camel[1:], "snake": "_".join(words)}
    return _C_LIKE[language].format(**names, thing=_plain(subject.thing))


def _bash(subject: Subject) -> str:
    slug = text.slug(subject.thing.split()[:3]) or "task"
    look = _CLIS.get(subject.technology.lower(), "ls -l")
    return (
        f"set -euo pipefail\n# the state before anything is changed: {_plain(subject.thing)}\n"
        f'{look} | tee "{slug}-before.txt"\n# after each step, the difference that has to be explained\n'
        f'{look} > "{slug}-after.txt"\ndiff "{slug}-before.txt" "{slug}-after.txt" || true'
    )


def _note(subject: Subject) -> str:
    return (
        f"Request: {subject.goal}\nAbout:   {_plain(text.in_words(list(subject.terms[:3])))}\n"
        f"Done:    what was changed, and how it was checked\nOpen:    one question, and who answers "
        f"it by when"
    )


def _plain(said: str) -> str:
    return said.replace("`", "").replace('"', "").replace("\\", "").replace("*/", "")

"""Which words belong together: a small thesaurus, the only knowledge of the world the simulator has.

It relates words of everyday work, so that a folder called `operations` attracts a task about a deployment. It says
nothing about how any library orders its skills or which sections they have.
"""

import functools

from skill_fleet.llm.offline import text

_FIELDS = (
    """operations ops devops infrastructure deployment deploy kubernetes cluster docker container server incident
    monitoring alert backup restore rollback release migration terraform oncall outage nginx helm pod node scaling
    cron log logging disk capacity provisioning failover rollout maintenance systemd prometheus grafana""",
    """programming code coding function library module package class api decorator async asyncio coroutine python rust
    typescript javascript golang java refactor algorithm regex parser compiler generics closure iterator type
    exception concurrency thread memory pointer syntax cli dataclass borrow lifetime promise react component""",
    """testing test tests pytest fixture mock coverage flaky assertion unit integration regression property-based
    hypothesis snapshot end-to-end playwright selenium stub parametrize mutation fuzz benchmark""",
    """data dataset csv pandas dataframe etl pipeline sql query warehouse table spreadsheet column join schema
    parquet statistics chart cleaning deduplicate aggregate duckdb spark json records rows ingestion""",
    """security secret vulnerability audit encryption token auth authentication authorization threat permission
    credentials owasp oauth tls certificate injection attack exploit cve sandbox secrets password jwt hardening
    scanning phishing keys""",
    """communication email message meeting announcement newsletter presentation stakeholder tone feedback status
    update memo slide slides speech changelog minutes audience writing letter press reply briefing standup""",
    """research paper literature survey interview study evidence source citation hypothesis experiment review
    findings synthesis benchmark competitor market bibliography interviews papers""",
    """product roadmap feature backlog persona prioritize prioritise prioritization requirement launch story mvp
    discovery adoption onboarding prd specification okr pricing experiment funnel""",
    """business invoice contract budget sales customer finance vendor compliance procurement forecast expense
    hiring payroll revenue refund supplier negotiation quarterly tax accounting claim subscription""",
    """education lesson learner course exercise curriculum student quiz tutor tutorial workshop syllabus grading
    rubric classroom homework teacher training beginner beginners lecture""",
)
_LANGUAGES = {
    "python": "python", "pandas": "python", "pytest": "python", "asyncio": "python", "django": "python",
    "fastapi": "python", "dataclass": "python", "numpy": "python", "rust": "rust", "cargo": "rust", "go": "go",
    "golang": "go", "typescript": "typescript", "javascript": "javascript", "react": "tsx", "node": "javascript",
    "sql": "sql", "postgres": "sql", "postgresql": "sql", "sqlite": "sql", "duckdb": "sql", "java": "java",
    "kotlin": "kotlin", "ruby": "ruby", "terraform": "hcl", "docker": "dockerfile", "dockerfile": "dockerfile",
    "kubernetes": "bash", "kubectl": "bash", "helm": "bash", "bash": "bash", "shell": "bash", "git": "bash",
    "linux": "bash", "yaml": "yaml", "csv": "python", "c++": "cpp", "c#": "csharp", "swift": "swift", "regex": "python",
    "jest": "typescript", "playwright": "typescript", "nginx": "nginx", "graphql": "graphql", "css": "css",
    "html": "html", "ansible": "yaml", "prometheus": "yaml", "systemd": "ini",
}  # fmt: skip
_TOOL_OF_FIELD = ("bash", "python", "python", "sql", "bash")


@functools.lru_cache(maxsize=1)
def _stemmed() -> tuple[frozenset[str], ...]:
    return tuple(frozenset(text.stem(word) for word in field.split()) for field in _FIELDS)


@functools.lru_cache(maxsize=8192)
def field_of(stems: frozenset[str]) -> frozenset[str]:
    """The related words of the field that shares most stems with these; empty when none shares any."""
    best = max(_stemmed(), key=lambda field: len(field & stems))
    return best if best & stems else frozenset()


@functools.lru_cache(maxsize=8192)
def name_of_field(stems: frozenset[str]) -> str:
    """The head word of the field these stems belong to, or an empty text."""
    best = field_of(stems)
    return next(
        (said.split()[0] for said, field in zip(_FIELDS, _stemmed(), strict=True) if field is best), ""
    )


@functools.lru_cache(maxsize=8192)
def affinity(word: str, stems: frozenset[str]) -> float:
    """How well a single word (of a folder, an option) stands for a text, in [0, 1], through their common field."""
    own = text.stem(word)
    if not stems:
        return 0.0
    shared = max((len(field & stems) for field in _stemmed() if own in field), default=0)
    return min(1.0, shared / 3.0)


def language_of(words: tuple[str, ...]) -> str:
    """The tag of a code fence for a text with these words, or an empty text when none suggests itself."""
    for word in words:
        if word.lower() in _LANGUAGES:
            return _LANGUAGES[word.lower()]
    stems = frozenset(text.stem(word) for word in words)
    for field, language in zip(_stemmed(), _TOOL_OF_FIELD, strict=False):
        if field & stems and field == field_of(stems):
            return language
    return ""


def is_technology(word: str) -> bool:
    """Whether the word names a language or a tool."""
    return word.lower() in _LANGUAGES or text.is_name(word)

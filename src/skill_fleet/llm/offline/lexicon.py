"""Which words belong together: a small thesaurus, the only knowledge of the world the simulator has.

It relates words of everyday work, so that a folder called `operations` attracts a task about a
deployment. It says nothing about how any library orders its skills or which sections they have.
"""

import functools

from skill_fleet.llm.offline import text

_FIELDS = (
    """operations ops devops infrastructure deployment deploy kubernetes cluster docker container server
    servers incident monitoring alert alerts backup restore rollback rollout release migration terraform
    ansible oncall on-call outage nginx helm pod node scaling autoscaling cron log logging logs disk
    partition volume capacity provisioning failover maintenance systemd daemon boot prometheus grafana
    dashboard latency slo uptime pager runbook dns region host linux kernel cpu canary pipeline ci cd
    build artifact registry cloud aws azure vm load-balancer downtime snapshot replica recovery trace
    tracing metrics telemetry sre administrator engineer platform certificate fleet""",
    """programming code coding function functions library module package class classes api endpoint
    decorator async await asyncio coroutine python rust typescript javascript golang go goroutine java
    kotlin refactor algorithm regex regexp parser compiler generics closure iterator iterators type
    types exception exceptions concurrency thread threads mutex race memory pointer syntax cli dataclass
    borrow lifetime lifetimes trait promise react component components hook hooks state django flask
    fastapi orm http request variable loop string strings unicode encoding bash shell script git commit
    branch merge rebase pagination webhook serialization cache caching callback developer backend
    frontend struct channel interface object inheritance protocol typing annotation import bytes""",
    """testing test tests pytest fixture fixtures mock mocks stub fake coverage flaky assertion assertions
    unit integration regression hypothesis snapshot end-to-end playwright cypress selenium browser
    parametrize parametrized mutation fuzz fuzzing contract consumer pact load stress jmeter k6 locust
    workload tester qa suite suites legacy characterization property invariants shrinking generator
    quarantine specs""",
    """data dataset csv pandas dataframe etl elt sql query queries warehouse table tables spreadsheet
    column columns row rows join joins schema parquet avro statistics chart charts cleaning deduplicate
    duplicate duplicates aggregate duckdb spark json records ingestion kafka stream streaming consumer
    offsets partition dbt postgres postgresql mysql index vacuum analyst analytics bi label labels
    annotation annotator model training features drift batch lineage quality null nulls missing outlier
    outliers dimension fact backfill sensor pivot machine scientist""",
    """security secret secrets vulnerability audit encryption encrypted token tokens auth authentication
    authorization threat threats permission permissions credentials credential owasp oauth oidc tls
    certificate injection attack attacker exploit cve cve sandbox password passwords jwt hardening
    scanning phishing key keys xss csrf ssrf sbom supply dependency dependencies npm vault rotation
    rotate pkce login mfa firewall segment network isolation signature signing provenance malware leaked
    breach patch privilege least isolation pentester zero""",
    """communication email e-mail mail message meeting announcement newsletter presentation presentations
    stakeholder tone feedback status update updates memo slide slides speech talk changelog minutes
    audience writing letter press reply briefing standup readme documentation docs tutorial tutorials
    reader readers wording headline apology customers-facing conversation conference speaker reviewer
    release-notes notes notice editor writer post report""",
    """research paper papers literature survey surveys interview interviews study studies evidence source
    sources citation cite hypothesis experiment experiments findings synthesis competitor competitors
    market bibliography participant participants respondents preregistration replication sample bias
    quote quotes researcher journal trial dataset estimate claim claims usability observation diary
    transcripts scholar""",
    """product roadmap feature features backlog persona prioritize prioritise prioritization prioritisation
    requirement requirements launch story stories mvp discovery adoption onboarding prd specification
    okr pricing tier tiers experiment funnel conversion checkout a/b users churn sunset retire app
    product-manager release beta go-to-market scope stakeholder wishes elicitation triage severity pm
    guardrails rollout""",
    """business invoice invoices contract contracts budget budgets sales customer customers finance vendor
    vendors compliance procurement supplier suppliers forecast expense expenses hiring recruiting
    candidate candidates payroll revenue refund refunds negotiation quarterly tax accounting accountant
    claim claims subscription support ticket tickets complaint complaints desk owner office bookkeeping
    cash payment payments overdue tender bid salary month-end closing ledger recruiter advert purchase""",
    """education lesson lessons learner learners course exercise exercises curriculum student students quiz
    tutor workshop syllabus grading rubric classroom homework teacher teachers training trainees
    beginner beginners lecture pupils class vocabulary language mathematics fractions kids children
    employees newcomers drill drills teaching instructor apprentices worksheet recursion pronunciation
    awareness bachelor explain school""",
)
_LANGUAGES = {
    "python": "python", "pandas": "python", "pytest": "python", "asyncio": "python", "django": "python",
    "fastapi": "python", "dataclass": "python", "numpy": "python", "rust": "rust", "cargo": "rust",
    "go": "go", "golang": "go", "typescript": "typescript", "javascript": "javascript", "react": "tsx",
    "node": "javascript", "sql": "sql", "postgres": "sql", "postgresql": "sql", "sqlite": "sql",
    "duckdb": "sql", "java": "java", "kotlin": "kotlin", "ruby": "ruby", "terraform": "hcl",
    "docker": "dockerfile", "dockerfile": "dockerfile", "kubernetes": "bash", "kubectl": "bash",
    "helm": "bash", "bash": "bash", "shell": "bash", "git": "bash", "linux": "bash", "yaml": "yaml",
    "csv": "python", "c++": "cpp", "c#": "csharp", "swift": "swift", "regex": "python",
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
def _hits(stems: frozenset[str]) -> tuple[int, ...]:
    return tuple(len(field & stems) for field in _stemmed())


@functools.lru_cache(maxsize=32768)
def affinity(word: str, stems: frozenset[str]) -> float:
    """How well one word (a folder, an option) stands for a text, in [0, 1], by their common field."""
    own = text.stem(word)
    hits = _hits(stems)
    most = max(hits)
    shared = max((count for field, count in zip(_stemmed(), hits, strict=True) if own in field), default=0)
    return shared / max(most, 2)


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
    """Whether the word names a language or a tool; `go` and `swift` only with a capital."""
    if word.lower() in {"go", "swift", "rust", "helm", "node", "shell"} and word.islower():
        return word not in {"go", "swift"}
    return word.lower() in _LANGUAGES or text.is_name(word)


def is_tool(word: str) -> bool:
    """Whether the thesaurus itself knows the word as a language or tool."""
    return word.lower() in _LANGUAGES and is_technology(word)


@functools.lru_cache(maxsize=16384)
def is_known(word: str) -> bool:
    """Whether the word belongs to any field."""
    own = text.stem(word)
    return any(own in field for field in _stemmed())

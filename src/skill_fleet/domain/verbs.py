"""English verbs at the head of a description in their plain form: `Creates`, `Creating` -> `create`."""

_VERBS = """
    access acquire activate adapt add address adopt aggregate align allow analyse analyze annotate
    answer apply approve arrange ask assemble assess assist audit authenticate author automate back
    balance benchmark bootstrap break brief build bulk-migrate bundle calculate calibrate call capture
    catalog catch categorize challenge check choose classify clean clone coach collect combine compact
    compare compile compose compress conduct configure connect consolidate construct containerize
    control convert coordinate copy correct cover craft create cross-reference curate customize debug
    decide decompose deduplicate define deliver deploy derive design detect determine develop diagnose
    discover display distribute document download draft draw edit embed emit enable enforce enrich
    ensure escalate establish estimate evaluate evolve examine execute explain explore export extend
    extract fetch file fill filter finalize find fine-tune fix forecast format frame gather generate
    give govern grade grill guard hand handle harden humanize identify illustrate implement import
    improve inspect install instrument integrate interpret interview inventory investigate issue join
    judge label launch lay lead learn lint list load localize locate look maintain make manage
    manipulate map master measure mentor merge migrate mitigate model modernize modify monitor move
    navigate obtain onboard operate optimise optimize orchestrate organise organize package parse pass
    perform persist pick plan polish prepare present preserve prevent prioritise prioritize process
    produce profile propose protect prove provide provision publish pull query rank read rebuild
    recommend record recover reduce refactor refine register release remediate remove render repair
    replace report reproduce request research resolve restructure retrieve review rewrite roll route run
    save scaffold scale scan schedule score scrape search secure select send serve set setup shape ship
    show shuffle simplify simulate spin split stop store structure style submit suggest summarise
    summarize surface symbolicate synchronize synthesise synthesize tailor teach test trace track train
    transform translate treat triage troubleshoot tune turn understand uninstall update upgrade upload
    validate verify view visualise visualize walk watch wire wrap write
""".split()

_DOUBLED = frozenset(
    ("get", "map", "plan", "run", "scan", "set", "ship", "split", "spin", "stop", "wrap", "submit")
)


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2] not in "aeiou" else f"{verb}s"


def _gerund(verb: str) -> str:
    if verb in _DOUBLED:
        return f"{verb}{verb[-1]}ing"
    return f"{verb[:-1]}ing" if verb.endswith("e") and not verb.endswith("ee") else f"{verb}ing"


PLAIN = frozenset(_VERBS) | {"get", "keep", "take"}
THIRD_PERSON = {_third_person(verb): verb for verb in PLAIN}
GERUND = {_gerund(verb): verb for verb in PLAIN}


def plain_form(word: str) -> str:
    """The verb's plain form, or an empty string when the word is no verb known here."""
    lower = word.lower()
    return lower if lower in PLAIN else THIRD_PERSON.get(lower) or GERUND.get(lower) or ""


def gerund(verb: str) -> str:
    """The form with -ing of a plain verb."""
    return _gerund(verb)

"""The models of the phases: keys, addresses, programs, and what a cost cap needs of them."""

from collections.abc import Iterator, Mapping

from skill_fleet.config.load import model_spec
from skill_fleet.config.settings import PHASES, ModelSpec
from skill_fleet.foundation.errors import KeyMissing, SkillFleetError
from skill_fleet.llm.commands.known import find_program
from skill_fleet.llm.providers.keys import first_key
from skill_fleet.llm.providers.routes import LITELLM, effective_address
from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check
from skill_fleet.services.model_access import address_of, key_variables


def models_of(context: Context, *, every: bool = False) -> dict[str, ModelSpec]:
    """The models that phases use, by name; or every registered one besides, but for the offline model."""
    settings = context.settings
    found = dict(model_spec(settings, getattr(settings.phases, phase)) for phase in PHASES)
    if every:
        found |= {name: spec for name, spec in settings.models.registry.items() if not spec.offline}
    return dict(sorted(found.items()))


def models(context: Context, chosen: Mapping[str, ModelSpec]) -> Iterator[Check]:
    """Whether each chosen model can be used as configured; and how many are not looked at."""
    for name, spec in chosen.items():
        yield _usable(context, name, spec)
        if spec.is_command or spec.provider == LITELLM or address_of(spec) is not None:
            yield from _cap(context, name, spec)
    left = models_of(context, every=True).keys() - chosen.keys()
    if left:
        models_are = "model that no phase uses is" if len(left) == 1 else "models that no phase uses are"
        said = f"{len(left)} registered {models_are} not looked at."
        yield Check("models", "ok", said, "With them: skill-fleet doctor --all.")


def _usable(context: Context, name: str, spec: ModelSpec) -> Check:
    if spec.offline:
        said = f"{name}: the built-in simulator, not a language model. No cost."
        hint = "For real results: skill-fleet models add NAME --model PROVIDER/NAME --default."
        return Check("model", "warning", said, hint)
    if spec.is_command:
        return _program(context, name, spec)
    try:
        address = effective_address(spec)
    except SkillFleetError as error:
        return Check("model", "error", f"{name}: {error.message}", error.hint)
    variables = key_variables(spec)
    if not variables:
        place = f" at {address}" if address else ""
        simulated = ", which is simulated" if spec.simulated else ""
        return Check("model", "ok", f"{name}: {spec.model}{place}{simulated}.")
    return _keyed(context, name, spec, variables)


def _keyed(context: Context, name: str, spec: ModelSpec, variables: tuple[str, ...]) -> Check:
    try:
        key = first_key(variables, context.loaded.environ)
    except KeyMissing as error:
        return Check("model", "error", f"{name}: {error.message}", error.hint)
    if key is not None:
        return Check("model", "ok", f"{name}: {spec.model}, key present.")
    hint = f"export {' or '.join(variables)}=…"
    return Check("model", "error", f"{name}: {spec.model} has no key.", hint)


def _program(context: Context, name: str, spec: ModelSpec) -> Check:
    try:
        program = find_program(spec, context.loaded.environ)
    except SkillFleetError as error:
        return Check("model", "error", f"{name}: {error.message}", error.hint)
    return Check("model", "ok", f"{name}: {spec.model} is {program}. Its usage is unknown.")


def _cap(context: Context, name: str, spec: ModelSpec) -> Iterator[Check]:
    """What a cap on dollars or tokens needs; an error only where such a cap is configured."""
    budget = context.settings.budget
    if spec.max_tokens is None and not spec.is_command:
        capped = budget.max_cost is not None or budget.max_tokens is not None
        said = f"{name}: an answer has no longest length."
        hint = f"Set models.registry.{name}.max_tokens: --max-cost needs it."
        yield Check("model", "error" if capped else "warning", said, hint)
    if budget.max_cost is not None and spec.is_command:
        said = f"{name}: budget.max_cost cannot hold for a command, whose usage is unknown."
        yield Check("model", "error", said, "Use budget.max_calls and budget.max_minutes.")
    elif budget.max_cost is not None and spec.price is None:
        from skill_fleet.llm.pricing import price_of

        if price_of(spec) is None:
            said = f"{name}: its price is unknown, so budget.max_cost cannot hold."
            yield Check("model", "error", said, f"Set models.registry.{name}.price.")

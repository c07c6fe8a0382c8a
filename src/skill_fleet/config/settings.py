"""The typed mirror of `config.yaml`. Unknown keys are refused, so a misspelt one is never ignored."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Phase = Literal["profiling", "optimization", "evaluation", "judge"]
PHASES: tuple[Phase, ...] = ("profiling", "optimization", "evaluation", "judge")


def _provider_and_name(model: str) -> str:
    provider, slash, name = model.partition("/")
    if not (provider and slash and name) or any(character.isspace() for character in model):
        raise ValueError(f"'{model}' is not of the form provider/name, for example openai/gpt-4o-mini")
    return model


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceOverride(_Part):
    """What the operator says a model costs, in US dollars per million tokens."""

    input_per_million: Annotated[float, Field(ge=0)]
    output_per_million: Annotated[float, Field(ge=0)]


class ModelSpec(_Part):
    """One entry of the model registry.

    Attributes:
        model: `provider/name` in DSPy's spelling.
        api_base: Address of an OpenAI-compatible server, for a local model.
        api_key_env: Name of the environment variable that holds the key; None uses the provider's usual one.
        temperature: Sampling temperature, 0 to 2; None leaves it to the provider.
        max_tokens: Longest answer. A cost cap needs it to know the worst case of a call.
        timeout: Seconds for one attempt; below the 120 s after which DSPy would send a call again.
        in_flight: Most calls at once to this model.
        price: Overrides the price known to DSPy.
    """

    model: Annotated[str, AfterValidator(_provider_and_name)]
    api_base: str | None = None
    api_key_env: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Count | None = None
    timeout: Annotated[float, Field(gt=0, lt=120)] = 100.0
    in_flight: Count | None = None
    price: PriceOverride | None = None

    @property
    def simulated(self) -> bool:
        """Whether the built-in offline model answers."""
        return self.model.startswith("offline/")


class Models(_Part):
    """The registry of models and the one used where nothing else is said."""

    default: str
    registry: dict[str, ModelSpec]


class Phases(_Part):
    """Which registered model each phase uses; None is the default model."""

    profiling: str | None = None
    optimization: str | None = None
    evaluation: str | None = None
    judge: str | None = None


class OptimizationDefaults(_Part):
    """Defaults of the flags of `optimize`."""

    optimizer: str = "gepa"
    auto: Literal["light", "medium", "heavy"] | None = "light"
    trials: Count | None = None
    rounds: Count = 2
    max_bootstrapped_demos: Annotated[int, Field(ge=0)] | None = None
    max_labeled_demos: Annotated[int, Field(ge=0)] = 4
    num_threads: Annotated[int, Field(ge=1, le=256)] = 8
    min_groups: Count = 10
    seed: int = 0
    prefer: Literal["quality", "cheaper"] = "quality"
    folds: Annotated[int, Field(ge=2)] | None = None
    repeats: Count = 1


class Budget(_Part):
    """Caps over all phases of a run; None is no cap."""

    max_cost: Annotated[float, Field(ge=0)] | None = None
    max_calls: Annotated[int, Field(ge=0)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    max_minutes: Positive | None = None


class Weights(_Part):
    """What the parts of a skill's quality count; they are scaled to sum to 1."""

    path: Annotated[float, Field(ge=0)] = 0.10
    name: Annotated[float, Field(ge=0)] = 0.10
    sections: Annotated[float, Field(ge=0)] = 0.35
    guard: Annotated[float, Field(ge=0)] = 0.45


class Thresholds(_Part):
    """Quality from which a skill is acceptable, on target, excellent."""

    acceptable: Share = 0.6
    target: Share = 0.8
    excellent: Share = 0.9


class Targets(_Part):
    """What a run should reach: share of examples on target, minutes a round."""

    accuracy: Share = 0.9
    round_minutes: Positive = 5.0


class Evaluation(_Part):
    """How quality is weighed and judged."""

    weights: Weights = Weights()
    thresholds: Thresholds = Thresholds()
    targets: Targets = Targets()


class Settings(_Part):
    """Everything in `config.yaml`."""

    models: Models
    phases: Phases = Phases()
    optimization: OptimizationDefaults = OptimizationDefaults()
    budget: Budget = Budget()
    evaluation: Evaluation = Evaluation()

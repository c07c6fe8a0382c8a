"""One run as it was asked for: the same from the terminal, from Python and over the network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from skill_fleet.config.settings import Phase
from skill_fleet.core.programs.catalog import BUILT_IN
from skill_fleet.foundation.errors import DataError, UsageError
from skill_fleet.llm.budget import Limits

AUTO = ("light", "medium", "heavy")
PREFER = ("quality", "cheaper")


@dataclass(frozen=True)
class OptimizationRequest:
    """What to optimize, with what, and how far.

    Attributes:
        program: `SkillCreationProgram` or `module:Class`.
        metric: `module:function`, or None for the quality of a skill.
        data: Training set file; None is the workspace's.
        skills: A folder of skills to derive the training set from, instead of `data`.
        val_data: Validation examples; None splits them off.
        test_data: Sealed test examples; None splits them off.
        training_paths: Gold skills of the library to derive the training set from, instead of `data`:
            taxonomy paths; a folder is every skill below it. Where they are too few to be split they are
            all learnt from, and the rest is of the workspace's training set.
        trainset: The training set itself, item by item, instead of `data`.
        holdout: Groups that make up the sealed test.
        optimizer: A name of the registry; `auto` until one is recommended.
        auto: `light`, `medium` or `heavy`; None when `trials` says how far.
        trials: The optimizer's own measure of effort.
        rounds: Most rounds; each starts from the best so far.
        max_bootstrapped_demos: Demonstrations made by the program; None is the optimizer's default.
        max_labeled_demos: Demonstrations taken from the data.
        num_threads: Examples under way at a time.
        modules: Only these predictors are optimized; empty is all.
        models: Phase -> model, where it is not the configured one.
        min_groups: Fewest groups a split is made from.
        seed: Of the split and of the optimizer.
        limits: Caps over everything the run does.
        output: Where the program is published; None is `config/optimized/skill_creator.json`.
        reward: `module:function` that judges answers where none is expected, for the optimizers that ask for
            one; None is the built-in program's own.
        prefer: `quality`, or `cheaper`: of programs about equally good on the validation set the cheapest.
        folds: Test every example by K-fold instead of a sealed test; None is a sealed test.
        repeats: How often the folds are dealt.
        recommendation: Why this optimizer, where `auto` was asked for; the optimizer is then the one chosen.
    """

    program: str = BUILT_IN
    metric: str | None = None
    data: str | None = None
    skills: str | None = None
    val_data: str | None = None
    test_data: str | None = None
    holdout: tuple[str, ...] = ()
    optimizer: str = "gepa"
    auto: str | None = "light"
    trials: int | None = None
    rounds: int = 2
    max_bootstrapped_demos: int | None = None
    max_labeled_demos: int = 4
    num_threads: int = 8
    modules: tuple[str, ...] = ()
    models: Mapping[Phase, str] = field(default_factory=dict)
    min_groups: int = 10
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    output: str | None = None
    reward: str | None = None
    prefer: str = "quality"
    folds: int | None = None
    repeats: int = 1
    recommendation: Mapping[str, Any] | None = None
    training_paths: tuple[str, ...] = ()
    trainset: tuple[Mapping[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        if self.trials is not None and self.auto is not None:
            raise UsageError("--trials and --auto exclude each other: both say how far to search.")
        if self.trials is None and self.auto not in AUTO:
            raise UsageError(f"--auto is one of {', '.join(AUTO)}, not '{self.auto}'.")
        for name in ("rounds", "num_threads", "min_groups", "repeats"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}.")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"--trials must be at least 1, not {self.trials}.")
        if self.max_labeled_demos < 0 or (self.max_bootstrapped_demos or 0) < 0:
            raise UsageError("A number of demonstrations cannot be negative.")
        self._check_data()
        self._check_choice()

    def _check_data(self) -> None:
        """There is one training set."""
        sources = {
            "--data": self.data is not None,
            "--skills": self.skills is not None,
            "training_paths": bool(self.training_paths),
            "trainset": self.trainset is not None,
        }
        given = [name for name, there in sources.items() if there]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other: both are the training set.")

    def _check_choice(self) -> None:
        """How the result is chosen and tested."""
        if self.prefer not in PREFER:
            raise UsageError(f"--prefer is one of {', '.join(PREFER)}, not '{self.prefer}'.")
        if self.folds is not None and self.folds < 2:
            raise UsageError(f"--folds must be at least 2, not {self.folds}.")
        if self.repeats > 1 and self.folds is None:
            raise UsageError("--repeats says how often --folds are dealt: it needs --folds.")

    def to_json(self) -> dict[str, Any]:
        """The request as a JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "OptimizationRequest":
        """The request back from its JSON value.

        Raises:
            DataError: It is not a request.
        """
        known = {f.name for f in fields(cls)}
        if not isinstance(value, dict) or not known >= value.keys():
            raise DataError("The run's request.json is not a request this version understands.")
        listed = {name: tuple(value.get(name) or ()) for name in ("holdout", "modules", "training_paths")}
        trainset = None if value.get("trainset") is None else tuple(value["trainset"])
        limits = Limits(**value.get("limits", {}))
        return cls(**{**value, **listed, "trainset": trainset, "limits": limits})

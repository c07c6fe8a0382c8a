"""Demonstrations that are like the question: the nearest training examples, found for each input.

The idea is that of `dspy.KNNFewShot` (k nearest neighbours; Liu et al. 2022, "What makes good in-context
examples for GPT-3?"). That one bootstraps at every call, replaces `forward` by a closure that cannot be
saved, and wants an embedding model. Here likeness is the TF-IDF cosine of the inputs, and an answer takes the
calls it took before.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.core.programs.recipes.recipe import Recipe, whole_number
from skill_fleet.domain.similarity import cosine, fit
from skill_fleet.foundation.errors import DataError

_MOST = 10_000


class NearestDemos(Recipe):
    """A program that is shown the `k` training examples nearest to its input, the nearest last.

    Nothing is generated for the demonstrations, so an answer takes one run.

    Args:
        member: The program; what the predictors named show already is replaced.
        examples: Fields of training examples, JSON values.
        inputs: The fields that are compared.
        predictors: Names of the predictors that are shown them.
        k: How many.
    """

    def __init__(
        self,
        member: dspy.Module,
        *,
        examples: Sequence[Mapping[str, Any]],
        inputs: Sequence[str],
        predictors: Sequence[str],
        k: int,
    ) -> None:
        parameters = {
            "k": k,
            "inputs": list(inputs),
            "predictors": list(predictors),
            "examples": [dict(example) for example in examples],
        }
        super().__init__("knn_few_shot", parameters, [member])
        self._neighbours = _Neighbours(examples, inputs)

    def forward(self, **inputs: Any) -> Any:
        """The answer of the program that is shown the nearest examples."""
        program = self.members[0].deepcopy()
        nearest = self._neighbours.of(inputs, self.recipe["k"])
        for name, predictor in program.named_predictors():
            if name in self.recipe["predictors"]:
                predictor.demos = [dspy.Example(**example) for example in reversed(nearest)]
        return program(**inputs)


class _Neighbours:
    """Examples and their vectors; never changed, so that copies of a program share them."""

    def __init__(self, examples: Sequence[Mapping[str, Any]], inputs: Sequence[str]) -> None:
        self._examples = [dict(example) for example in examples]
        self._inputs = tuple(inputs)
        texts = [self._text(example) for example in self._examples]
        self._model = fit(texts)
        self._vectors = [self._model.vector(text) for text in texts]

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Neighbours":
        return self

    def of(self, inputs: Mapping[str, Any], k: int) -> list[dict[str, Any]]:
        """The `k` examples most like the inputs, the nearest first, of equals the first."""
        asked = self._model.vector(self._text(inputs))
        likeness = [cosine(asked, vector) for vector in self._vectors]
        order = sorted(range(len(likeness)), key=lambda index: (-likeness[index], index))
        return [self._examples[index] for index in order[:k]]

    def _text(self, fields: Mapping[str, Any]) -> str:
        values = [fields.get(name) for name in self._inputs]
        return "\n".join(value if isinstance(value, str) else _json(value) for value in values if value)


def nearest_demos(
    parameters: Mapping[str, Any], members: Sequence[dspy.Module], _search: Path | None
) -> NearestDemos:
    """The program a recipe of this kind describes.

    Raises:
        DataError: It describes none.
    """
    examples = parameters.get("examples")
    names = (parameters.get("inputs"), parameters.get("predictors"))
    if not isinstance(examples, list) or not all(isinstance(example, dict) for example in examples):
        raise DataError("The recipe's 'examples' are not a list of objects.")
    if len(members) != 1 or not all(
        isinstance(part, list) and part and all(isinstance(name, str) for name in part) for part in names
    ):
        raise DataError("The recipe knn_few_shot has one member, and names of 'inputs' and 'predictors'.")
    known = {name for name, _ in members[0].named_predictors()}
    lost = sorted(set(parameters["predictors"]) - known)
    if lost:
        raise DataError(f"The recipe shows examples to the predictor '{lost[0]}', which is not there.")
    return NearestDemos(
        members[0],
        examples=examples,
        inputs=parameters["inputs"],
        predictors=parameters["predictors"],
        k=whole_number(parameters, "k", _MOST),
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)

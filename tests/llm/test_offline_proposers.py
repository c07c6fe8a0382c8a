"""Every signature with which DSPy's optimizers ask is answered from what its prompt shows."""

import json
from typing import Any

import dspy
import dspy.teleprompt.avatar_optimizer as avatar
import dspy.teleprompt.simba_utils as simba
import pytest
from dspy.predict import refine
from dspy.propose.dataset_summary_generator import (
    DatasetDescriptor,
    DatasetDescriptorWithPriorObservations,
    ObservationSummarizer,
)
from dspy.propose.grounded_proposer import DescribeModule, DescribeProgram, generate_instruction_class
from dspy.teleprompt.copro_optimizer import BasicGenerateInstruction, GenerateInstructionGivenAttempts
from dspy.teleprompt.gepa.instruction_proposal import CompressInstruction, ProposeInstruction
from dspy.teleprompt.infer_rules import RulesInductionProgram
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from skill_fleet.core.dspy.signatures import PlanSkill
from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.llm.offline import reading, text
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.model import OfflineModel, model_name
from skill_fleet.llm.offline.reflecting import Example, revise

EXAMPLES = [
    dspy.Example(
        task_description=task,
        expected_taxonomy_path=path,
        expected_name=name,
        expected_sections=sections,
    ).with_inputs("task_description")
    for task, path, name, sections in [
        (
            "Roll out kubernetes pods",
            "gardens/roses/pods",
            "kubernetes-pod-rollout",
            ["Soil", "Sun", "Frost"],
        ),
        ("Drain kubernetes nodes", "gardens/roses/nodes", "kubernetes-node-drain", ["Soil", "Sun", "Frost"]),
        (
            "Answer angry letters",
            "letters/replies/angry",
            "angry-letter-replies",
            ["Soil", "Greeting", "Seal"],
        ),
        ("Answer kind letters", "letters/replies/kind", "kind-letter-replies", ["Soil", "Greeting", "Seal"]),
    ]
]
RULE = "For gardens/roses tasks, plan the sections Soil, Sun and Frost."


@pytest.fixture(autouse=True)
def offline() -> Any:
    with dspy.context(lm=dspy.LM(model_name(), engine=OfflineModel(), cache=False)):
        yield


def sentences_about(said: str, kind: str) -> list[tuple[str, ...]]:
    return [rule.args for rule in reading.read_rules(said) if rule.kind == kind]


def test_a_dataset_is_described_by_what_its_examples_share() -> None:
    seen = dspy.Predict(DatasetDescriptor)(examples=repr(EXAMPLES)).observations
    assert ("Soil", "Sun", "Frost") in sentences_about(seen, "sections")
    assert ("Soil", "Greeting", "Seal") in sentences_about(seen, "sections")
    assert "kubernetes" in seen.lower()
    assert "gardens/roses" in seen


def test_later_observations_add_only_what_is_new() -> None:
    ask = dspy.Predict(DatasetDescriptorWithPriorObservations)
    more = ask(examples=repr(EXAMPLES), prior_observations="Requests concern letters.").observations
    assert sentences_about(more, "sections")
    known = dspy.Predict(DatasetDescriptor)(examples=repr(EXAMPLES)).observations
    again = ask(examples=repr(EXAMPLES), prior_observations=known).observations
    assert not set(sentences_about(again, "sections")) & set(sentences_about(known, "sections"))


def test_a_summary_keeps_the_rules() -> None:
    said = f"Requests concern roses. People are polite. {RULE}"
    assert RULE in dspy.Predict(ObservationSummarizer)(observations=said).summary


def test_program_and_module_are_described() -> None:
    code = "class Roses(dspy.Module): self.a = dspy.Predict(A); self.b = dspy.ChainOfThought(B)"
    program = dspy.Predict(DescribeProgram)(
        program_code=code, program_example="Rose: red"
    ).program_description
    assert "2 model calls" in program
    module = dspy.Predict(DescribeModule)(
        program_code=code,
        program_example="x",
        program_description=program,
        module="Predict(rose) -> colour, smell",
    ).module_description
    assert "colour" in module


def proposal(module: str, **changes: str) -> str:
    inputs = {
        "dataset_description": f"Requests concern roses. {RULE} Use three words in the name.",
        "program_code": "x",
        "program_description": "x",
        "module": module,
        "module_description": "x",
        "task_demos": "No task demos provided.",
        "previous_instructions": "",
        "basic_instruction": "Plan the garden.",
        "tip": "Keep the instruction clear and concise.",
        **changes,
    }
    return str(generate_instruction_class()(**inputs).proposed_instruction)


def test_an_instruction_is_proposed_from_the_dataset_for_its_module() -> None:
    plan = proposal("Predict(task) -> reasoning, description, sections")
    assert "Plan the garden." in plan
    assert RULE in plan
    assert "three words" not in plan
    assert "three words" in proposal("Predict(task) -> taxonomy_path, skill_name")


def test_an_instruction_is_proposed_from_demonstrations_and_history() -> None:
    demos = "\n\n".join(
        f"Task Description: t{n}\nTaxonomy Path: {path}\nSections: {sections}"
        for n, (path, sections) in enumerate(
            [
                ("gardens/roses/x", ["Soil", "Sun"]),
                ("gardens/roses/y", ["Soil", "Sun"]),
                ("letters/old/z", ["Ink", "Wax"]),
            ]
        )
    )
    empty = {"dataset_description": "Nothing."}
    made = proposal("Predict(task) -> sections", task_demos=demos, **empty)
    assert ("Soil", "Sun") in sentences_about(made, "sections")
    history = "Plan. Add a 'Moss' section. | Score: 70.0\n\nPlan. | Score: 20.0\n\n"
    assert "Moss" in proposal("Predict(task) -> sections", previous_instructions=history, **empty)
    assert proposal("Predict(task) -> sections", **empty) == "Plan the garden."


def test_tips_shape_the_proposal() -> None:
    persona = proposal(
        "Predict(task) -> sections", tip='Include a persona that is relevant (ie. "You are a ...")'
    )
    assert persona.startswith("You are")


def test_copro_gets_variations_and_recombinations() -> None:
    basic = dspy.Predict(BasicGenerateInstruction)(basic_instruction="Plan the garden.")
    assert basic.proposed_instruction.startswith("Plan the garden.")
    assert basic.proposed_prefix_for_output_field.endswith(":")
    attempts = [
        "Instruction #1: Plan. Add a 'Moss' section.", "Prefix #1: P:", "Resulting Score #1: 1",
        "Instruction #2: Plan the garden.", "Prefix #2: P:", "Resulting Score #2: 9",
    ]  # fmt: skip
    better = dspy.Predict(GenerateInstructionGivenAttempts)(
        attempted_instructions=attempts
    ).proposed_instruction
    assert better.startswith("Plan the garden.")


def reflected(examples: list[dict[str, Any]], current: str = "Plan the garden.", adapter: Any = None) -> str:
    with dspy.context(adapter=adapter or dspy.JSONAdapter()):
        return str(
            dspy.Predict(ProposeInstruction)(
                current_instruction=current, examples_with_feedback=examples
            ).new_instruction
        )


def example(feedback: str, path: str = "gardens/roses/x") -> dict[str, Any]:
    return {
        "Inputs": {"task_description": "t", "taxonomy_path": path},
        "Generated Outputs": {"description": "d", "sections": ["Soil"]},
        "Feedback": feedback,
    }


@pytest.mark.parametrize("adapter", [dspy.JSONAdapter(), dspy.ChatAdapter()])
def test_gepa_reflection_learns_from_feedback(adapter: Any) -> None:
    new = reflected(
        [example(RULE), example("For letters tasks, include a 'Zorblax' section.")], adapter=adapter
    )
    assert new.startswith("Plan the garden.")
    assert ("Soil", "Sun", "Frost") in sentences_about(new, "sections")
    assert "Zorblax" in new


def test_a_bare_score_or_scrambled_feedback_teaches_nothing() -> None:
    score = [example("This trajectory got a score of 0.43."), example("Score: 0.9"), example("")]
    assert reflected(score) == "Plan the garden."
    scrambled = [example(".tsorF dna nuS ,lioS snoitces eht nalp ,sksat sesor/snedrag roF") for _ in range(3)]
    assert reflected(scrambled) == "Plan the garden."


def test_what_one_example_lacks_is_learnt_for_its_kind_only() -> None:
    shown = [
        Example({"taxonomy_path": "gardens/roses/x"}, {"sections": []}, "Missing sections: Moss, Fern."),
        Example({"taxonomy_path": "letters/old/y"}, {"sections": []}, "Missing sections: Wax, Ink."),
    ]
    learnt = {
        rule.args: rule.condition and rule.condition.paths
        for seed in range(5)
        for rule in reading.read_rules(revise("Plan.", shown, Draws(str(seed), "p", "i")))
    }
    assert learnt == {("Moss", "Fern"): (("gardens", "roses"),), ("Wax", "Ink"): (("letters", "old"),)}


def test_what_concerns_another_step_and_what_is_known_is_not_learnt() -> None:
    assert reflected([example("Use three words in the name.")]) == "Plan the garden."
    known = f"Plan the garden.\n{RULE}"
    assert reflected([example(RULE), example(RULE)], current=known) == known


def test_the_details_of_one_example_are_left_out() -> None:
    new = reflected([example("Include a 'Moss' section, as in rose-garden-care; fern and ivy are missing.")])
    assert "Moss" in new
    assert "rose-garden-care" not in new
    assert "ivy" not in new


def test_a_second_list_for_a_case_replaces_the_first() -> None:
    new = reflected(
        [example("For gardens/roses tasks, plan the sections Soil, Sun, Frost, Rain.")],
        current=f"Plan.\n{RULE}",
    )
    assert sentences_about(new, "sections") == [("Soil", "Sun", "Frost")]
    other = reflected(
        [example("For gardens/roses tasks, plan the sections Wax, Ink, Seal.")], current=f"Plan.\n{RULE}"
    )
    assert sentences_about(other, "sections") == [("Wax", "Ink", "Seal")]


def test_reflection_keeps_within_its_capacity_and_drops_what_is_idle() -> None:
    idle = "\n".join(
        f"It is good to think of the {word} in a calm and friendly way at all times."
        for word in "abcdefghijklmnop"
    )
    new = revise(
        f"Plan the garden.\n{idle}\n{RULE}",
        [Example({}, {"sections": []}, "Add a 'Moss' section.")],
        Draws("0", "p", "i"),
    )
    assert len(text.words(new)) <= 260
    assert RULE in new
    assert "Moss" in new


def test_answers_the_feedback_calls_right_become_rules_about_words() -> None:
    examples = [
        {
            "Inputs": {"ticket": said},
            "Generated Outputs": {"label": "x"},
            "Feedback": f"Expected '{label}', got 'x'.",
        }
        for said, label in [
            ("refund my order", "billing"),
            ("the app crashes", "tech"),
            ("refund twice", "billing"),
        ]
    ]
    new = reflected(examples, current="Route the ticket.")
    assert "'refund'" in new
    assert "billing" in new


def test_gepas_own_template_is_answered_between_fences() -> None:
    prompt = InstructionProposalSignature.prompt_renderer(
        {
            "current_instruction_doc": "Plan the garden.",
            "dataset_with_feedback": [example("Add a 'Zorblax' section."), example("Score: 0.2")],
            "prompt_template": None,
        }
    )
    said = dspy.settings.lm(prompt)[0]
    answer = said if isinstance(said, str) else said["text"]
    new = InstructionProposalSignature.output_extractor(answer)["new_instruction"]
    assert new.startswith("Plan the garden.")
    assert "Zorblax" in new


def test_instructions_are_compressed_to_a_limit() -> None:
    said = "Plan the garden with all the care in the world. Add a 'Moss' section. Roses are red and sweet."
    short = dspy.Predict(CompressInstruction)(
        instruction=said, length_limit="at most 40 characters."
    ).shortened_instruction
    assert short == "Add a 'Moss' section."


def advice(signature: Any, **inputs: Any) -> dict[str, str]:
    program = SkillCreationProgram()
    names = [name for name, _ in program.named_predictors()]
    common = {
        "program_code": "x",
        "modules_defn": simba.inspect_modules(program),
        "program_inputs": json.dumps({"task_description": "Prune the roses"}),
        "module_names": names,
    }
    made = dspy.Predict(signature)(**common, **inputs)
    assert made.discussion
    return dict(made.get("module_advice") or made.get("advice"))


def simba_advice(
    worse_info: str, labels: str = "{}", better: str = "{}", worse: str = "{}"
) -> dict[str, str]:
    return advice(
        simba.OfferFeedback,
        oracle_metadata=labels,
        worse_program_trajectory="[]",
        worse_program_outputs=worse,
        worse_reward_value=0.2,
        worse_reward_info=worse_info,
        better_program_trajectory="[]",
        better_program_outputs=better,
        better_reward_value=0.8,
        better_reward_info="{}",
    )


def test_simba_advice_goes_to_the_module_that_can_follow_it() -> None:
    feedback = {
        "feedback": "Add a 'Zorblax' section. Use three words in the name. Include a fenced code block."
    }
    given = simba_advice(json.dumps(feedback))
    assert set(given) == {name for name, _ in SkillCreationProgram().named_predictors()}
    assert "Zorblax" in given["plan.predict"]
    assert "three words" in given["understand"]
    assert "Zorblax" not in given["understand"]
    assert "fenced" in given["write"]


def test_simba_advice_rests_on_labels_and_on_what_only_the_better_run_has() -> None:
    labels = {"expected_taxonomy_path": "gardens/roses/x", "expected_sections": ["Soil", "Sun"]}
    assert RULE.partition(",")[0] in simba_advice("{}", labels=json.dumps(labels))["plan.predict"]
    better, worse = json.dumps({"sections": ["Soil", "Moss"]}), json.dumps({"sections": ["Soil"]})
    assert "Moss" in simba_advice("{}", better=better, worse=worse)["plan.predict"]
    assert "Moss" not in simba_advice("{}")["plan.predict"]


def test_refine_gets_advice_for_every_module() -> None:
    given = advice(
        refine.OfferFeedback,
        program_trajectory="[]",
        program_outputs="{}",
        reward_code="def reward(): ...",
        target_threshold=1.0,
        reward_value=0.2,
    )
    assert len(given) == 5
    assert "roses" in " ".join(given.values()).lower()


def test_rules_are_induced_from_examples() -> None:
    examples = "".join(
        f"Input Fields:\nticket: {said}\n\n=========\nOutput Fields:\nlabel: {label}\n\n"
        for said, label in [
            ("refund my order", "billing"), ("the app crashes", "tech"),
            ("refund it twice", "billing"), ("crashes at start", "tech"),
        ]
    )  # fmt: skip
    rules = RulesInductionProgram(5)(examples)
    assert "'refund'" in rules
    assert "answer tech" in rules


def test_avatar_feedback_is_taken_into_the_instruction() -> None:
    made = dspy.Predict(avatar.FeedbackBasedInstruction)(
        previous_instruction="Plan the garden.", feedback="Include a 'Zorblax' section."
    ).new_instruction
    assert made.startswith("Plan the garden.")
    assert "Zorblax" in made


def test_the_planning_instruction_survives_reflection_as_sentences() -> None:
    new = reflected([example(RULE)], current=PlanSkill.instructions)
    assert text.sentences(new)[:3] == text.sentences(PlanSkill.instructions)[:3]

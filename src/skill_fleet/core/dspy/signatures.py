"""What each step of skill creation reads and writes, and the instruction it starts from.

The instructions are the baseline that an optimizer improves: complete enough to stand alone with a real
model, silent about any one library's own conventions, which are what there is to learn from examples.
"""

import dspy


class UnderstandTask(dspy.Signature):
    """Decide where a requested agent skill belongs and what it is called.

    Read the request and the taxonomy. Follow an existing branch of the taxonomy as far as it fits, then add
    one leaf for the topic. Name the skill after its subject. List the terms a good skill must speak about,
    the most important first.
    """

    task_description: str = dspy.InputField(desc="what somebody wants an agent to be able to do")
    user_context: str = dspy.InputField(desc="who asks, as JSON; may be empty")
    taxonomy_structure: str = dspy.InputField(desc="the library's folders, as nested JSON objects")
    existing_skills: str = dspy.InputField(desc="taxonomy paths of skills that exist already, as JSON")
    taxonomy_path: str = dspy.OutputField(desc="folders joined by '/', lower_case_with_underscores")
    skill_name: str = dspy.OutputField(desc="lower-case words and single hyphens, 64 characters at most")
    key_terms: list[str] = dspy.OutputField(desc="three to eight terms the skill must speak about")


class PlanSkill(dspy.Signature):
    """Plan an agent skill before it is written.

    Write the description an agent reads when it decides whether to load the skill: what the skill does and
    when to use it, with the words a person would use. Then list the titles of the sections the skill needs
    for this task, in reading order.
    """

    task_description: str = dspy.InputField(desc="what somebody wants an agent to be able to do")
    taxonomy_path: str = dspy.InputField(desc="where the skill will live")
    skill_name: str = dspy.InputField()
    key_terms: list[str] = dspy.InputField(desc="terms the skill must speak about")
    description: str = dspy.OutputField(desc="one or two sentences, at most 1024 characters, no XML tags")
    sections: list[str] = dspy.OutputField(desc="titles of the level-2 sections, in reading order")


class GenerateSkillContent(dspy.Signature):
    """Write a complete SKILL.md for an agent skill.

    Begin with YAML frontmatter that holds name and description, then a title, then every planned section.
    Write for a capable agent: concrete steps, commands, examples and decision rules for this task, no
    general advice.
    """

    skill_metadata: str = dspy.InputField(desc="name, description and taxonomy path, as JSON")
    content_plan: str = dspy.InputField(desc="the section titles, one a line")
    generation_instructions: str = dspy.InputField(desc="the task and what the text must speak about")
    skill_content: str = dspy.OutputField(desc="the whole text of SKILL.md in Markdown")


class ReviewSkill(dspy.Signature):
    """Review a drafted SKILL.md against its task and plan.

    List only defects that would make an agent fail or mislead it: a planned section that is missing, a
    promise of the description that the body does not keep, a wrong or untested step. An empty list means
    the draft can be used as it is.
    """

    task_description: str = dspy.InputField(desc="what somebody wants an agent to be able to do")
    content_plan: str = dspy.InputField(desc="the section titles, one a line")
    skill_content: str = dspy.InputField(desc="the whole draft")
    issues: list[str] = dspy.OutputField(desc="one defect each and what to change; empty if none")


class RepairSkill(dspy.Signature):
    """Repair a drafted SKILL.md.

    Change what the findings name and nothing else. Return the whole text.
    """

    skill_content: str = dspy.InputField(desc="the whole draft")
    findings: list[str] = dspy.InputField(desc="what is wrong, one finding each")
    content_plan: str = dspy.InputField(desc="the section titles, one a line")
    repaired_content: str = dspy.OutputField(desc="the whole corrected text of SKILL.md in Markdown")

from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.core.programs.skill_creator import slug, specification_errors, tidy
from skill_fleet.domain.frontmatter_rules import NAME
from skill_fleet.domain.skill import Skill


@given(st.text(max_size=200))
def test_a_slug_is_a_valid_name_and_its_own_slug(text):
    name = slug(text)
    assert NAME.fullmatch(name)
    assert slug(name) == name


WORDS = st.lists(st.text("abcxyz019", min_size=1, max_size=12), min_size=1, max_size=20)


@given(WORDS.map("-".join).filter(NAME.fullmatch))
def test_a_valid_name_stays_as_it_is(name):
    assert slug(name) == name


@given(WORDS)
def test_a_long_name_is_cut_between_words(words):
    name = slug(" ".join(words))
    assert len(name) <= 64
    assert name.split("-") == words[: len(name.split("-"))]


@given(st.text(), st.sampled_from(["", "---\n", "---\nname: x\n", "---\nname: x\n---\n", "```markdown\n"]))
def test_tidying_anything_gives_the_planned_name_or_says_why_not(text, start):
    content = tidy(start + text, "planned-name", "What it is for.")
    content.encode()
    assert specification_errors(content) or Skill.parse(content).name == "planned-name"

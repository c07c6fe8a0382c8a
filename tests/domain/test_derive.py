from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.derive import Skipped, derive_trainset
from skill_fleet.domain.intent import intent_of
from skill_fleet.domain.leaks import leaks_of, names_skill
from skill_fleet.domain.lint import lint_trainset
from skill_fleet.domain.places import places_of, topics_of
from skill_fleet.domain.split import split_trainset
from skill_fleet.domain.taxonomy import paths_of
from skill_fleet.domain.trainset import Trainset, dump_trainset, trainset_of
from skill_fleet.domain.verbs import plain_form
from skill_fleet.domain.words import terms
from skill_fleet.foundation.errors import DataError, NotFound, UnknownName

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
LIBRARY = ROOT / "skills"

DESCRIPTION = (
    "Creates, reviews and repairs wooden boats for inland waters. Covers planks, caulking and varnish. "
    "Use when the user wants to build a rowing boat. Do not use for sails."
)
BODY = "# Boats\n\n## 1. Overview\n\nzebrafish quartz\n\n### Deep\n\n## 🚤 Step 2: Launch!\n\n## Overview\n"


def write(
    root: Path, folder: str, name: str | None = None, description: str = DESCRIPTION, **more: str
) -> None:
    path = root / folder / "SKILL.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"name: {name or path.parent.name}", f"description: {description}"]
    lines += [f"{key}: {value}" for key, value in more.items() if key != "body"]
    path.write_text("\n".join(["---", *lines, "---", "", more.get("body", BODY)]), encoding="utf-8")


def unlike(word: str) -> str:
    return f"Builds {word}houses from {word}bricks, {word}beams and {word}glass. Use when {word}roofs leak."


@pytest.fixture(scope="module")
def corpus() -> tuple[Trainset, tuple[Skipped, ...]]:
    if not CORPUS.is_dir():
        pytest.skip("shared corpus absent")
    return derive_trainset(CORPUS)


def test_a_skill_becomes_an_example(tmp_path: Path) -> None:
    write(tmp_path, "crafts/wood/boats/wooden-boat-care", license="MIT")
    write(tmp_path, "crafts/wood/chairs/chair-making", description=unlike("oak"))
    trainset, skipped = derive_trainset(tmp_path)
    item = trainset.items[0]
    assert skipped == ()
    assert item.id == "crafts/wood/boats/wooden-boat-care"
    assert item.group == "crafts/wood"
    assert item.expected == {
        "taxonomy_path": "crafts/wood/boats",
        "name": "wooden-boat-care",
        "sections": ["Overview", "Launch!"],
    }
    assert item.fields["taxonomy_structure"] == {"crafts": {"wood": {"chairs": {}}}}
    assert item.fields["existing_skills"] == ["crafts/wood/chairs"]
    assert item.fields["source"] == "crafts/wood/boats/wooden-boat-care/SKILL.md"
    assert item.fields["licence"] == "MIT"
    task = item.text
    assert "create, review and repair wooden boats for inland waters" in task
    assert "planks, caulking and varnish" in task
    assert "when someone wants to build a rowing boat" in task
    assert "sails" not in task
    assert not {"zebrafish", "quartz"} & set(terms(task))


def test_no_word_of_the_body_has_a_say(tmp_path: Path) -> None:
    write(tmp_path / "a", "crafts/boats/wooden-boat-care")
    write(tmp_path / "b", "crafts/boats/wooden-boat-care", body="## Overview\n\nOther words.\n\n## Launch!\n")
    one, two = derive_trainset(tmp_path / "a")[0], derive_trainset(tmp_path / "b")[0]
    assert one == two


def test_what_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path, "a/good/good-boats")
    write(tmp_path, "a/thin/wooden-boats", description="Repair wooden boats.")
    write(tmp_path, "a/flat/flat-file", description=unlike("clay"), body="# Only a title\n")
    write(tmp_path, "a/none/no-description", description="")
    (tmp_path / "a/latin").mkdir()
    (tmp_path / "a/latin/SKILL.md").write_bytes("---\nname: x\ndescription: Löten\n---\n".encode("latin-1"))
    (tmp_path / "a/bare").mkdir()
    (tmp_path / "a/bare/SKILL.md").write_text("no frontmatter", encoding="utf-8")
    (tmp_path / "node_modules/x").mkdir(parents=True)
    (tmp_path / "node_modules/x/SKILL.md").write_text("", encoding="utf-8")
    trainset, skipped = derive_trainset(tmp_path)
    assert [item.id for item in trainset.items] == ["a/good/good-boats"]
    reasons = {one.source.split("/")[1]: one.reason for one in skipped}
    assert reasons == {
        "bare": "it has no name",
        "flat": "it has no sections (headings of level 2)",
        "latin": "it is not UTF-8 text (byte 26)",
        "none": "it has no description",
        "thin": "its description says too little without its name",
    }


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 skills"):
        derive_trainset(tmp_path)
    write(tmp_path, "a/b/c-d", description="")
    with pytest.raises(DataError, match="because it has no description"):
        derive_trainset(tmp_path)
    with pytest.raises(NotFound):
        derive_trainset(tmp_path / "none")
    with pytest.raises(UnknownName, match="grouping"):
        derive_trainset(tmp_path, group_by="plugins")


def test_siblings_are_shown_and_other_groups_are_not(tmp_path: Path) -> None:
    for repository, plugin, name in (("r1", "p", "aa-one"), ("r1", "p", "bb-two"), ("r1", "q", "cc-three")):
        description = unlike(name[:2])
        write(tmp_path, f"{repository}/plugins/{plugin}/skills/{name}", description=description)
    (tmp_path / "r1/LICENSE").write_text("MIT License\n\nCopyright", encoding="utf-8")
    items = derive_trainset(tmp_path)[0].items
    assert [item.group for item in items] == ["r1/p", "r1/p", "r1/q"]
    assert items[0].fields["existing_skills"] == ["p/bb_two"]
    assert items[0].fields["taxonomy_structure"] == {"p": {"bb_two": {}}, "q": {}}
    assert items[2].fields["existing_skills"] == []
    assert items[0].fields["licence"] == "MIT"
    assert {item.group for item in derive_trainset(tmp_path, group_by="top")[0].items} == {"r1"}


def test_folders_tell_what_kind_of_tree_it_is() -> None:
    collection = places_of(
        [
            ("me__one", "plugins", "tea-time", "skills", "pour-tea"),
            ("me__two", "skills", ".curated", "fold-napkins"),
            ("me__two", "skills", "rust-server"),
            ("me__two", "skills", "rust-client"),
            ("me__two", "skills", "knitting"),
        ],
        "root",
    )
    assert [(place.group, place.taxonomy_path) for place in collection] == [
        ("me__one/tea-time", "tea_time/pour_tea"),
        ("me__two/curated", "curated/fold_napkins"),
        ("me__two/rust", "rust/rust_server"),
        ("me__two/rust", "rust/rust_client"),
        ("me__two/knitting", "general/knitting"),
    ]
    single = places_of([("plugins", "tea", "skills", "pour"), (".github", "skills", "x")], "repo")
    assert [place.group for place in single] == ["repo/tea", "repo/x"]
    library = places_of([("a", "b", "fast_api"), ("a", "b", "async", "python-async")], "skills")
    assert [(place.group, place.taxonomy_path) for place in library] == [
        ("a/b", "a/b/fast_api"),
        ("a/b", "a/b/async"),
    ]
    assert places_of([()], "boats")[0].taxonomy_path == "boats"
    assert places_of([("a", "日本", "x-y")], "r")[0].taxonomy_path == ""


def test_topics_are_shared_words_that_mean_something() -> None:
    topics = topics_of(
        ["rust-mcp-generator", "go-mcp-generator", "go-style", "go-tests", "code-review", "code-plan"]
    )
    assert topics == {"go-mcp-generator": "go", "go-style": "go", "go-tests": "go"}
    everywhere = topics_of([f"acme-{letter}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"])
    assert everywhere == {}


@pytest.mark.parametrize(
    ("description", "name", "words"),
    [
        (
            "Converting PDF files and merging them into books with covers",
            "x-y",
            "convert PDF files and merge them",
        ),
        (
            "Comprehensive guide for configuring Dependabot update schedules",
            "x-y",
            "configure Dependabot update",
        ),
        ("This skill helps you to design quiet office floor plans", "x-y", "design quiet office floor plans"),
        ("Toolkit for testing web forms with a real browser", "x-y", "test web forms with a real browser"),
        (
            "Master advanced Git rebasing, bisecting and reflogs",
            "x-y",
            "advanced Git rebasing, bisecting and reflogs",
        ),
        (
            "Use when you need to resolve a rebase conflict in progress",
            "x-y",
            "when we need to resolve a rebase conflict",
        ),
        (
            "Builds boats\n- Sanding hulls\n- Painting decks and masts",
            "x-y",
            "sanding hulls, painting decks and masts",
        ),
        (
            "Manages Azure pricing tables and Azure Pricing alerts for buyers",
            "azure-pricing",
            "manage such tables and such alerts",
        ),
        (
            "Plan trips for people. Use when someone asks to plan trips abroad with dogs",
            "plan-trips",
            "do this for people",
        ),
    ],
)
def test_descriptions_turn_into_wishes(description: str, name: str, words: str) -> None:
    assert words in str(intent_of(description, name, draw="1"))


def test_voices_differ_by_draw_and_stay_the_same_for_one() -> None:
    wishes = {intent_of(DESCRIPTION, "wooden-boat-care", draw=str(draw)) for draw in range(40)}
    assert len(wishes) > 20
    assert intent_of(DESCRIPTION, "a-b", draw="7") == intent_of(DESCRIPTION, "a-b", draw="7")


word = st.sampled_from(
    [
        *("creates", "builds", "Use", "when", "the", "user", "wants", "to", "for", "boats", "and"),
        *("pdf-tools", "PDF", "tools", ".", ",", ";", "\n", "-", "(", ")", "'"),
    ]
)
names = st.sampled_from(
    ["pdf-tools", "boats", "use-when", "wants-to", "creates", "help", "agent", "a", "", "--"]
)


@settings(deadline=None, max_examples=200)
@given(st.lists(word, max_size=60).map(" ".join) | st.text(max_size=200), names, st.integers(0, 9))
def test_no_wish_names_its_skill(description: str, name: str, draw: int) -> None:
    wish = intent_of(description, name, draw=str(draw))
    assert wish is None or (not names_skill(wish, name) and "{}" not in wish and "  " not in wish)


@pytest.mark.parametrize("name", ["agent", "help", "assistant", "write", "our-team", "comes-up"])
def test_a_voice_that_would_say_the_name_is_not_used(name: str) -> None:
    wishes = [intent_of(DESCRIPTION, name, draw=str(draw)) for draw in range(40)]
    assert all(wish and not names_skill(wish, name) for wish in wishes)


def test_a_huge_description_is_no_trouble() -> None:
    assert intent_of("build " + " ".join(f"part{n}" for n in range(200_000)), "x-y", draw="1") is not None
    assert intent_of("(" * 50_000 + "\n" * 50_000, "x-y", draw="1") is None


@pytest.mark.parametrize(
    ("form", "plain"),
    [
        ("Creates", "create"),
        ("Creating", "create"),
        ("fixes", "fix"),
        ("applies", "apply"),
        ("running", "run"),
        ("Boats", ""),
    ],
)
def test_verbs_have_a_plain_form(form: str, plain: str) -> None:
    assert plain_form(form) == plain


def test_the_own_library_gives_clean_examples() -> None:
    trainset, _ = derive_trainset(LIBRARY)
    assert [finding for finding in lint_trainset(trainset) if finding.severity == "error"] == []
    assert all(item.expected["taxonomy_path"].count("/") >= 1 for item in trainset.items)


def test_the_corpus_gives_hundreds_of_clean_examples(corpus: tuple[Trainset, tuple[Skipped, ...]]) -> None:
    trainset, skipped = corpus
    assert len(trainset.items) >= 600
    assert len(trainset.items) + len(skipped) == 688
    assert [leak for item in trainset.items for leak in leaks_of(item)] == []
    assert [finding for finding in lint_trainset(trainset) if finding.severity == "error"] == []
    sizes = [
        sum(item.group == group for item in trainset.items)
        for group in {item.group for item in trainset.items}
    ]
    assert len(sizes) > 100
    assert max(sizes) < 40
    assert trainset_of(dump_trainset(trainset)) == trainset


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_in_the_corpus_no_part_sees_the_answers_of_another(
    corpus: tuple[Trainset, tuple[Skipped, ...]], seed: int
) -> None:
    trainset, _ = corpus
    split = split_trainset(trainset, seed=seed)
    held = {(item.expected["taxonomy_path"]) for item in (*split.validation, *split.test)}
    for item in split.train:
        assert not held & set(item.fields["existing_skills"])
        assert not held & set(paths_of(item.fields["taxonomy_structure"]))


def test_a_whole_repository_of_the_corpus_can_be_the_test(
    corpus: tuple[Trainset, tuple[Skipped, ...]],
) -> None:
    split = split_trainset(corpus[0], seed=0, holdout_groups=["wshobson__agents"])
    # A near-duplicate of one of its tasks, on architectural decision records, comes along.
    others = [item for item in split.test if not item.group.startswith("wshobson__agents")]
    assert [item.id.rpartition("/")[2] for item in others] == ["create-architectural-decision-record"]
    assert not any(item.group.startswith("wshobson__agents") for item in (*split.train, *split.validation))
    assert len(split.test) >= 170


def test_deriving_is_deterministic_and_the_seed_changes_only_the_voice() -> None:
    if not CORPUS.is_dir():
        pytest.skip("shared corpus absent")
    root = CORPUS / "dotnet__skills"
    first, again, other = derive_trainset(root)[0], derive_trainset(root)[0], derive_trainset(root, seed=1)[0]
    assert first == again
    assert [item.id for item in other.items] == [item.id for item in first.items]
    assert [item.expected for item in other.items] == [item.expected for item in first.items]
    assert [item.text for item in other.items] != [item.text for item in first.items]

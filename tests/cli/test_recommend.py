"""`recommend`, and `--optimizer auto`, as a user types them."""

import json


def words_of(own):
    """The options of the small program without the optimizer."""
    at = own.index("--optimizer")
    return (*own[:at], *own[at + 2 :])


def test_it_names_an_optimizer_the_rule_and_the_rest(cli, ws, own):
    found = cli("recommend", *words_of(own), "--json").json
    assert found["optimizer"] == "bootstrap_few_shot"
    assert found["rule"] in {"few_examples", "no_words"}
    assert [one["optimizer"] for one in found["options"]][:2] == ["gepa", "miprov2"]
    assert all(one["price"]["calls"][0] <= one["price"]["calls"][1] for one in found["options"])
    assert found["past"] == []
    assert not (ws / ".skill-fleet" / "runs").exists(), "nothing is begun"


def test_it_reads_on_a_terminal(cli, own):
    ended = cli("recommend", *words_of(own))
    assert ended.code == 0
    assert ended.out.startswith("bootstrap_few_shot, effort 1.")
    assert "Nothing was spent." in ended.out


def test_auto_runs_what_is_recommended_and_a_resume_does_not_choose_again(cli, ws, own):
    ended = cli("optimize", *words_of(own), "--optimizer", "auto", "--json")
    assert ended.code == 0
    result = ended.json
    assert "Optimizer: bootstrap_few_shot." in ended.err
    assert result["optimizer"] == "bootstrap_few_shot"
    assert result["recommendation"]["optimizer"] == "bootstrap_few_shot"
    request = json.loads((ws / ".skill-fleet" / "runs" / result["run_id"] / "request.json").read_text())
    assert request["optimizer"] == "bootstrap_few_shot"
    learnt = cli("recommend", *words_of(own), "--json").json["past"]
    assert [(one["optimizer"], one["runs"]) for one in learnt] == [("bootstrap_few_shot", 1)]


def test_a_resumed_run_keeps_the_choice(cli, own):
    stopped = cli("optimize", *words_of(own), "--optimizer", "auto", "--max-calls", 40, "--json")
    assert stopped.code in {0, 5}
    chosen = stopped.json["optimizer"]
    if stopped.code == 5:
        again = cli("runs", "resume", "latest", "--max-calls", 4000, "--json").json
        assert (again["optimizer"], again["recommendation"]) == (chosen, stopped.json["recommendation"])


def test_an_unfinished_run_is_named(cli, own):
    assert cli("optimize", *own, "--max-calls", 15, "--json").code == 5
    found = cli("recommend", *words_of(own), "--json").json
    assert found["resumable"][0]["command"].startswith("skill-fleet runs resume ")


def test_where_nothing_fits_the_cap_nothing_is_begun(cli, ws, own):
    ended = cli("optimize", *words_of(own), "--optimizer", "auto", "--max-calls", 3)
    assert ended.code == 2
    assert "No optimizer fits." in ended.err
    assert not (ws / ".skill-fleet" / "runs").exists()
    asked = cli("recommend", *words_of(own), "--max-calls", 3, "--json")
    assert (asked.code, asked.json["optimizer"]) == (0, None)


def test_the_price_of_auto_is_that_of_its_choice(cli, own):
    priced = cli("estimate", *words_of(own), "--optimizer", "auto", "--json").json
    assert priced["optimizer"] == priced["recommendation"]["optimizer"]
    chosen = next(o for o in priced["recommendation"]["options"] if o["code"] == "chosen")
    assert priced["calls"] == chosen["price"]["calls"]

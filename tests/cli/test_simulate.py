"""`simulate-provider` as its users run it: in a process of its own, with plain clients and with ours."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from skill_fleet.simulator import CATALOGUE
from warm_commands import warm_command

CLIENT = """
import json, sys, urllib.request
body = {"model": "offline/rules-v1", "messages": [{"role": "user", "content": "hello"}]}
urllib.request.urlopen(sys.argv[1] + "/chat/completions", json.dumps(body).encode())
"""
TRAINSET = Path(__file__).resolve().parents[2] / "config" / "training" / "trainset.json"


def asked(url, prompt="Say hello.", **more):
    body = {"model": "offline/rules-v1", "messages": [{"role": "user", "content": prompt}], **more}
    request = urllib.request.Request(  # noqa: S310 - our own
        f"{url}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.load(answer)


def totals_of(url):
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/simulator/totals", timeout=60) as answer:  # noqa: S310
        return json.load(answer)


@pytest.fixture
def simulator(start):
    """Starts simulators in processes of their own; what each said when it was ready."""
    started = []

    def run(*words):
        process = start("simulate-provider", "--json", *words)
        started.append(process)
        return process, json.loads(process.stdout.readline())

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop_and_says_what_it_served(simulator, number):
    process, ready = simulator("--price", "1,2", "--fault", "no_usage=1", "--seed", "5")
    assert ready["url"].startswith("http://127.0.0.1:")
    assert ready["models"] == ["offline/rules-v1"]
    assert ready["simulated"] is True
    assert asked(ready["url"])["system_fingerprint"] == "simulated"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    totals = json.loads(out)
    assert totals["simulated"] is True
    assert (totals["requests"], totals["answered"], totals["by_fault"]) == (1, 1, {"no_usage": 1})
    assert totals["billed_usd"] == (totals["prompt_tokens"] + 2 * totals["completion_tokens"]) / 1e6 > 0


def test_without_a_price_its_bill_has_no_dollars(start):
    process = start("simulate-provider")
    url = process.stderr.readline().split(" at ")[1].split(":", 3)
    asked(":".join(url[:3]))
    process.send_signal(signal.SIGINT)
    assert "tokens; no --price, so no dollars" in process.communicate(timeout=60)[0]


def test_ctrl_c_ends_it_though_clients_hang(simulator):
    process, ready = simulator("--fault", "hang=1")
    client = subprocess.Popen([sys.executable, "-c", CLIENT, ready["url"]], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while totals_of(ready["url"])["requests"] == 0:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert json.loads(out)["by_fault"] == {"hang": 1}
    assert client.wait(timeout=60) != 0


def test_it_ends_after_so_many_requests(simulator, ws):
    process, ready = simulator("--max-requests", "3", "--ledger", "ledger.ndjson")
    for number in range(3):
        asked(ready["url"], f"Task {number}")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["requests"] == 3
    lines = [json.loads(line) for line in (ws / "ledger.ndjson").read_text().splitlines()]
    assert [line["delivered"] for line in lines] == [True] * 3


def test_its_words_for_people(cli):
    ended = cli("simulate-provider", "--max-seconds", "0.2", "--fault", "hang=0.5", "--price", "1,2")
    assert ended.code == 0
    assert "no language model" in ended.err
    assert "openai/offline/rules-v1 with api_base http://127.0.0.1:" in ended.err
    assert "requests" in ended.out
    assert "0 + 0 tokens, $0.000000" in ended.out
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert cli("simulate-provider", "--max-seconds", "0.2", "--quiet").err == ""
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_its_help_names_every_fault(cli):
    words = cli("simulate-provider", "--help").out.replace(",", " ").replace(".", " ").split()
    assert set(CATALOGUE) <= set(words)


def test_other_machines_are_let_in_only_where_that_is_said_and_it_is_told(cli):
    ended = cli("simulate-provider", "--host", "0.0.0.0", "--max-seconds", "0.1")  # noqa: S104
    assert ended.code == 0
    assert "Other machines can reach it" in ended.err


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("--fault", "hangs=0.1"), "Did you mean 'hang'?", 2),
        (("--fault", "hang"), "there is no rate", 2),
        (("--fault", "hang=often"), "'often' is no number", 2),
        (("--fault", "hang=2"), "from 0 to 1", 2),
        (("--fault", "hang=0.6", "--fault", "drip=0.6"), "together", 2),
        (("--price", "cheap"), "--price 0.15,0.60", 2),
        (("--price", "1,2,3"), "--price 0.15,0.60", 2),
        (("--price=-1,2",), "price", 2),
        (("--rps", "10", "--rpm", "600"), "exclude each other", 2),
        (("--rps", "0"), "above 0", 2),
        (("--model", "gpt-5"), "simulated/", 2),
        (("--script", "none.yaml"), "There is no script", 3),
        (("--api-key-env", "SIM_KEY"), "SIM_KEY is empty", 6),
        (("--ledger", "."), "cannot be written", 1),
        (("--fault", "hang=0.1", "--fault", "hang =0.2"), "--fault hang is given twice", 2),
        (("--ledger", "no/such/ledger"), "there is no folder no/such", 1),
        (
            ("--host", "no.such.host.invalid"),
            "port 0: this machine has no such address. Choose another --host",
            2,
        ),
        (("--host", "256.1.1.1"), "port 0: this machine has no such address. Choose another --host", 2),
        (("--host", "192.0.2.1"), "port 0: this machine has no such address. Choose another --host", 2),
        (("--port", "65536"), "65535", 2),
    ],
)
def test_what_it_refuses_is_one_sentence(cli, words, said, code):
    ended = cli("simulate-provider", "--max-seconds", "0.1", *words)
    assert ended.code == code
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1
    assert ended.out == ""


def test_a_port_that_is_taken_is_told_once(cli, ws):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        ended = cli("simulate-provider", "--max-seconds", "0.1", "--port", port)
    assert ended.code == 2
    assert ended.err == (
        f"error: Cannot listen at 127.0.0.1, port {port}: address already in use. "
        "Choose another --port; 0 takes a free one.\n"
    )
    assert not (ws / "no").exists()


def test_a_key_from_the_environment_is_asked_for_and_never_shown(simulator, monkeypatch):
    monkeypatch.setenv("SIM_KEY", "planted-key-of-nobody-1")
    process, ready = simulator("--api-key-env", "SIM_KEY")
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(ready["url"])
    assert refused.value.code == 401
    refused.value.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "planted-key" not in out + err + json.dumps(ready)


CONFIG = """
models:
  default: simulated
  registry:
    simulated:
      model: openai/offline/rules-v1
      api_base: {url}
      temperature: 0.7
      max_tokens: 4000
      price: {{input_per_million: 0.15, output_per_million: 0.60}}
"""


@pytest.fixture
def workspace(ws, simulator):
    """A workspace whose model is behind a simulator, and that simulator's totals."""
    _, ready = simulator("--price", "0.15,0.60")
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text(CONFIG.format(url=ready["url"]))
    return lambda: totals_of(ready["url"])


def ended(ws, *words):
    done = subprocess.run(
        [warm_command(), *words], cwd=ws, text=True, capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bill(totals):
    return totals["billed_prompt_tokens"], totals["billed_completion_tokens"], totals["billed_usd"]


def test_create_skill_through_http(workspace, ws):
    value = ended(ws, "create-skill", "--task", "Review SQL migrations before they run", "--json")
    assert value["simulated"] is True
    assert (ws / value["path"]).read_text().startswith("---\nname: ")
    totals = workspace()
    assert value["calls"]["made"] == totals["requests"] == totals["answered"] > 0
    tokens = value["tokens"]
    assert bill(totals) == (tokens["input"], tokens["output"], pytest.approx(value["usd"], abs=1e-9))


def test_optimize_through_http(workspace, ws):
    """The skill program, end to end: what the run counts is what the provider served and billed."""
    data = ws / "small.json"
    data.write_text(json.dumps(json.loads(TRAINSET.read_text())[:24]))
    words = (
        "--data",
        str(data),
        "--optimizer",
        "gepa",
        "--trials",
        "1",
        "--rounds",
        "1",
        "--min-groups",
        "3",
    )
    value = ended(ws, "optimize", *words, "--seed", "1", "--yes", "--json")
    assert value["status"] == "succeeded"
    assert value["simulated"] is True
    assert value["baseline"]["test"] > 0
    totals = workspace()
    assert value["calls"]["made"] == totals["requests"] == totals["answered"] > 100
    tokens = value["tokens"]
    assert bill(totals) == (tokens["input"], tokens["output"], pytest.approx(value["usd"], abs=1e-9))

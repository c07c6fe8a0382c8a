"""What every optimizer promises, as tests that pytest collects from a subclass.

Each promise is checked by one method and fails with one sentence; no pytest is needed to call them.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from skill_fleet.config.settings import PHASES
from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.core.programs.recipes.rebuild import with_state
from skill_fleet.core.programs.recipes.recipe import is_recipe, members_in
from skill_fleet.optimization.conformance.bench import Bench, Case, Searched
from skill_fleet.optimization.estimates.estimate import effort_of, size_of_run, sizes_of
from skill_fleet.optimization.optimizer import Optimizer, OptimizerInfo, Sizes
from skill_fleet.optimization.search import unfocused

_SAME = 1e-9


class NonConformance(AssertionError):
    """An optimizer does not keep a promise; the message is one sentence."""


class OptimizerConformance:
    """The suite: subclass it in a test module, name the optimizer, and run pytest.

    ```python
    class TestHillclimb(OptimizerConformance):
        optimizer = Hillclimb
    ```

    Searches run as in the product, on a small program of its own and the offline model: no network, no
    files outside a temporary directory. What is asked follows from `OptimizerInfo.capabilities`.

    Attributes:
        optimizer: Makes the optimizer under test.
        trials: `--trials` of a small search that finds something.
    """

    optimizer: ClassVar[Callable[[], Optimizer]]
    trials: ClassVar[int] = 2
    bench: ClassVar[Bench]

    @classmethod
    def setup_class(cls) -> None:
        """Before the first test, as pytest calls it."""
        cls.bench = Bench(cls.optimizer, cls.trials)

    @classmethod
    def teardown_class(cls) -> None:
        """After the last test."""
        cls.bench.close()

    @property
    def info(self) -> OptimizerInfo:
        """What the optimizer says of itself."""
        return self.bench.optimizer().info

    def test_it_returns_a_new_program(self) -> None:
        """The program found is not the student, nor made of its predictors."""
        done = _ended(self.bench.whole)
        _require(done.found is not done.student, "It returned the student itself.")
        shared = {id(p) for _, p in _predictors(done.found)} & {id(p) for _, p in _predictors(done.student)}
        _require(not shared, "The program it returned shares predictors with the student.")

    def test_it_leaves_the_student_alone(self) -> None:
        """The student, and what other programs of its class share, is as before; also after a halt."""
        for done in (self.bench.whole, self.bench.capped):
            if done.found is done.student:
                continue  # another promise
            _require(clean_state(done.student) == done.before, "It changed the student.")
            fresh = done.plan.entry.build()
            _require(clean_state(fresh) == done.before, "It changed the signature that all programs share.")

    def test_it_changes_what_it_declares(self) -> None:
        """Nothing but what `OptimizerInfo.changes` names."""
        beyond = _changed(self.bench.whole) - set(self.info.changes)
        _require(not beyond, f"It changed {', '.join(sorted(beyond))}, which it does not declare.")

    def test_it_finds_something_better(self) -> None:
        """At least one proposal is accepted; one that learns gains, one that does not gains nothing."""
        done = _ended(self.bench.whole)
        _require(bool(_changed(done)), "It returned the student unchanged: no proposal was accepted.")
        gain = done.gain or 0.0
        if self.info.capabilities.learns:
            _require(gain > _SAME, f"It learns, and yet gained {gain:+.3f} on the validation set.")
        else:
            _require(abs(gain) <= _SAME, f"It does not learn, and yet gained {gain:+.3f}: made up.")

    def test_the_tracker_sees_its_candidates(self) -> None:
        """The best so far is known from outside, and can be loaded, if the search is stopped."""
        if not self.info.capabilities.tracked:
            return
        best = self.bench.whole.best_seen
        _require(best is not None, "It measured no candidate on the whole validation set.")
        loaded = with_state(self.bench.whole.plan.entry.build(), best or {})
        _require(clean_state(loaded) == best, "The best candidate seen cannot be loaded.")

    def test_it_asks_the_models_of_its_phases(self) -> None:
        """With four models, each phase it declares asks its own model, and no other phase asks at all."""
        models = {phase: f"offline/rules-v1-s{number}" for number, phase in enumerate(PHASES, start=1)}
        done = _ended(self.bench.search("phases", Case(models=models)))
        right = set(models.items())
        for phase, model in done.asked:
            _require((phase, model) in right, f"Calls of {phase} went to {model}, the model of another.")
        declared, asked = set(self.info.capabilities.phases), {phase for phase, _ in done.asked}
        _require(asked == declared, f"It declares the phases {sorted(declared)} and asked {sorted(asked)}.")

    def test_what_it_returns_survives_saving(self) -> None:
        """Saved as JSON and loaded into a fresh program it asks the same and scores the same."""
        done = _ended(self.bench.whole)
        _require(done.reloaded_alike is True, "Saved as JSON and loaded, the program is another one.")

    def test_only_the_named_predictors_change(self) -> None:
        """With `--module`, all others keep instructions, demonstrations and fields."""
        if not self.info.capabilities.modules:
            return
        case = Case(program="TwoSteps", modules=("route",))
        done = _ended(self.bench.search("focused", case))
        fresh = done.plan.entry.build()
        plain, state = clean_state(fresh), clean_state(unfocused(done.found, type(fresh)))
        changed = {
            key for one in members_in(state) for key in {*plain, *one} if plain.get(key) != one.get(key)
        } | set(state.get("recipe", {}).get("predictors", ()) if is_recipe(state) else ())
        _require(changed <= {"route"}, f"Asked to change `route` only, it changed {sorted(changed)}.")

    def test_threads_decide_nothing(self) -> None:
        """1 thread and 8 make the same calls and find the same program."""
        done, single = self.bench.whole, self.bench.search("single", Case(threads=1))
        _require(single.mark == done.mark, "1 thread and 8 found different programs.")
        _require(single.made == done.made, f"1 thread made {_told(single)}, 8 threads {_told(done)}.")

    def test_a_replay_costs_nothing(self) -> None:
        """The same search over the same journal makes no call and finds the same program."""
        done, again = self.bench.whole, self.bench.search("whole", Case())
        _require(again.calls == 0, f"Replayed, it made {_told(again)}.")
        _require(again.mark == done.mark, "Replayed, it found another program.")

    def test_the_seed_reaches_it(self) -> None:
        """Another seed makes another search."""
        if not self.info.capabilities.seeded:
            return
        _ended(self.bench.whole)
        other = self.bench.search("whole", Case(seed=0))
        _require(other.calls > 0, "Another seed asked nothing new: the seed does not reach it.")

    def test_it_stops_on_halt(self) -> None:
        """A `Halt` comes out of `improve`; it is a `BaseException` so that nobody swallows it."""
        halt = self.bench.capped.halt
        _require(halt is not None, "It swallowed the Halt and returned a program.")
        _require(halt is None or halt.cause == "budget", "What stopped it was not the cap.")

    def test_a_cap_is_exact(self) -> None:
        """A search with half the calls it takes makes exactly those."""
        made, cap = self.bench.capped.calls, self.bench.whole.calls // 2
        _require(made == cap, f"Capped at {cap} calls, it made {made}.")

    def test_a_stopped_search_ends_identical(self) -> None:
        """Gone on with, it pays for the rest only and ends in the program of the uninterrupted search."""
        done, capped = self.bench.whole, self.bench.capped
        resumed = self.bench.search("capped", Case())
        _require(resumed.mark == done.mark, "Stopped and gone on with, it found another program.")
        paid = capped.calls + resumed.calls
        _require(paid == done.calls, f"In two parts it paid for {paid} calls, in one for {done.calls}.")

    def test_it_stays_within_its_estimate(self) -> None:
        """Its estimate is in order, and no phase makes more calls than its bound."""
        done = self.bench.whole
        estimated = self.bench.optimizer().estimate_calls(sizes_of(done.plan, size_of_run(done.plan)))
        for phase, one in estimated.items():
            ends = f"{one.low:g}, {one.high:g} and {one.most:g}"
            in_order = 0 <= one.low <= one.high <= one.most
            _require(in_order, f"Its estimate of {phase} is not low, high and bound: {ends}.")
        # The search finds what the baseline measured in the journal: only the bound is a promise here.
        for phase, calls in done.made.items():
            _require(phase in estimated, f"It made {calls} calls of {phase}, which it does not estimate.")
            most = estimated[phase].most
            _require(calls <= most, f"It made {calls} calls of {phase}; its estimate says {most:g} at most.")

    def test_further_effort_is_not_cheaper(self) -> None:
        """The estimate of more trials, or of `heavy`, is not below that of fewer, or of `light`."""
        plan = self.bench.whole.plan
        optimizer = self.bench.optimizer()
        known = {parameter.name for parameter in self.info.parameters}
        _require({"auto", "trials"} <= known, "Its parameters do not say what --auto and --trials mean.")
        effort = replace(effort_of(plan), auto=None, trials=1)
        sizes = Sizes(20, 15, 2, size_of_run(plan).calls, effort)

        def most(auto: str | None, trials: int | None) -> float:
            sized = replace(sizes, effort=replace(effort, auto=auto, trials=trials))
            return sum(each.most for each in optimizer.estimate_calls(sized).values())

        _require(most(None, 1) <= most(None, 6), "6 trials are estimated below 1.")
        _require(most("light", None) <= most("heavy", None), "`heavy` is estimated below `light`.")


def failures(suite: type[OptimizerConformance]) -> dict[str, str]:
    """The promises that are not kept: name of the test -> what is wrong. For use without pytest."""
    found: dict[str, str] = {}
    suite.setup_class()
    try:
        for name in dir(suite):
            if name.startswith("test_"):
                try:
                    getattr(suite(), name)()
                except NonConformance as broken:
                    found[name] = str(broken)
                except Exception as error:  # noqa: BLE001 - the optimizer is foreign code: what it raises is a finding
                    found[name] = f"{type(error).__name__}: {error}"
    finally:
        suite.teardown_class()
    return found


def _require(kept: bool, sentence: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not kept:
        raise NonConformance(sentence)


def _ended(done: Searched) -> Searched:
    _require(done.halt is None, f"The search was stopped: {done.halt}.")
    _require(done.found is not None, "It returned no program.")
    return done


def _predictors(program: Any) -> list[tuple[str, Any]]:
    return list(program.named_predictors())


def _changed(done: Searched) -> set[str]:
    """What differs between the student as it was and the program found."""
    state = clean_state(_ended(done).found)
    kinds = {"inference"} if is_recipe(state) else set()
    for member in members_in(state):
        if member.keys() != done.before.keys():
            return {"program"}
        for name, old in done.before.items():
            new = member[name]
            kinds |= {"demos"} if new["demos"] != old["demos"] else set()
            kinds |= {"instructions"} if new["signature"] != old["signature"] else set()
    return kinds


def _told(done: Searched) -> str:
    parts = [f"{count} calls of {phase}" for phase, count in sorted(done.made.items())]
    return ", ".join(parts) or "no call"

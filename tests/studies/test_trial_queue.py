import sqlite3
import threading
import time

import pytest

from seqjax.errors import UserError
from seqjax.studies.sampling import Rules
from seqjax.studies.space import choice, integers, log_uniform
from seqjax.studies.trial_queue import Offer, TrialQueue

_SPACE = {
    "optimizer.learning_rate": log_uniform(1e-4, 1e-2),
    "model.encoder.layers": integers(1, 4),
    "evaluation.metrics": choice(("bleu",), ("bleu", "chrf")),
}
_LIST = Rules(higher=True, domains={"seed": choice(1, 2, 3)})
_NAMES = ("a", "b", "c")


@pytest.fixture
def queue(tmp_path):
    """Returns a function that opens the queue of a study in one file, as each worker does."""

    def make(rules=_LIST, offers=None, lost_after=120, void=(), enter=True):
        queue = TrialQueue("", tmp_path, "s", rules, lost_after)
        if offers is None:
            offers = {name: Offer(name, {"seed": i + 1}) for i, name in enumerate(_NAMES)}
        if enter:
            queue.enter(offers, void=void)
        return queue

    return make


def _search(count=3, **fields):
    rules = Rules(higher=False, domains=_SPACE, draws=True, **fields)
    return {"rules": rules, "offers": {f"trial-{i}": Offer() for i in range(count)}}


def _states(queue):
    return [standing.state for standing in queue.standings().values()]


def test_each_trial_is_claimed_once_and_in_order(queue):
    first, second = queue(), queue()
    claims = [first.claim(_NAMES), second.claim(_NAMES), first.claim(_NAMES)]
    assert [claim.name for claim in claims] == ["a", "b", "c"]
    assert [claim.point for claim in claims] == [{"seed": 1}, {"seed": 2}, {"seed": 3}]
    assert first.claim(_NAMES) is second.claim(_NAMES) is None
    assert _states(second) == ["running"] * 3
    second.finish(claims[1], {"splits": {}}, 31.5)
    assert _states(first) == ["running", "complete", "running"]
    assert first.standings()["b"].record == {"splits": {}}
    assert queue().claim(["b"]) is None


def test_workers_that_come_at_the_same_time_share_all_trials(queue, tmp_path):
    names = [f"t{i}" for i in range(12)]
    claimed, together = [], threading.Barrier(3)

    def work():
        together.wait()
        mine = queue(offers={name: Offer(name) for name in names})
        while claim := mine.claim(names):
            claimed.append(claim.name)
            mine.finish(claim, {}, 1.0)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(names)
    assert set(_states(queue(offers={name: Offer(name) for name in names}))) == {"complete"}


def test_trials_are_known_by_their_configs(queue):
    old = queue()
    old.finish(old.claim(["a"]), {}, 1.0)
    new = queue(offers={"a": Offer("another", {"seed": 2})})
    assert new.claim(["a"]).name == "a"
    assert _states(queue()) == ["complete", "waiting", "waiting"]


def test_what_failed_is_reported_and_tried_again_by_the_next_start_only(queue):
    first = queue()
    first.finish(first.claim(["a"]), {"failure": "no luck"}, failure="no luck")
    first.revive()
    assert first.claim(["a"]) is None
    assert first.standings()["a"][0::3] == ("failed", "no luck")
    again = queue().claim(["a"])
    assert (again.attempt, again.point) == (1, {"seed": 1})


def test_what_is_released_goes_on_elsewhere_with_the_same_values(queue):
    first, second = queue(**_search()), queue(**_search())
    claim = first.claim(["trial-1"])
    first.finish(claim, {})
    assert _states(second) == ["waiting"] * 3
    second.revive()
    again = second.claim(["trial-1"])
    assert again.point == claim.point and again.attempt == 1


def test_a_worker_that_is_silent_has_died_and_its_trial_goes_on(queue):
    dead, alive = queue(lost_after=1), queue(lost_after=1)
    lost, kept = dead.claim(["a"]), alive.claim(["b"])
    deadline = time.monotonic() + 30
    while not (again := alive.claim(["a"])) and time.monotonic() < deadline:
        alive.beat(kept)
        time.sleep(0.1)
        alive.revive()
    assert again.attempt == 1
    assert _states(alive) == ["running", "running", "waiting"]
    # Should it live after all, it learns that and does no harm.
    assert not dead.beat(lost) and alive.beat(kept)
    dead.finish(lost, {}, 9.0)
    assert _states(alive)[0] == "running"


@pytest.fixture
def die(tmp_path):
    """Lets the worker of a claimed trial be silent for years."""

    def die(queue):
        with sqlite3.connect(tmp_path / "study.db") as database:
            database.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00.000000'")
        queue.revive()

    return die


def test_a_trial_that_kills_its_workers_is_given_up(queue, die):
    one = queue(lost_after=1, offers={"a": Offer("a")})
    for attempt in range(3):
        assert one.claim(["a"]).attempt == attempt
        die(one)
    assert one.claim(["a"]) is None
    assert one.standings()["a"][0::3] == ("failed", "its worker died 3 times")


def test_deaths_of_workers_that_got_a_trial_further_do_not_count(queue, die):
    one = queue(lost_after=1, offers={"a": Offer("a")})
    for further in (False, False, True, True, True, False, False):
        assert one.beat(one.claim(["a"]), further)
        die(one)
    assert one.beat(one.claim(["a"]))
    die(one)
    assert one.claim(["a"]) is None
    assert one.standings()["a"][0::3] == ("failed", "its worker died 3 times")


def test_results_that_are_gone_are_made_again(queue):
    first = queue()
    first.finish(first.claim(["a"]), {}, 1.0)
    again = queue(void=["a", "b"])
    assert _states(again) == ["waiting"] * 3
    claim = again.claim(["a"])
    again.finish(claim, {}, 2.0)
    assert _states(queue()) == ["complete", "waiting", "waiting"]


def test_a_search_draws_from_its_space_and_goes_on_as_it_would(queue, tmp_path):
    whole = queue(**_search(4, startup=1))
    drawn = []
    for value in (3.0, 2.0, 1.0, 4.0):
        claim = whole.claim(whole.standings())
        drawn.append(claim.point)
        whole.finish(claim, {}, value)
    for point in drawn:
        assert list(point) == list(_SPACE)
        assert 1e-4 <= point["optimizer.learning_rate"] <= 1e-2
        assert point["model.encoder.layers"] in (1, 2, 3, 4)
        assert point["evaluation.metrics"] in (("bleu",), ("bleu", "chrf"))
    assert [standing.point for standing in whole.standings().values()] == drawn
    # The same draws by workers that come and go.
    (tmp_path / "study.db").unlink()
    for number, value in enumerate((3.0, 2.0, 1.0, 4.0)):
        each = queue(**_search(4, startup=1))
        claim = each.claim(each.standings())
        assert claim.point == drawn[number]
        each.finish(claim, {}, value)


def test_the_median_ends_what_is_worse_than_half(queue):
    rules = _search(4, pruner="median", startup=2)
    one = queue(**rules)
    for values in ([5.0, 3.0], [6.0, 4.0]):
        claim = one.claim(one.standings())
        assert not one.report(claim, values[:1])
        assert not one.report(claim, values)
        one.finish(claim, {}, min(values))
    bad = one.claim(one.standings())
    assert not one.report(bad, [5.2])
    # Another worker goes on with it, and knows what was said.
    one.finish(bad, {})
    other = queue(**rules)
    bad = other.claim(["trial-2"])
    assert bad.reported == 0 and other.report(bad, [5.2, 4.6])
    other.finish(bad, {"pruned": 7}, pruned=True)
    standing = one.standings()["trial-2"]
    assert (standing.state, standing.record) == ("pruned", {"pruned": 7})
    assert not other.report(other.claim(["trial-3"]), [])


def test_another_study_of_the_name_is_refused(queue):
    one = queue(enter=False)
    identity = {"search": {"splits": ("test",)}, "config": {"seed": 1, "new": 2}}
    one.identify(identity)
    one.enter({"a": Offer()})
    queue(enter=False).identify(identity)
    # Fields of the config come and go with versions.
    one.identify({"search": {"splits": ("test",)}, "config": {"seed": 1, "newer": 2}})
    for other, message in (
        (
            {"search": {"splits": ("test",)}, "config": {"seed": 2}},
            "seed = 2: expected 1, since --storage=",
        ),
        ({"search": {"splits": ()}, "config": {}}, "splits = []: expected ['test'], since --"),
        ({"search": {}, "config": {}}, "splits = None: expected ['test'], since --"),
        ({"study": {}}, "has a study 's' of another kind: choose another --workdir or --storage"),
    ):
        with pytest.raises(UserError) as caught:
            one.identify(other)
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_workers_that_begin_at_once_agree(queue, monkeypatch):
    identity = {"search": {"splits": ("test",)}, "config": {}}
    one, other = queue(enter=False), queue(enter=False)
    look = other._study.get_trials

    def late(**options):
        one.identify(identity)
        one.enter({"a": Offer()})
        return look(**options)

    monkeypatch.setattr(other._study, "get_trials", late)
    other.identify(identity)


def test_optuna_knows_the_values_and_results(queue, tmp_path):
    import optuna

    one = queue()
    one.finish(one.claim(["b"]), {}, 31.5)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/study.db")
    assert study.best_value == 31.5 and study.best_params == {"seed": 2}
    # A choice that the study has not had is no reason to stop.
    changed = Rules(higher=True, domains={"seed": choice(1, 7)})
    assert queue(changed, {"d": Offer("d", {"seed": 7})}).claim(["d"]).point == {"seed": 7}


@pytest.mark.filterwarnings("ignore:Attempting to set identical")
def test_plots_of_optuna_work_on_a_search(queue, tmp_path):
    import optuna
    from matplotlib import pyplot

    one = queue(**_search(3, pruner="median", startup=1))
    for values in ([3.0, 2.0], [4.0], [2.0, 1.0]):
        claim = one.claim(one.standings())
        pruned = one.report(claim, values)
        one.finish(claim, {}, min(values), pruned)
    assert _states(one) == ["complete", "pruned", "complete"]
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/study.db")
    assert study.best_value == 1.0
    for kind in ("intermediate_values", "parallel_coordinate", "param_importances"):
        getattr(optuna.visualization.matplotlib, f"plot_{kind}")(study)
    pyplot.close("all")

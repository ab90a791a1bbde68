import json
import math

import jax
import pytest

from seqjax.config import default_config
from seqjax.overrides import apply_overrides, split_overrides
from seqjax.parallel.catalog import KINDS, Devices
from seqjax.training.estimate import ASSUMED_SHARE, estimate, estimated_time
from seqjax.training.preparation import prepare
from seqjax.training.program import Single, abstract_batch


@pytest.fixture(scope="module")
def configured(tiny):
    config = default_config()
    # Lengths that fill the shapes and batches that are not all full.
    fields = {"data.synthetic_size": 100, "batching.shapes": 2, "train.duration": "3 epochs"}
    apply_overrides(config, split_overrides(tiny(fields))[1])
    return config, prepare(config)


@pytest.fixture(scope="module")
def facts(configured):
    return estimate(*configured)


def test_the_facts_are_plain_values(facts):
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_every_parameter_is_counted(configured, facts):
    params = Single(*configured).fresh_state().params
    arrays = facts["parameters"]["arrays"]
    assert facts["parameters"]["count"] == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert [math.prod(a["shape"]) for a in arrays] == [a["count"] for a in arrays]
    assert sum(a["count"] for a in arrays) == facts["parameters"]["count"]
    assert sum(a["share"] for a in arrays) == pytest.approx(1)
    assert facts["memory"]["parameters"] == 4 * facts["parameters"]["count"]
    # Adam's two moments and its counters.
    assert 0 <= facts["memory"]["optimizer"] - 2 * facts["memory"]["parameters"] < 100
    assert facts["memory"]["total"] > 3 * facts["memory"]["parameters"]


def test_padding_of_the_shapes_adds_up_to_that_of_the_epoch(facts):
    def positions(batch):
        return batch["steps"] * batch["rows"] * (batch["source"] + batch["target"])

    batches = facts["batches"]
    assert len(batches) == 2
    padded = sum(batch["padding"] * positions(batch) for batch in batches)
    assert padded / sum(map(positions, batches)) == pytest.approx(facts["padding"])
    assert sum(batch["steps"] for batch in batches) == facts["epoch"]["steps"] == 7
    real = facts["epoch"]["source_tokens"] + facts["epoch"]["target_tokens"]
    assert real == pytest.approx((1 - facts["padding"]) * sum(map(positions, batches)))


def test_work_is_close_to_what_xla_counts(configured, facts):
    config, prepared = configured
    program = Single(config, prepared)
    shape = prepared.plan.largest
    compiled = program.step.compile(program.abstract_member(), abstract_batch(prepared.plan, shape))
    found = facts["batches"][prepared.plan.shapes.index(shape)]["flops"]
    # XLA counts every addition, too, of which so small a model has many.
    assert 0.6 < found / compiled.cost_analysis()["flops"] < 1.05
    mean = facts["epoch"]["flops"] / facts["epoch"]["steps"]
    assert facts["time"]["flops"] == pytest.approx(21 * mean)


def test_parts_and_devices_do_not_change_the_work(configured, tiny):
    works = []
    for accumulate, devices in ((1, 1), (2, 1), (1, 2)):
        config = default_config()
        fields = {"optimizer.accumulate": accumulate, "parallel.data": devices}
        apply_overrides(config, split_overrides(tiny(fields))[1])
        prepared = prepare(config)
        program = Single(config, prepared)
        batch = abstract_batch(prepared.plan, prepared.plan.largest)
        works.append(program.step.flops(program.abstract_member(), batch))
    assert works == [works[0]] * 3


def test_here_a_step_takes_an_assumed_share_of_a_measured_peak(facts):
    time = facts["time"]
    work = time["flops"] / time["steps_left"]
    products = work / (time["peak_flops_per_second"] * ASSUMED_SHARE)
    assert time["bounds"]["products"] == pytest.approx(products)
    assert time["seconds_per_step"] == max(time["bounds"].values())
    assert time["peak_is_measured"] == (jax.default_backend() == "cpu")
    # To rounding, it is the assumed one if the products take the longest.
    assert time["share"] < ASSUMED_SHARE or time["share"] == pytest.approx(ASSUMED_SHARE)


def test_memory_is_that_of_one_device(tiny, facts):
    config = default_config()
    fields = {"parallel.fsdp": 4, "batching.shapes": 2, "data.synthetic_size": 100}
    apply_overrides(config, split_overrides(tiny(fields))[1])
    prepared = prepare(config)
    memory = estimate(config, prepared)["memory"]
    state = Single(config, prepared).fresh_state()
    held = [leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state.params)]
    assert memory["parameters"] == sum(held) < facts["memory"]["parameters"]
    held = [leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state.optimizer)]
    assert memory["optimizer"] == sum(held)


def test_the_speed_and_the_steps_of_a_run_are_taken_into_account(configured, facts, tmp_path):
    time = facts["time"]
    assert not time["share_is_measured"]
    assert (time["steps_done"], time["steps_left"]) == (0, 21)

    lines = [{"step": 5, "train/tokens_per_second": 100.0}, {"step": 6, "validation/loss": 2.0}]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 7, "tr'
    (tmp_path / "metrics.jsonl").write_text(text)
    # What came after the last checkpoint was lost.
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    time = estimate(*configured, tmp_path)["time"]
    assert (time["bound"], time["share_is_measured"]) == ("run", True)
    assert (time["steps_done"], time["steps_left"]) == (4, 17)
    assert time["seconds"] == pytest.approx(17 / 7 * facts["epoch"]["target_tokens"] / 100.0)
    # A speed that no device has: the peak was measured on a busy machine.
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "train/tokens_per_second": 1e15}\n')
    assert estimate(*configured, tmp_path)["time"]["share"] is None
    # Elsewhere it would have been another.
    sessions = [{"devices": [{"platform": "gpu", "kind": "NVIDIA H200", "count": 1}]}]
    (tmp_path / "environment.json").write_text(json.dumps({"sessions": sessions}))
    assert not estimate(*configured, tmp_path)["time"]["share_is_measured"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_is_faster_than_memory_and_kernels_allow(configured, facts, kind):
    memory = facts["memory"]
    there = Devices(kind, kind, 1, 1)
    for size, bound in ((1, "kernels"), (10_000, "memory")):
        held = size * (memory["parameters"] + memory["optimizer"])
        # Arithmetic only: what it is about is in the facts.
        time = estimated_time(*configured, facts["batches"], None, there, held)
        step = time["seconds_per_step"]
        # A product has two backward; one layer of each side has over 20.
        assert step >= max(60 * 3e-6, 2 * held / KINDS[kind].bandwidth)
        assert time["bound"] == bound
        assert 0 < time["share"] <= ASSUMED_SHARE
        work = time["share"] * time["peak_flops_per_second"] * step
        assert work == pytest.approx(time["flops"] / time["steps_left"])
        assert time["seconds"] == pytest.approx(time["steps_left"] * step)

import pytest

from seqjax.studies.scales import Scale, label, scale_of
from seqjax.studies.space import choice, integers, log_uniform, uniform


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (Scale(0, 1), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Scale(4.96, 6.16), ["5", "5.2", "5.4", "5.6", "5.8", "6"]),
        (Scale(0, 12_000), ["0", "2,000", "4,000", "6,000", "8,000", "10,000", "12,000"]),
        (Scale(-1, 1), ["-1", "-0.5", "0", "0.5", "1"]),
        (
            Scale(1e-4, 1e-1, log=True),
            ["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1"],
        ),
        (Scale(1e-8, 1, log=True), ["1e-08", "1e-07"]),
    ],
)
def test_marks_are_round_numbers_within_the_ends(scale, labels):
    ticks = scale.ticks()
    assert [tick.label for tick in ticks][: len(labels)] == labels
    assert all(-1e-6 <= tick.place <= 1 + 1e-6 for tick in ticks)
    assert 2 <= len(ticks) <= 9


@pytest.mark.parametrize(
    ("domain", "value", "place"),
    [
        (uniform(0, 2), 0.5, 0.25),
        (log_uniform(1e-4, 1e-2), 1e-3, 0.5),
        (integers(1, 3), 2, 0.5),
        (integers(0, 1000), 250, 0.25),
        (choice("a", "b", "c"), "c", 1.0),
        (choice("a"), "a", 0.5),
    ],
)
def test_values_lie_where_their_domain_has_them(domain, value, place):
    assert scale_of(domain).place(value) == pytest.approx(place)


def test_one_value_alone_lies_in_the_middle():
    assert Scale(3, 3).place(3) == Scale(3, 3, log=True).place(3) == pytest.approx(0.5)
    assert Scale(0, 0).ticks()


def test_values_are_written_short():
    texts = map(label, (0.068550930, 14800, True, "dot", ("bleu", "ter")))
    assert list(texts) == ["0.06855", "14,800", "True", "dot", "bleu,ter"]

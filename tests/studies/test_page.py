import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from seqjax.config import default_config
from seqjax.studies.grid import product, sweep, trials, zipped
from seqjax.studies.page import write_page
from seqjax.studies.results import Result
from seqjax.studies.search import Search
from seqjax.studies.space import choice, domain_of, log_uniform
from seqjax.studies.study import Study
from seqjax.studies.trial import Trial

_RATE, _TRAIN = "optimizer.learning_rate", "data.train"
_VOID = {"meta", "br", "link", "img"}


class _Reader(HTMLParser):
    """Reads a page: its texts, its addresses, and whether its tags match."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.rows = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in _VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset")]
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th") and self.rows:
            self.rows[-1].append(data)


def _shapes(picture, tag):
    return picture.findall(f".//{{*}}{tag}")


@pytest.fixture
def page(tmp_path):
    """Returns a function from a study and its results to its page: text, rows and pictures."""

    def write(study, results, domains):
        write_page(tmp_path, study, results, domains)
        text = (tmp_path / "results.html").read_text(encoding="utf-8")
        reader = _Reader()
        reader.feed(text)
        assert reader.open == [] and reader.addresses == []
        # Nothing is fetched from anywhere.
        assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}
        pictures = [ElementTree.fromstring(svg) for svg in re.findall("<svg.*?</svg>", text, re.S)]
        return text, reader.rows, pictures

    return write


def _search(count, trial):
    space = {_RATE: log_uniform(1e-4, 1e-1), _TRAIN: choice("dot", "a<b")}
    search = Search("Rates & more", default_config(), space, "loss", trials=count)
    results = []
    for number, name in enumerate(search.names):
        point = {_RATE: 10 ** (-4 + 3 * number / count), _TRAIN: ("dot", "a<b")[number % 2]}
        job = search.job("study.py", name, point, [])
        results.append(Result(job, trial(number), search.value(trial(number))))
    return search, results, space


def _trained(number):
    """Returns what comes of a trial: the larger its number, the better."""
    curves = {"loss": [(10, 9.0 - number / 10), (20, 8.0 - number / 10)]}
    if number == 0:
        return Trial(failure="the loss is nan <here>")
    if number == 1:
        return Trial({"updates": 10}, curves=curves, pruned=10)
    return Trial({"updates": 20}, {"validation": {"loss": 1.0 * number}}, curves=curves)


def test_a_search_is_told_from_the_best_to_the_worst(page):
    text, rows, pictures = page(*_search(12, _trained))
    assert "<h1>Rates &amp; more</h1>" in text
    assert "12 of 12 trials: 10 done, 1 pruned, 1 failed." in text
    assert [row[0] for row in rows[1:3]] == ["1", "2"]
    assert [row[1] for row in rows[1:]][:2] == ["trial-0011", "trial-0010"]
    assert [row[-1] for row in rows[-2:]] == ["pruned at step 10", "failed: the loss is nan <here>"]
    assert rows[0][:4] == ["trial", "best loss", "learning_rate", "train"]
    assert "<b>trial-0011</b> with loss 6.900" in text
    assert "--workdir=" in text and "trial-0011-again" in text
    # Parallel coordinates, curves and importance; each trial with a value has a line in two.
    assert len(pictures) == 3
    lines = [len(_shapes(picture, "polyline")) for picture in pictures]
    assert lines == [11, 11, 0]
    assert len(_shapes(pictures[2], "rect")) == 2


def test_a_field_that_decides_is_the_most_important(page):
    _, _, pictures = page(*_search(24, _trained))
    names = [text.text for text in _shapes(pictures[2], "text")]
    assert names[0] == "learning_rate" and int(names[1].split()[0]) > 80


def test_lines_stay_in_their_pictures(page):
    def diverging(number):
        curves = {"loss": [(10, 5.0), (20, 1e6 if number == 3 else 4.0 - number / 10)]}
        return Trial({"updates": 20}, {"validation": {"loss": 1.0}}, curves=curves)

    text, _, pictures = page(*_search(9, diverging))
    assert "What is far worse than most lies beyond the picture." in text
    for picture in pictures:
        width, height = map(float, picture.get("viewBox").split()[2:])
        for line in _shapes(picture, "polyline"):
            for spot in line.get("points").split():
                x, y = map(float, spot.split(","))
                assert 0 <= x <= width and -40 <= y <= height
    # One that diverged does not hide what the others do.
    marks = [text.text for text in _shapes(pictures[1], "text")]
    assert "4" in marks or "3.5" in marks


def test_a_study_of_nothing_has_a_page(page):
    text, rows, pictures = page(*_search(2, lambda number: Trial()))
    assert "beyond the picture" not in text
    assert "No trial is done." in text and pictures == []
    assert "too few to tell" in text and len(rows) == 3


def test_a_list_of_trials_shows_what_changes_together_once(page):
    widths = [sweep(f"model.{stack}.width", [64, 128]) for stack in ("encoder", "decoder")]
    made = trials(default_config(), product(zipped(*widths), sweep("seed", [1, 2, 3])))
    study = Study("List", made, splits=("validation", "test"), columns=("updates", "bleu", "loss"))
    jobs = study.jobs("study.py", [])
    results = []
    for number, job in enumerate(jobs.values()):
        scores = {split: {"bleu": 10.0 + number, "loss": 3.0} for split in study.splits}
        trial = Trial({"updates": 9}, scores, curves={"loss": [(9, 3.0)]})
        results.append(Result(job, trial, study.value(trial)))
    fields = next(iter(jobs.values())).fields
    domains = {f: domain_of([job.fields[f] for job in jobs.values()]) for f in fields}
    text, rows, pictures = page(study, results, domains)
    assert "6 trials: 6 done. Compared by bleu, on validation; higher is better." in text
    assert rows[0] == ["trial", "decoder.width", "seed", "updates"] + [
        f"{column}, {split}" for split in study.splits for column in ("bleu", "loss")
    ] + ["outcome"]
    assert rows[1][1].endswith("seed-3") and rows[1][4:6] == ["9", "15.00"]
    names = [text.text for text in _shapes(pictures[0], "text") if text.get("class") == "name"]
    assert names == ["decoder.width (+1)", "seed", "bleu"]
    # What was measured while training was the loss only.
    assert "<h2>Loss while training</h2>" in text

import dataclasses
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from seqjax.config import default_config
from seqjax.studies.grid import product, sweep, trials, zipped
from seqjax.studies.page import write_study_page
from seqjax.studies.results import as_result
from seqjax.studies.search import Search
from seqjax.studies.snapshot import take_snapshot
from seqjax.studies.space import choice, domain_of, log_uniform
from seqjax.studies.study import Study
from seqjax.studies.tables import write_tables
from seqjax.studies.trial import Trial

_RATE, _TRAIN = "optimizer.learning_rate", "data.train"
_VOID = {"meta", "br", "link", "img", "input", "wbr"}


class _Reader(HTMLParser):
    """Reads a page: its text, tables, plots and addresses, and whether its tags match."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.text = [], [], []
        self.tables, self.plots, self.groups, self.libraries = [], [], 0, set()
        self.cells, self.legend, self.headings = [], [], []
        self._raw = ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in _VOID:
            self.open.append(tag)
        found = (attributes.get(name) for name in ("src", "href", "srcset"))
        self.addresses += filter(None, found)
        self._raw = attributes.get("type", "") if tag == "script" else self._raw
        if tag == "script" and "id" in attributes:
            self.libraries.add(attributes["id"])
        self.groups += attributes.get("class") == "group"
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.cells.append(attributes)
        if tag == "button":
            self.legend.append(attributes["data-trial"])
        if tag in ("h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            if self._raw == "application/json":
                self.plots.append(json.loads(data))
            return
        if any(tag in self.open for tag in ("td", "th")):
            self.tables[-1][-1][-1] += data
        if self.open and self.open[-1] in ("h2", "h3"):
            self.headings[-1] += data
        self.text.append(data)


@pytest.fixture
def page(tmp_path):
    """Returns a function from a study and its results to its page, as read."""

    def write(study, results, domains):
        snapshot = take_snapshot(study, results, domains)
        write_study_page(tmp_path / "results.html", tmp_path, snapshot)
        text = (tmp_path / "results.html").read_text(encoding="utf-8")
        reader = _Reader()
        reader.feed(text)
        assert reader.open == []
        # Nothing is fetched from anywhere.
        assert reader.addresses == [] and not re.search(r"https?:|@import|url\(", text)
        assert reader.libraries == {"plotly", "datatables", "datatables-style"}
        assert len(text) < 2_300_000 + 2_000 * len(results)
        _check_plots(reader.plots)
        return reader, " ".join("".join(reader.text).split())

    return write


def _check_plots(plots):
    """Checks that plotly knows every property of the plots."""
    from plotly import graph_objects

    for plot in plots:
        graph_objects.Figure(plot | {"data": plot["data"][:10]})


def _lines(plot):
    return {trace["meta"]: trace for trace in plot["data"] if "meta" in trace}


def _search(count, trial, states=None):
    space = {_RATE: log_uniform(1e-4, 1e-1), _TRAIN: choice("dot", "a<b")}
    search = Search("Rates & more", default_config(), space, "loss", trials=count)
    results = []
    for number, name in enumerate(search.names):
        point = {_RATE: 10 ** (-4 + 3 * number / count), _TRAIN: ("dot", "a<b")[number % 2]}
        spec = search.spec("study.py", name, point, [])
        state = (states or {}).get(number, "")
        results.append(as_result(spec, trial(number), search.value(trial(number)), state))
    return search, results, space


def _trained(number):
    """Returns what comes of a trial: the larger its number, the better."""
    curves = {"loss": [(10, 9.0 - number / 10), (20, 8.0 - number / 10)]}
    if number == 0:
        return Trial(failure="the loss is nan <here>")
    if number == 1:
        return Trial({"updates": 10}, curves=curves, pruned=10)
    if number == 2:
        return Trial({"updates": 10}, curves={"loss": curves["loss"][:1]})
    return Trial({"updates": 20}, {"validation": {"loss": 1.0 * number}}, curves=curves)


def test_a_search_stands_from_the_best_to_the_worst(page):
    read, text = page(*_search(12, _trained, {2: "running"}))
    assert "12 of 12 trials: 9 done, 1 pruned, 1 running, 1 failed. Compared by loss" in text
    (table,) = read.tables
    assert table[0][:5] == ["trial", "learning_rate", "train", "best loss", "outcome"]
    assert [row[0] for row in table[1:3]] == ["trial-0011", "trial-0010"]
    assert [row[4] for row in table[-3:]] == ["pruned at step 10", "running, step 10", "failed"]
    assert "trial-0000 failed: the loss is nan <here>" in text
    assert "Best: trial-0011 with loss 6.900." in text
    assert "--workdir=" in text and "trial-0011-again" in text
    # The table says the exact number to a reader who asks, and sorts by it.
    exact = repr(10 ** (-4 + 3 * 11 / 12))
    cells = [cell for cell in read.cells if cell.get("data-order") == exact]
    assert [cell["title"] for cell in cells] == [exact] and table[1][1] == "0.05623"
    names = ["Loss while training", "Hyperparameters", "History", "Importance"]
    assert read.headings == ["Trials", *names, "learning_rate", "train"]


@pytest.mark.parametrize("count", [4, 40, 400])
def test_every_trial_has_its_curve_its_row_and_its_place_in_the_legend(page, count):
    search, results, space = _search(count, _trained, {2: "running"})
    read, _ = page(search, results, space)
    curves, parallel, *others = read.plots
    shown = {r.name: [list(p) for p in r.trial.curves["loss"]] for r in results if r.trial.curves}
    assert len(shown) == count - 1
    drawn = {
        name: [list(point) for point in zip(trace["x"], trace["y"], strict=True)]
        for name, trace in _lines(curves).items()
    }
    assert drawn == shown
    assert set(_lines(parallel)) == set(shown) == set(read.legend)
    assert len(read.tables[0]) == count + 1
    # A trial has the same colour in all plots; the best is drawn last, on top.
    colors = {name: trace["line"]["color"] for name, trace in _lines(curves).items()}
    assert colors == {name: trace["line"]["color"] for name, trace in _lines(parallel).items()}
    assert len(set(colors.values())) == len(colors) or count > 100
    assert curves["data"][-1]["meta"] == f"trial-{count - 1:04}"
    dashes = {trace["line"]["dash"] for trace in curves["data"]}
    assert dashes == ({"solid", "dash", "dot"})
    so_far, points = others[0]["data"]
    assert sorted(points["customdata"]) == sorted(shown)
    so_far = so_far["y"]
    assert so_far == sorted(so_far, reverse=True) and so_far[-1] == results[-1].value


def test_a_trial_that_diverged_does_not_hide_the_others(page):
    def diverging(number):
        last = 1e6 if number == 3 else math.nan if number == 4 else 4.0 - number / 10
        curves = {"loss": [(10, 5.0), (20, last)]}
        return Trial({"updates": 20}, {"validation": {"loss": 1.0}}, curves=curves)

    read, text = page(*_search(9, diverging))
    assert "Values far worse than most lie outside this view" in text
    low, high = read.plots[0]["layout"]["yaxis"]["range"]
    assert low < 3.2 and 4 < high < 20
    assert len(read.plots[0]["data"]) == 9


def test_a_study_of_nothing_has_a_page(page):
    read, text = page(*_search(2, lambda number: Trial()))
    assert "No trial is done." in text and read.plots == []
    assert "Importances need 8 finished trials." in text and len(read.tables[0]) == 3


def _list(study, score):
    results = []
    for number, spec in enumerate(study.specs("study.py", []).values()):
        values = {split: score(number) for split in study.splits}
        trial = Trial({"updates": 9}, values, curves={"loss": [(9, 3.0)]})
        results.append(as_result(spec, trial, study.value(trial)))
    fields = results[0].fields
    return study, results, {f: domain_of([r.fields[f] for r in results]) for f in fields}


def test_a_list_of_trials_shows_what_changes_together_once(page, tmp_path):
    widths = [sweep(f"model.{stack}.width", [64, 128]) for stack in ("encoder", "decoder")]
    made = trials(default_config(), product(zipped(*widths), sweep("seed", [1, 2, 3])))
    study = Study("List", made, splits=("validation", "test"), columns=("updates", "bleu", "loss"))
    study, results, domains = _list(study, lambda number: {"bleu": 10.0 + number, "loss": 3.0})
    read, text = page(study, results, domains)
    assert "6 trials: 6 done. Compared by bleu, on validation; higher is better." in text
    (table,) = read.tables
    fields = ["decoder.width (+1)", "seed"]
    figures = ["loss, validation", "bleu, test", "loss, test", "updates"]
    assert table[0] == ["trial", *fields, "bleu, validation", "outcome", *figures]
    assert table[1][0].endswith("seed-3") and table[1][3:6] == ["15.00", "done", "3.000"]
    # What was measured while training was the loss only.
    assert read.headings == ["Trials", "Loss while training", "Hyperparameters"]
    # The table for people says the same.
    write_tables(tmp_path, take_snapshot(study, results, domains))
    lines = (tmp_path / "results.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:10]]
    assert [row[:4] + row[5:] for row in table] == [rows[0], *rows[2:]]


def test_groups_have_a_table_a_best_and_plots_each(page, tmp_path):
    files = [{"data.files": f"{name}_{{split}}.tsv"} for name in ("dut", "kor")]
    made = trials(default_config(), product(files, sweep("seed", [1, 2])))
    study = Study("Two", made, splits=("test",), columns=("bleu",), by="data.files")
    study, results, domains = _list(study, lambda number: {"bleu": 10.0 * number})
    read, text = page(study, results, domains)
    assert read.groups == 2 and "Groups by data.files are not compared." in text
    ungrouped = dataclasses.replace(study, by=())
    hint = "Trials differ in data.files: if their scores cannot be compared, group them by Study("
    assert hint in page(ungrouped, results, domains)[1] and hint not in text
    assert [h for h in read.headings if h.startswith("files")] == [
        "files = dut_{split}.tsv",
        "files = kor_{split}.tsv",
    ]
    first, second = read.tables
    # What all trials of a group share is not a column of theirs.
    assert first[0] == second[0] == ["trial", "seed", "bleu", "outcome"]
    dut, kor = ([f"files-{name}-split-.tsv_seed-{n}" for n in "12"] for name in ("dut", "kor"))
    assert [row[0] for row in first[1:]] == dut[::-1]
    assert [row[2] for row in second[1:]] == ["30.00", "20.00"]
    assert text.count("Best: ") == 2
    assert [sorted(_lines(plot)) for plot in read.plots[::2]] == [dut, kor]
    write_tables(tmp_path, take_snapshot(study, results, domains))
    table = (tmp_path / "results.md").read_text()
    assert table.index("## files = dut") < table.index("10.00") < table.index("## files = kor")
    assert table.count("Best: ") == 2


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="no browser")
def test_a_browser_draws_the_page(page, tmp_path):
    page(*_search(40, _trained, {2: "running"}))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--disable-background-networking", "--virtual-time-budget=20000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"file://{tmp_path / 'results.html'}"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert 'data-ready="yes"' in text
    assert len(re.findall(r'<g class="trace scatter', text)) >= 2 * 39
    assert text.count("dt-paging-button") > 2

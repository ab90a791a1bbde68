from seqjax.config import default_config
from seqjax.fields import flatten
from seqjax.reporting.settings import non_defaults, summarize_changes, write_fields


def test_the_defaults_differ_in_nothing():
    config = default_config()
    assert non_defaults(flatten(config)) == {}
    assert summarize_changes(config) == "config: the defaults"
    assert not any(line.startswith("*") for line in write_fields(config).splitlines())


def test_what_differs_is_marked():
    config = default_config()
    config.model.encoder.layers += 1
    config.data.source = "fr"
    layers = config.model.encoder.layers
    assert non_defaults(flatten(config)) == {
        "data.source": ("fr", "en"),
        "model.encoder.layers": (layers, layers - 1),
    }
    marked = [line for line in write_fields(config).splitlines() if line.startswith("*")]
    assert marked == [
        "* data.source = 'fr'  (default 'en')",
        f"* model.encoder.layers = {layers}  (default {layers - 1})",
    ]
    assert summarize_changes(config) == (
        f"config: differs from the defaults in data.source=fr, model.encoder.layers={layers}"
    )


def test_the_line_stays_short():
    config = default_config()
    config.data.directory = "x" * 500
    for stack in (config.model.encoder, config.model.decoder):
        stack.update(layers=9, width=72, heads=9, feed_forward=99, dropout=0.7)
    line = summarize_changes(config)
    assert line.count(", ") == 0 and "and 10 more" in line

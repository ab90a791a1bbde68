from seqjax.reporting.predictions import write_predictions


def test_every_hypothesis_is_a_line(folder):
    path = write_predictions(folder, "a/b", 7, ["one", "t\r\nwo", "", "dr\u2028ei"])
    assert path == folder / "predictions" / "a_b-7.txt"
    assert path.read_bytes() == "one\nt  wo\n\ndr\u2028ei\n".encode()

"""How numbers are written for people."""

from typing import Any


def number(value: Any) -> str:
    """Returns a number with five significant digits, whole ones in full."""
    if value is None or isinstance(value, bool):
        return "–"
    if isinstance(value, int) or abs(value) >= 1e5 and value == round(value):
        return f"{value:,.0f}"
    return f"{value:.5g}"

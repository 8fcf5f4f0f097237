"""Quantity: units, classes, intervals and engineering text."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trnlab.emulator.errors import TrnlabError
from trnlab.emulator.target import TARGETS
from trnlab.models.frozen import FrozenMapping
from trnlab.models.quantity import CLASSES, ModelError, Quantity, QuantityClass, weakest

numbers = st.floats(min_value=1e-3, max_value=1e3)
classes = st.sampled_from(CLASSES)
units = st.sampled_from(["", "FLOP/s", "B/s", "B", "s", "FLOP/B", "B/s/chip"])


@st.composite
def quantities(draw: st.DrawFn, unit: st.SearchStrategy[str] = units) -> Quantity:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Quantity(value, draw(unit), "test", draw(classes), low, high)


def test_the_example_of_the_band() -> None:
    peak = Quantity(15.102e15, "FLOP/s", "press", "assumed", 13.6e15, 15.102e15)
    assert str(peak) == "15.1 PFLOP/s [13.6, 15.1] (assumed)"
    assert f"{peak:.4v}" == "15.1 PFLOP/s"
    assert f"{peak:.5v}" == "15.102 PFLOP/s"


@pytest.mark.parametrize(
    ("value", "unit", "spec", "text"),
    [
        (2.9e12, "B/s", "", "2.9 TB/s (published)"),
        (96 * 2**30, "B", "iv", "96 GiB"),
        (96 * 2**30, "B", "v", "103 GB"),
        (512, "B", "iv", "512 B"),
        (999.96e9, "B/s", "v", "1 TB/s"),
        (999.4e9, "B/s", "v", "999 GB/s"),
        (1.28e-6, "s", "v", "1.28 µs"),
        (35e-9, "s", "v", "35 ns"),
        (1e-6, "s", "v", "1 µs"),
        (3e-15, "s", "v", "0.003 ps"),
        (0.0, "s", "v", "0 s"),
        (-2.5e-3, "s", "v", "-2.5 ms"),
        (1.2e9, "Hz", "v", "1.2 GHz"),
        (514.3, "FLOP/B", "v", "514 FLOP/B"),
        (1250.0, "FLOP/B", "v", "1250 FLOP/B"),
        (144, "chip", "v", "144 chip"),
        (1.938, "", ".4v", "1.938"),
        (2517e12, "FLOP/s", ".4v", "2.517 PFLOP/s"),
        (5e21, "FLOP", "v", "5000 EFLOP"),
    ],
)
def test_engineering_text(value: float, unit: str, spec: str, text: str) -> None:
    assert format(Quantity(value, unit, "test"), spec) == text


def test_unknown_format_is_an_error() -> None:
    with pytest.raises(ModelError, match="format of a quantity"):
        format(Quantity(1, "B", "test"), ".3f")


@pytest.mark.parametrize(
    ("left", "operator", "right", "unit"),
    [
        ("FLOP/s", "/", "B/s", "FLOP/B"),
        ("FLOP/B", "*", "B/s", "FLOP/s"),
        ("B/s", "/", "B/s", ""),
        ("B", "/", "B/s", "s"),
        ("B/s", "*", "s", "B"),
        ("", "/", "s", "1/s"),
        ("1/s", "*", "s", ""),
        ("FLOP/s/chip", "*", "chip", "FLOP/s"),
        ("m/s", "/", "s", "m/s^2"),
        ("m/s^2", "*", "s", "m/s"),
        ("W", "*", "s", "W·s"),
        ("W·s", "/", "s", "W"),
    ],
)
def test_units_multiply_and_cancel(left: str, operator: str, right: str, unit: str) -> None:
    a, b = Quantity(6, left, "a"), Quantity(2, right, "b")
    result = a * b if operator == "*" else a / b
    assert result.unit == unit
    assert result.value == (12 if operator == "*" else 3)


@given(quantities(), quantities())
def test_product_and_quotient_undo_each_other(a: Quantity, b: Quantity) -> None:
    back = a * b / b
    assert sorted(back.unit) == sorted(a.unit)
    assert back.value == pytest.approx(a.value)


@given(quantities(st.just("B")), quantities(st.just("B")), st.floats(0, 1), st.floats(0, 1))
def test_intervals_contain_every_combination(a: Quantity, b: Quantity, s: float, t: float) -> None:
    x, y = (q.interval[0] + share * (q.interval[1] - q.interval[0]) for q, share in ((a, s), (b, t)))
    results = {"+": (a + b, x + y), "-": (a - b, x - y), "*": (a * b, x * y), "/": (a / b, x / y)}
    for name, (result, exact) in results.items():
        low, high = result.interval
        slack = 1e-9 * max(1.0, abs(low), abs(high))
        assert low - slack <= exact <= high + slack, name
        assert low <= result.value <= high


@given(quantities(), quantities())
def test_a_computed_number_is_derived_at_best(a: Quantity, b: Quantity) -> None:
    rank = min(CLASSES.index(a.klass), CLASSES.index(b.klass), CLASSES.index("derived"))
    assert CLASSES.index((a * b).klass) == rank
    assert weakest([a.klass, b.klass]) == CLASSES[min(CLASSES.index(a.klass), CLASSES.index(b.klass))]


def test_weakest_class_order() -> None:
    assert CLASSES == ("assumed", "fitted", "derived", "published")
    for klass, expected in (
        ("published", "derived"),
        ("derived", "derived"),
        ("fitted", "fitted"),
        ("assumed", "assumed"),
    ):
        strong, weak = Quantity(1, "", "a", "published"), Quantity(1, "", "b", klass)  # type: ignore[arg-type]
        assert (strong + weak).klass == expected


def test_plain_numbers_are_exact_factors() -> None:
    rate = Quantity(100.0, "B/s", "page", "fitted", 90.0, 120.0)
    doubled, halved = 2 * rate, rate / 2
    assert (doubled.value, doubled.interval, doubled.unit, doubled.klass) == (200, (180, 240), "B/s", "fitted")
    assert (halved.value, halved.interval) == (50, (45, 60))
    assert (rate * -1).interval == pytest.approx((-120, -90))
    assert (1 / rate).unit == "s/B"
    assert (1 / rate).interval == pytest.approx((1 / 120, 1 / 90))
    assert doubled.source == "page"
    assert float(rate) == 100.0


def test_sources_are_joined_once() -> None:
    a, b = Quantity(1, "B", "page one"), Quantity(1, "B", "page two")
    assert (a + b + a).source == "page one; page two"


def test_no_band_stays_no_band() -> None:
    plain, banded = Quantity(1, "B", "a"), Quantity(1, "B", "b", "fitted", 1, 2)
    assert (plain + plain).low is None
    assert (plain + banded).interval == (2, 3)


def test_errors_say_what_was_found() -> None:
    size, time = Quantity(1, "B", "a"), Quantity(1, "s", "b")
    for broken in (lambda: size + time, lambda: size - time, lambda: size + 1):  # type: ignore[operator]
        with pytest.raises(ModelError, match="a quantity in 'B'"):
            broken()
    with pytest.raises(ModelError, match="without zero"):
        size / Quantity(1, "s", "b", "assumed", -1, 2)
    with pytest.raises(ModelError, match="without zero"):
        size / 0
    for interval in ((2, 3), (None, 3), (0, 0.5)):
        with pytest.raises(ModelError, match="interval of a quantity"):
            Quantity(1, "B", "a", "assumed", *interval)
    with pytest.raises(ModelError, match="class of a quantity"):
        Quantity(1, "B", "a", "guessed")  # type: ignore[arg-type]
    assert issubclass(ModelError, TrnlabError)
    assert issubclass(ModelError, ValueError)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), True, "3"])
def test_a_value_is_a_finite_number(bad: Any) -> None:
    message = r"value of a quantity: .* allowed: a finite number"
    with pytest.raises(ModelError, match=message):
        Quantity(bad, "s", "test")
    with pytest.raises(ModelError, match=message):
        Quantity(1.0, "s", "test", "assumed", 0.5, bad)
    with pytest.raises(ModelError, match=message):
        Quantity(2.0, "s", "test") * bad


def test_sums_start_at_zero_and_at_nothing_else() -> None:
    first, second = Quantity(1.0, "s", "a", "published", 0.5, 2.0), Quantity(2.0, "s", "b", "fitted")
    total = sum([first, second])
    assert isinstance(total, Quantity)
    assert (total.value, total.interval, total.klass, total.source) == (3.0, (2.5, 4.0), "fitted", "a; b")
    with pytest.raises(ModelError, match="left operand of \\+: found 1; allowed: a quantity in 's'"):
        1 + first
    assert (-first).interval == (-2.0, -0.5)


def test_every_fact_of_a_target_is_a_quantity() -> None:
    expected: dict[str, QuantityClass] = {"documented": "published", "derived": "derived", "assumed": "assumed"}
    for target in TARGETS:
        for fact in target.provenance.values():
            quantity = Quantity.from_fact(fact)
            assert (quantity.value, quantity.unit, quantity.source) == (fact.value, fact.unit, fact.source)
            assert (quantity.low, quantity.high, quantity.klass) == (fact.low, fact.high, expected[fact.klass])


def test_frozen_mapping_is_a_hashable_value() -> None:
    items = {"a": 1, "b": 2}
    frozen = FrozenMapping(items)
    items["a"] = 3
    assert frozen == {"a": 1, "b": 2}
    assert hash(frozen) == hash(FrozenMapping({"b": 2, "a": 1}))
    assert pickle.loads(pickle.dumps(frozen)) == frozen
    assert (len(frozen), list(frozen), repr(frozen)) == (2, ["a", "b"], "{'a': 1, 'b': 2}")
    with pytest.raises(TypeError):
        frozen["a"] = 4  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2.9 TB/s", "B/s", 2.9e12),
        ("96 GiB", "B", 96 * 2**30),
        ("96 GB", "B", 96e9),
        ("1 KiB", "B", 1024),
        ("3 B", "B", 3),
        ("2 us", "s", 2e-6),
        ("2µs", "s", 2e-6),
        ("500 ms", "s", 0.5),
        ("667 TFLOPS", "FLOP/s", 667e12),
        ("1.3e3 TFLOP/s", "FLOP/s", 1.3e15),
        (" 1_000 W ", "W", 1000),
        ("1.2 kW", "W", 1200),
        ("-3 W", "W", -3),
        ("12 token/s", "token/s", 12),
    ],
)
def test_quantities_can_be_written(text: str, unit: str, value: float) -> None:
    found = Quantity.parse(text, unit, "t", "assumed")
    assert (found.unit, found.source, found.klass) == (unit, "t", "assumed")
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", "B"),
        ("2.9", "B/s"),
        ("GB", "B"),
        ("2.9 TB", "B/s"),
        ("2.9 TBs", "B/s"),
        ("2.9 Tb/s", "B/s"),
        ("2 GiFLOP/s", "FLOP/s"),
        ("2 Ks", "s"),
        ("1,5 W", "W"),
        ("1.5.5 W", "W"),
        ("nan W", "W"),
        ("1e400 W", "W"),
        ("1e308 kW", "W"),
        ("3 ktoken/s", "token/s"),
    ],
)
def test_what_is_no_quantity_is_refused(text: str, unit: str) -> None:
    with pytest.raises(
        ModelError, match=f"quantity: found .*; allowed: a number and a unit that is a multiple of {unit}"
    ):
        Quantity.parse(text, unit, "t")


@given(st.floats(min_value=1e-9, max_value=1e18), st.sampled_from(["B", "B/s", "s", "W", "FLOP/s", "J"]))
def test_what_is_printed_can_be_read(value: float, unit: str) -> None:
    quantity = Quantity(value, unit, "t")
    assert Quantity.parse(format(quantity, ".15v"), unit, "t").value == pytest.approx(value, rel=1e-12)


def test_notebooks_show_the_source_on_pointing() -> None:
    html = Quantity(2.9e12, "B/s", 'AWS "chip" <page>')._repr_html_()
    assert html == '<span title="AWS &quot;chip&quot; &lt;page&gt;">2.9 TB/s (published)</span>'

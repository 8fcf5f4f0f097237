"""A user's chip in TOML: what it means, and every way in which such a file can be damaged, with its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from trnlab.models.chips import Chip, chip_named, chip_names, get_chip
from trnlab.models.chips.toml_chips import QUANTITIES, ChipFileError, parse_chip
from trnlab.models.chips.toml_lines import line_of_key
from trnlab.models.chips.toml_writer import to_toml
from trnlab.models.quantity import Quantity
from trnlab.models.roofline import Roofline

GOOD = """\
# a chip of the year 2030
name = "Example"
vendor = "Somebody"
source = "data sheet"
cores = 8

hbm_bytes = "96 GiB"
hbm_bandwidth = 2.9e12
link_bandwidth = { value = "1.28 TB/s", low = "1 TB/s", high = 1.3e12, class = "assumed", source = "a guess" }
power = "1.2 kW"

[peaks]   # dense
bf16 = "667 TFLOP/s"
"fp8" = "1.3 PFLOPS"

[scale_up]
kind = "torus"
shape = [
  4,
  4,
]
step_latency = "2 us"
"""


def problems(text: str) -> list[tuple[int, str, str]]:
    """(line, key, found) of each problem of a text."""
    with pytest.raises(ChipFileError) as caught:
        parse_chip(text, Path("chip.toml"))
    assert str(caught.value).count("\n") == len(caught.value.problems) - 1
    for problem in caught.value.problems:
        assert f"chip.toml:{problem.line}: " in str(caught.value)
    return [(problem.line, problem.key, problem.found) for problem in caught.value.problems]


def changed(line: str, to: str) -> str:
    assert GOOD.count(f"\n{line}\n") == 1
    return GOOD.replace(f"\n{line}\n", f"\n{to}\n")


def test_a_file_is_a_chip(tmp_path: Path) -> None:
    path = tmp_path / "chip.toml"
    path.write_text(GOOD)
    for chip in (get_chip(path), get_chip(str(path))):
        assert (chip.name, chip.vendor, chip.cores, chip.target) == ("Example", "Somebody", 8, None)
        assert chip.hbm_bytes == Quantity(96 * 2**30, "B", "data sheet")
        assert chip.hbm_bandwidth == Quantity(2.9e12, "B/s", "data sheet")
        assert chip.link_bandwidth == Quantity(1.28e12, "B/s", "a guess", "assumed", 1e12, 1.3e12)
        assert chip.power == Quantity(1200, "W", "data sheet")
        assert chip.peak("fp8").value == pytest.approx(1.3e15)
        assert (chip.scale_up.kind, chip.scale_up.shape) == ("torus", (4, 4))
        assert chip.scale_up.step_latency.value == pytest.approx(2e-6)
        # Half of both directions when the file does not say more.
        assert chip.scale_up.bandwidth.value == pytest.approx(0.64e12)
        assert Roofline.of_chip(chip).ridge_point("bf16").value == pytest.approx(667 / 2.9)


def test_optional_fields() -> None:
    more = GOOD.replace("power", 'class = "assumed"\nsbuf_bandwidth = "80 TB/s"\npower', 1)
    more = more.replace('step_latency = "2 us"', 'step_latency = 2e-6\nbandwidth = "500 GB/s"\nshares = [0.75, 0.25]')
    chip = parse_chip(more, Path("chip.toml"))
    assert chip.sbuf_bandwidth == Quantity(80e12, "B/s", "data sheet", "assumed")
    assert chip.scale_up.bandwidth.value == 500e9
    assert chip.scale_up.shares == (0.75, 0.25)
    assert [roof.name for roof in Roofline.of_chip(chip).roofs] == ["HBM", "SBUF"]


# One damage each: the line that is changed, what it becomes, and the line, key and value that are reported.
@pytest.mark.parametrize(
    ("line", "to", "where", "key", "found"),
    [
        ("cores = 8", "cores = 0", 5, "cores", "0"),
        ("cores = 8", "cores = true", 5, "cores", "True"),
        ("cores = 8", 'cores = "8"', 5, "cores", "'8'"),
        ('vendor = "Somebody"', "vendor = 3", 3, "vendor", "3"),
        ('vendor = "Somebody"', 'vendor = " "', 3, "vendor", "' '"),
        ('source = "data sheet"', "source = []", 4, "source", "[]"),
        ('hbm_bytes = "96 GiB"', 'hbm_bytes = "96 GiBit"', 7, "hbm_bytes", "'96 GiBit'"),
        ('hbm_bytes = "96 GiB"', 'hbm_bytes = "96 GB/s"', 7, "hbm_bytes", "'96 GB/s'"),
        ('hbm_bytes = "96 GiB"', 'hbm_bytes = "GiB"', 7, "hbm_bytes", "'GiB'"),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = -1", 7, "hbm_bytes", "-1"),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = 0", 7, "hbm_bytes", "0"),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = nan", 7, "hbm_bytes", "nan"),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = inf", 7, "hbm_bytes", "inf"),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = 2024-01-01", 7, "hbm_bytes", "datetime.date(2024, 1, 1)"),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = { low = 1, high = 2 }", 7, "hbm_bytes", "no key 'value'"),
        (
            'hbm_bytes = "96 GiB"',
            "hbm_bytes = { value = 3, low = 4, high = 5 }",
            7,
            "hbm_bytes",
            "interval of a quantity",
        ),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = { value = 3, low = 2 }", 7, "hbm_bytes", "interval of a quantity"),
        ('hbm_bytes = "96 GiB"', 'hbm_bytes = { value = 3, class = "true" }', 7, "hbm_bytes.class", "'true'"),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = { value = 3, source = 1 }", 7, "hbm_bytes.source", "1"),
        ('hbm_bytes = "96 GiB"', "hbm_bytes = { value = 3, unit = 1 }", 7, "hbm_bytes.unit", "unknown key 'unit'"),
        ('bf16 = "667 TFLOP/s"', 'bf16 = "667 TB/s"', 13, "peaks.bf16", "'667 TB/s'"),
        ('bf16 = "667 TFLOP/s"', "bf17 = 1e15", 13, "peaks.bf17", "unknown key 'bf17'"),
        ('"fp8" = "1.3 PFLOPS"', '"fp8" = []', 14, "peaks.fp8", "[]"),
        ('kind = "torus"', 'kind = "ring"', 17, "scale_up.kind", "'ring'"),
        ('kind = "torus"', 'kind = "switch"', 16, "scale_up", "shape of a switch (4, 4)"),
        ('kind = "torus"', 'kind = "torus"\nshares = [0.5]', 16, "scale_up", "shares and wraps"),
        ('kind = "torus"', 'kind = "torus"\nshares = "half"', 18, "scale_up.shares", "'half'"),
        ('kind = "torus"', 'kind = "torus"\nhops = 2', 18, "scale_up.hops", "unknown key 'hops'"),
        ('step_latency = "2 us"', 'step_latency = "2 h"', 22, "scale_up.step_latency", "'2 h'"),
        ('step_latency = "2 us"', "", 16, "scale_up", "no key 'step_latency'"),
    ],
)
def test_each_fault_is_reported_on_its_line(line: str, to: str, where: int, key: str, found: str) -> None:
    ((at, name, what),) = problems(changed(line, to))
    assert (at, name) == (where, key)
    assert what.startswith(found)


def test_missing_keys_stand_at_the_first_line_and_say_what_is_needed() -> None:
    everything = [found for _, _, found in problems("")]
    required = [
        "name",
        "vendor",
        "source",
        "cores",
        "hbm_bytes",
        "hbm_bandwidth",
        "link_bandwidth",
        "peaks",
        "scale_up",
    ]
    assert everything == [f"no key '{key}'" for key in required]
    assert problems("name = 1\n")[0] == (1, "", "no key 'vendor'")


def test_several_faults_come_together_in_order_of_lines() -> None:
    text = changed("cores = 8", "cores = -8").replace("torus", "tours").replace("96 GiB", "96")
    assert [(line, key) for line, key, _ in problems(text)] == [(5, "cores"), (7, "hbm_bytes"), (17, "scale_up.kind")]


def test_tables_that_are_no_tables() -> None:
    head = GOOD[: GOOD.index("[peaks]")]
    assert [(line, key) for line, key, _ in problems(f"{head}peaks = 3\nscale_up = 4\n")] == [
        (12, "peaks"),
        (13, "scale_up"),
    ]
    empty = GOOD.replace('bf16 = "667 TFLOP/s"\n', "").replace('"fp8" = "1.3 PFLOPS"\n', "")
    assert problems(empty) == [(12, "peaks", "no peak")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('name = "Example"\ncores = \n', 2),
        ('name = "Example"\n\nvendor = "unclosed\n', 3),
        ('name = "Example"\nname = "again"\n', 2),
        ("[peaks]\nbf16 = 1\n[peaks]\n", 3),
        ("cores = 8 9", 1),
        ('a = """\nnever closed\n', 3),
        ("shape = [4,\n4\n", 3),
    ],
)
def test_syntax_errors_have_their_line(text: str, line: int) -> None:
    ((at, key, _),) = problems(text)
    assert (at, key) == (line, "")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ChipFileError, match=r"absent\.toml: file: found No such file"):
        get_chip(tmp_path / "absent.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ChipFileError, match="Is a directory"):
        get_chip(tmp_path / "folder.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "a"\nvendor = "\xe9"\n')
    with pytest.raises(ChipFileError, match=r"latin\.toml:2: file: found bytes that are no UTF-8"):
        get_chip(tmp_path / "latin.toml")
    (tmp_path / "long.toml").write_text("# nothing\n" * 1002)
    with pytest.raises(ChipFileError, match="found 1002 lines; allowed: at most 1000 lines"):
        get_chip(tmp_path / "long.toml")


def test_line_endings_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "chip.toml"
    path.write_bytes(GOOD.replace("\n", "\r\n").encode())
    assert get_chip(path).name == "Example"
    path.write_bytes(changed("cores = 8", "cores = 0").replace("\n", "\r\n").encode())
    with pytest.raises(ChipFileError, match=r"chip\.toml:5: cores"):
        get_chip(path)


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("a = 1\nb = 2\n", ("b",), 2),
        ("# a = 0\n\na = 1\n", ("a",), 3),
        ('t = """\nb = 5\n"""\nb = 1\n', ("b",), 4),
        ("x = [\n 1,\n 2\n]\ny = 3\n", ("y",), 5),
        ("x = [\n 1,\n 2\n]\ny = 3\n", ("x",), 1),
        ("[p]\n[q]\nb = 1\n[p.r]\nc = 1\n", ("p", "r", "c"), 5),
        ("p.q.r = 1\np.q.s = 2\n", ("p", "q", "s"), 2),
        ("'quoted key' = 1\n\"b\" = 2\n", ("b",), 2),
        ("[p]\nb = 1\n", ("p", "absent"), 1),
        ("a = 1\n[p]\nb = 1\n", ("p",), 2),
        ("a = 1\n", ("absent", "too"), 1),
    ],
)
def test_lines_of_keys(text: str, key: tuple[str, ...], line: int) -> None:
    assert line_of_key(text, key) == line


words = st.text(alphabet="abcdefgh", min_size=1, max_size=5)
values = st.sampled_from(["1", '"#= x"', "[1,\n 2]", '"""\na = 1\n"""', "{ k = 1 }", "true", "'''\n\n'''"])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(words, values, min_size=1, max_size=8), st.data())
def test_lines_of_keys_in_generated_files(pairs: dict[str, str], data: st.DataObject) -> None:
    text, lines = "", {}
    for key, value in pairs.items():
        text += data.draw(st.sampled_from(["", "\n", "# comment = 1\n"]))
        lines[key] = text.count("\n") + 1
        text += f"{key} = {value}\n"
    assert {key: line_of_key(text, (key,)) for key in pairs} == lines


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 40), st.text(alphabet='"[]{}=\n#.x9\x00é', max_size=3))
def test_any_damage_gives_a_chip_or_a_list_of_problems(start: int, length: int, junk: str) -> None:
    text = GOOD[:start] + junk + GOOD[start + length :]
    lines, found = text.count("\n") + 1, outcome(text)
    if isinstance(found, Chip):
        assert found.hbm_bandwidth.value > 0
    else:
        assert found.problems
        assert all(1 <= problem.line <= lines for problem in found.problems)


def outcome(text: str) -> Chip | ChipFileError:
    try:
        return parse_chip(text, Path("chip.toml"))
    except ChipFileError as error:
        return error


@pytest.mark.parametrize("name", [*chip_names(), "trn4-low", "trn4-bf16 stays"])
def test_a_chip_written_as_toml_is_read_back(name: str) -> None:
    chip = chip_named(name)
    found = parse_chip(to_toml(chip), Path("chip.toml"))
    assert (found.name, found.vendor, found.cores) == (chip.label, chip.vendor, chip.cores)
    assert found.peaks == chip.peaks
    assert found.scale_up == chip.scale_up
    for key in QUANTITIES:
        assert getattr(found, key) == getattr(chip, key)


@given(st.text(max_size=30).filter(str.strip))
def test_any_text_survives_the_writing(text: str) -> None:
    chip = replace(chip_named("h100"), name=text, hbm_bytes=Quantity(1.0, "B", text))
    found = parse_chip(to_toml(chip), Path("chip.toml"))
    assert (found.name, found.hbm_bytes.source) == (text, text)


def test_nesting_without_end_is_refused() -> None:
    ((line, _, found),) = problems("name = " + "[" * 100_000)
    assert (line, found) == (1, "values nested too deeply")

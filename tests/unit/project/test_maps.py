"""The READMEs that follow one call, or one decision, through the code name files that exist."""

import re

import pytest

from support.project import ROOT

SERVICE = ROOT / "service/tidegate"
MAPS = ["core/README.md", "gateway/README.md"]
_STATION = re.compile(r"^\| (\d+) \| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def stations(readme: str) -> list[tuple[str, str, str]]:
    """The number, file and text of each station on a map."""
    return _STATION.findall((SERVICE / readme).read_text())


@pytest.mark.parametrize("readme", MAPS)
def test_each_file_on_a_map_exists(readme: str) -> None:
    files = [file for _, file, _ in stations(readme)]
    assert files
    assert [file for file in files if not (SERVICE / file).is_file()] == []


@pytest.mark.parametrize("readme", MAPS)
def test_a_map_has_at_most_twelve_stations_in_order(readme: str) -> None:
    numbers = [int(number) for number, _, _ in stations(readme)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= 12


@pytest.mark.parametrize("readme", MAPS)
def test_a_reference_to_another_station_names_one(readme: str) -> None:
    count = len(stations(readme))
    named = [int(number) for _, _, text in stations(readme) for number in re.findall(r"\((\d+)\)", text)]
    assert [number for number in named if not 1 <= number <= count] == []

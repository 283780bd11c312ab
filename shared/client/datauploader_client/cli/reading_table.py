"""What a harvester finds in many files, as a table in Markdown: a line for each file, whatever it holds."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from datauploader.plugins.harvester import Kind, Reading
from datauploader.wording import safe, size

_LONGEST_CELL = 160


def chosen(kind: Kind, places: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield files and how they are shown; of a folder all below it that the harvester reads, by their path there."""
    for place in places:
        if not place.is_dir():
            yield place, str(place)
            continue
        for path in sorted(place.rglob("*")):
            if kind.fits(path.name) and path.is_file():
                yield path, path.relative_to(place).as_posix()


def heading(columns: Iterable[str]) -> tuple[str, str]:
    """Return the first two lines; `columns` are names of parameters."""
    words = ["file", "size", *columns, "parameters", "what is missing"]
    return _line(words), "|---" * len(words) + "|"


def row(shown: str, path: Path, reading: Reading, columns: Iterable[str]) -> str:
    """Return the line of a file; a parameter of one of several entries stands for all of them."""
    cells = []
    for wanted in columns:
        found = next((one for one in reading.parameters if one.name.rpartition("/")[2] == wanted), None)
        value = f"{found.value:.6g}" if found and isinstance(found.value, float) else str(found.value) if found else ""
        cells.append(f"{value} {found.units}".strip() if found else "")
    problem = reading.problem or ("" if reading.parameters else "it says nothing that is looked for")
    return _line([shown, size(path.stat().st_size), *cells, str(len(reading.parameters)), problem])


def _line(cells: Iterable[str]) -> str:
    plain = [" ".join(safe(cell).split()).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(cell if len(cell) <= _LONGEST_CELL else f'{cell[:_LONGEST_CELL]}…' for cell in plain)} |"

"""Prints figures about the code as a table: `./dev house [--against COMMIT] [--names]`.

They are of production code: services, harvesters, and shared without what tests need.

- A line is a line of the file. Functions are all that `def` begins, methods and inner ones included.
- A file has one importer when exactly one other file of production code imports its module. `from package import name`
  imports the module `name` of the package, or the package itself where there is none. `__init__.py` is left out.
- A private function has a name that begins with one underscore, in a module or a class. Its uses are the places in the
  same file that name it; functions of one name in one file are one function. What only a decorator registers has none.
- A class name is borne by two when classes anywhere in production code have it, inner ones included.
- An import runs upwards in the gateway when the importer's layer lies below that of what it imports, by the `layers`
  contracts of import-linter in pyproject.toml. One that a contract ignores counts too. Each pair of modules counts
  once; modules in no layer do not count. The layers of the present tree are used for a commit as well.
- A circle is a set of modules that lead to each other by imports, wherever in a file these stand, as large as can be.
- The way of one file is the numbered list in docs/tour.md: its entries are the stops, and the paths in backticks in
  them are the files.
"""

import argparse
import ast
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("services/*", "harvesters/*", "consumers/*", "catalogues/*", "shared", "shared/*")
LEFT_OUT = ("datauploader.testing", "datauploader_testing")
SMALL = 60
"""Fewer lines than this make a small file."""
GATEWAY = "datauploader_gateway"

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
Layers = Sequence[Mapping[str, int]]
Edges = Mapping[str, set[str]]


@dataclass(frozen=True)
class Source:
    """One file of production code."""

    path: str
    module: str
    lines: int
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Tell whether the file stands for its folder."""
        return self.path.endswith("__init__.py")


@dataclass(frozen=True)
class Found:
    """What was counted: rows for the table, and names for who wants to look at them."""

    rows: dict[str, str]
    names: dict[str, list[str]]


def sources(root: Path) -> list[Source]:
    """Read production code."""
    found = []
    for folder in sorted(one for pattern in FOLDERS for one in root.glob(pattern)):
        for path in sorted(folder.glob("datauploader*/**/*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not f"{module}.".startswith(tuple(f"{name}." for name in LEFT_OUT)) and "node_modules" not in parts:
                text = path.read_text("utf-8")
                found.append(Source(path.relative_to(root).as_posix(), module, len(text.splitlines()), ast.parse(text)))
    return found


def imports(files: Sequence[Source]) -> dict[str, set[str]]:
    """Find for each module the modules of production code that it imports."""
    known = {file.module for file in files}
    edges: dict[str, set[str]] = {file.module: set() for file in files}
    for file in files:
        for node in ast.walk(file.tree):
            edges[file.module] |= known.intersection(_imported(node, file, known)) - {file.module}
    return edges


def _imported(node: ast.AST, file: Source, known: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = file.module.split(".")
        above = above[: len(above) - node.level + file.is_package] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            name = f"{base}.{alias.name}"
            yield name if name in known else base


def private_uses(files: Sequence[Source]) -> dict[tuple[str, str], int]:
    """Count the uses of each private function in its own file."""
    found = {}
    for file in files:
        nodes = list(ast.walk(file.tree))
        uses = Counter(node.id for node in nodes if isinstance(node, ast.Name))
        uses.update(node.attr for node in nodes if isinstance(node, ast.Attribute))
        for holder in nodes:
            if isinstance(holder, ast.Module | ast.ClassDef):
                for one in holder.body:
                    if isinstance(one, FUNCTION) and re.match(r"_(?!_)", one.name):
                        found[file.path, one.name] = uses[one.name]
    return found


def layers(root: Path) -> Layers:
    """Read how high the modules of the gateway lie: 0 is the top."""
    linter = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("tool", {}).get("importlinter", {})
    found = []
    for contract in linter.get("contracts", []):
        for container in contract.get("containers", [""]) if contract["type"] == "layers" else []:
            ranks = {
                f"{container}.{name}".lstrip("."): rank
                for rank, layer in enumerate(contract["layers"])
                for name in re.findall(r"[\w.]+", layer)
            }
            if any(f"{name}.".startswith(f"{GATEWAY}.") for name in ranks):
                found.append(ranks)
    return found


def upward(edges: Edges, contracts: Layers) -> list[str]:
    """Find the imports of the gateway that run from a lower layer to a higher one."""
    found = {
        f"{below} imports {above}"
        for ranks in contracts
        for below, imported in edges.items()
        for above in imported
        if below.startswith(GATEWAY) and above.startswith(GATEWAY) and _rank(below, ranks) > _rank(above, ranks) >= 0
    }
    return sorted(found)


def _rank(module: str, ranks: Mapping[str, int]) -> int:
    """Return the layer of the longest name that the module lies below, or -1."""
    while module and module not in ranks:
        module = module.rpartition(".")[0]
    return ranks.get(module, -1)


def circles(edges: Edges) -> list[list[str]]:
    """Find the sets of modules that lead to each other, the largest first."""
    reached: dict[str, set[str]] = {}
    for module in edges:
        seen: set[str] = set()
        waiting = [*edges[module]]
        while waiting:
            if (one := waiting.pop()) not in seen:
                seen.add(one)
                waiting += edges[one]
        reached[module] = seen
    found = {tuple(sorted(o for o in seen if m in reached[o])) for m, seen in reached.items() if m in seen}
    return sorted(map(list, found), key=lambda circle: (-len(circle), circle))


def way(root: Path) -> tuple[str, str]:
    """Count files and stops of the tour."""
    tour = root / "docs" / "tour.md"
    if not tour.exists():
        return ("no docs/tour.md",) * 2
    entries = re.findall(r"(?m)^ {0,3}\d+[.)] .*(?:\n(?! {0,3}\d+[.)] |#).*)*", tour.read_text("utf-8"))
    files = {path for entry in entries for path in re.findall(r"`([\w.-]+/[\w./-]+\.\w+)(?:[:#][^`]*)?`", entry)}
    return str(len(files)), str(len(entries))


def measure(root: Path, contracts: Layers) -> Found:
    """Count everything."""
    files = sources(root)
    edges = imports(files)
    lines = sum(file.lines for file in files)
    functions = sum(isinstance(node, FUNCTION) for file in files for node in ast.walk(file.tree))
    importers = Counter(name for imported in edges.values() for name in imported)
    small = [f for f in files if f.lines < SMALL and not f.is_package and importers[f.module] == 1]
    uses = private_uses(files)
    once = sum(count == 1 for count in uses.values())
    bearers = defaultdict(list)
    for file in files:
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ClassDef):
                bearers[node.name].append(f"{file.path}:{node.lineno}")
    shared = {name: places for name, places in bearers.items() if len(places) > 1}
    upwards, rings = upward(edges, contracts), circles(edges)
    way_files, way_stops = way(root)
    return Found(
        {
            "files": f"{len(files):,}",
            "lines": f"{lines:,}",
            "files per 1,000 lines": f"{1000 * len(files) / max(lines, 1):.1f}",
            "functions per 1,000 lines": f"{1000 * functions / max(lines, 1):.1f}",
            f"files under {SMALL} lines with one importer": f"{len(small):,}",
            "private functions used once": f"{100 * once / max(len(uses), 1):.0f} % ({once:,} of {len(uses):,})",
            "class names borne by two or more": f"{len(shared):,}",
            "imports upwards in the gateway": f"{len(upwards):,}",
            "circles between modules": f"{len(rings)} (of {sum(map(len, rings))} modules)",
            "the way of one file: files": way_files,
            "the way of one file: stops": way_stops,
        },
        {
            "Class names borne by two or more": [f"{name}: {', '.join(shared[name])}" for name in sorted(shared)],
            "Imports upwards in the gateway": upwards,
            "Circles between modules": [", ".join(ring) for ring in rings],
            f"Files under {SMALL} lines with one importer": [file.path for file in small],
        },
    )


def measure_commit(commit: str, contracts: Layers) -> Found:
    """Count everything of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=False, stdout=subprocess.PIPE)
    if packed.returncode:
        raise SystemExit(f"git has no commit {commit} here")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        return measure(Path(folder), contracts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table whose figures stand on the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="./dev house", description="Prints figures about the code as a table.")
    parser.add_argument("--against", metavar="COMMIT", help="show also what they were then")
    parser.add_argument("--names", action="store_true", help="name the classes, imports, circles and files as well")
    options = parser.parse_args(arguments)
    contracts = layers(ROOT)
    found = measure(ROOT, contracts)
    if options.against:
        before = measure_commit(options.against, contracts)
        rows = [[label, f"{before.rows[label]} → {now}"] for label, now in found.rows.items()]
        print(table(["", f"{options.against} → now"], rows))
    else:
        print(table(["", "now"], [[label, now] for label, now in found.rows.items()]))
    for title, names in found.names.items() if options.names else ():
        print("\n".join([f"\n## {title}\n", *(f"- {name}" for name in names)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

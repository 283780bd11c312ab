"""The committed documents say what the code says, and what they refer to exists."""

import json
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datauploader.contracts.registry import EVENTS, topic
from datauploader.documents.generated import EXAMPLES, documents, drift
from datauploader.runtime.settings_index import settings_classes

TREE = Path(__file__).parents[2]
REFERENCE = TREE / "docs" / "reference"


def test_generated_documents_have_not_drifted_from_the_code() -> None:
    """Whoever changes a contract or a setting writes the documents anew."""
    assert drift(TREE) == [], "run: datauploader documents write ."


def test_a_changed_a_missing_and_a_left_over_document_are_found(tmp_path) -> None:
    """The check itself works."""
    shutil.copytree(TREE / EXAMPLES, tmp_path / EXAMPLES)
    for name, text in documents(tmp_path).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert drift(tmp_path) == []
    schemas = tmp_path / "docs/reference/schemas"
    (schemas / "file.ready.v1.json").write_text("{}")
    (schemas / "file.stored.v1.json").unlink()
    (schemas / "coffee.made.v1.json").write_text("{}")
    assert [name.rsplit("/", 1)[1] for name in drift(tmp_path)] == [
        "coffee.made.v1.json", "file.ready.v1.json", "file.stored.v1.json",
    ]  # fmt: skip


def references(value: Any) -> Iterator[str]:
    """Find every $ref."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    """Inside the document, or to a schema beside it."""
    document = json.loads((REFERENCE / "asyncapi.json").read_text())
    found = set(references(document))
    assert len(found) > len(EVENTS)
    for reference in found:
        if not reference.startswith("#"):
            assert (REFERENCE / reference).exists(), reference
            continue
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_the_schemas_know_every_field_of_the_golden_examples() -> None:
    """An event as it travels is described completely."""
    for kind in EVENTS:
        schema = json.loads((REFERENCE / "schemas" / f"{topic(kind)}.json").read_text())
        golden = json.loads((TREE / "tests/wire/golden" / f"{topic(kind)}.json").read_text())
        assert set(golden["data"]) <= set(schema["properties"]), topic(kind)
        assert set(schema.get("required", [])) <= set(golden["data"]), topic(kind)


def test_the_configuration_reference_names_every_setting() -> None:
    """No setting without its row."""
    text = (REFERENCE / "configuration.md").read_text()
    for name, kind in settings_classes().items():
        assert f"## {name}\n" in text
        for field in kind.model_fields:
            assert f"`{field}" in text, f"{name}.{field}"


def test_the_index_of_decisions_has_each_one_by_its_title_and_explains_each_gap() -> None:
    """Whoever writes a decision down adds its line; a number without a decision has its sentence."""
    folder = TREE / "docs" / "adr"
    index = (folder / "README.md").read_text("utf-8")
    listed = re.findall(r"(?m)^\| (\d+) \| \[(.+)\]\((\S+\.md)\) \| [A-Z].+\. \|$", index)
    headings = {path.name: path.read_text("utf-8").split("\n", 1)[0] for path in sorted(folder.glob("0*.md"))}
    assert [name for *_, name in listed] == list(headings)
    for number, title, name in listed:
        assert headings[name] == f"# {number}. {title}"
        assert name.startswith(f"{int(number):04}-")
    gaps = set(range(1, int(listed[-1][0]))) - {int(number) for number, *_ in listed}
    assert gaps == {int(number) for number in re.findall(r"(?m)^There is no decision (\d+):", index)}


HELD = ("docs/tour.md", "docs/developing.md", "docs/glossary.md")
"""Documents that name files of the code."""
PATH = re.compile(r"(?:\./)?[\w.-]+(?:/[\w.-]+)+/?|[\w-]+\.(?:py|md|toml|lock|json|html|yml|ini|sh)")


def named_paths(text: str) -> Iterator[str]:
    """Find what stands in backticks and reads as a path; addresses of pages begin with a slash and are none."""
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    yield from (word for word in re.findall(r"`([^`\n]+)`", text) if PATH.fullmatch(word))


def commanded_paths(text: str) -> Iterator[str]:
    """Find the tests that commands in a document name."""
    for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", text):
        yield from re.findall(r"\btests/[\w./-]+", block)


@pytest.mark.parametrize("name", HELD)
def test_every_path_that_a_document_names_is_there(name: str) -> None:
    """Whoever moves a file finds here where it is spoken of."""
    text = (TREE / name).read_text("utf-8")
    paths = {*named_paths(text), *commanded_paths(text)}
    assert paths or name == "docs/glossary.md", "no path was found: does the check still read them?"
    missing = sorted(path for path in paths if not (TREE / path).exists())
    assert missing == [], f"{name} names files that are not there"


def test_every_file_that_the_protections_name_is_there() -> None:
    """They say the end of a path; whoever takes the protecting line away must find it."""
    named = set(re.findall(r"`([a-z_/]+\.py)`", (TREE / "docs/protections.md").read_text("utf-8")))
    folders = ("shared", "services", "harvesters", "consumers")
    sources = [path.relative_to(TREE).as_posix() for folder in folders for path in (TREE / folder).rglob("*.py")]
    assert len(named) > 50
    assert sorted(name for name in named if not any(source.endswith(name) for source in sources)) == []


def test_what_developers_are_sent_to_look_for_is_there() -> None:
    """A name "of" a file stands in it, and a task of `./dev` is one."""
    text = " ".join((TREE / "docs" / "developing.md").read_text("utf-8").split())
    sent = re.findall(r"`(\w+)(?:\(.*?\))?` (?:of|in) `([\w./-]+\.py)`", text)
    assert len(sent) > 5, "the check does not read them any more"
    lost = [(name, path) for name, path in sent if not re.search(rf"\b{name}\b", (TREE / path).read_text("utf-8"))]
    assert lost == []
    tasks = runpy.run_path(str(TREE / "deploy" / "tasks.py"))["TASKS"]
    assert set(re.findall(r"\./dev ([a-z][a-z-]+)", text)) - {"help"} <= set(tasks)


def test_a_path_is_told_from_what_only_looks_like_one() -> None:
    """Events, classes, commands and addresses are no paths."""
    text = (
        "`file.ready` `Loop._turn` `/uploads/{id}` `./dev lint` `a/b.py` `x.toml`\n```sh\n./dev test tests/x.py\n```\n"
    )
    assert list(named_paths(text)) == ["a/b.py", "x.toml"]
    assert list(commanded_paths(text)) == ["tests/x.py"]

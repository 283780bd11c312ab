"""The committed documents say what the code says, and what they refer to exists."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datauploader.contracts.registry import EVENTS, topic
from datauploader.documents import documents, drift
from datauploader.settings_index import settings_classes

TREE = Path(__file__).parents[2]
REFERENCE = TREE / "docs" / "reference"


def test_generated_documents_have_not_drifted_from_the_code() -> None:
    """Whoever changes a contract or a setting writes the documents anew."""
    assert drift(TREE) == [], "run: datauploader documents write ."


def test_a_changed_a_missing_and_a_left_over_document_are_found(tmp_path) -> None:
    """The check itself works."""
    for name, text in documents().items():
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

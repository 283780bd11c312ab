"""The receipt as an RO-Crate 1.2 (w3id.org/ro/crate/1.2): JSON-LD that other tools read, written file by file."""

import json
from typing import Any
from urllib.parse import quote

from datauploader.contracts.names import display
from datauploader_gateway.features.receipts.receipt import Receipt
from datauploader_gateway.projection.files import KnownFile

NAME = "ro-crate-metadata.json"
MEDIA_TYPE = "application/ld+json"
_PROFILE = "https://w3id.org/ro/crate/1.2"

Entity = dict[str, Any]


def identifier(path: bytes) -> str:
    """Return the relative URI of a file; a file that is named as the crate's own is written in another spelling."""
    return quote(path) if path != NAME.encode() else NAME.replace(".", "%2E")


def head(receipt: Receipt) -> str:
    """Return the beginning, up to the list of the root's parts; `part` goes on, then `tail`."""
    descriptor = {
        "@id": NAME, "@type": "CreativeWork", "conformsTo": {"@id": _PROFILE}, "about": {"@id": "./"},
    }  # fmt: skip
    dataset = receipt.dataset
    said: Entity = {
        "@id": "./", "@type": "Dataset", "name": dataset.name,
        "description": dataset.description or f"Dataset {dataset.name} of investigation {receipt.investigation}.",
        "datePublished": receipt.completed, "license": {"@id": "#data-policy"},
        "identifier": [text for text in (dataset.doi, dataset.id, f"urn:datauploader:{receipt.upload}") if text],
        "contributor": {"@id": "#requested-by"}, "isPartOf": {"@id": "#investigation"},
        "creditText": receipt.says,
    }  # fmt: skip
    if dataset.url:
        said["url"] = dataset.url
    if dataset.parameters:
        said["variableMeasured"] = [{"@id": f"#parameter-{n}"} for n in range(1, len(dataset.parameters) + 1)]
    root = json.dumps(said, ensure_ascii=False)
    context = json.dumps(f"{_PROFILE}/context")
    return f'{{"@context": {context}, "@graph": [\n{json.dumps(descriptor)},\n{root[:-1]}, "hasPart": ['


def part(file: KnownFile) -> str:
    """Return one entry of the root's parts."""
    return json.dumps({"@id": identifier(file.path)})


def tail(receipt: Receipt) -> str:
    """Return the end of the root and everything that is neither root nor file."""
    who = receipt.requested_by
    entities: list[Entity] = [
        {"@id": "#requested-by", "@type": "Person", "name": who.name or who.id, "identifier": who.id},
        {
            "@id": "#investigation", "@type": "Project", "name": receipt.investigation,
            "identifier": receipt.investigation,
        },
        {
            "@id": "#data-policy", "@type": "CreativeWork", "name": "Data policy of the facility",
            "description": "The terms under which the facility keeps and opens data of this investigation.",
        },
    ]  # fmt: skip
    for number, parameter in enumerate(receipt.dataset.parameters, start=1):
        entities.append({
            "@id": f"#parameter-{number}", "@type": "PropertyValue", "name": parameter.name, "value": parameter.value,
        } | ({"unitText": parameter.units} if parameter.units else {}))  # fmt: skip
    return "]},\n" + ",\n".join(json.dumps(entity, ensure_ascii=False) for entity in entities)


def entity(file: KnownFile) -> str:
    """Return what is said of one file."""
    said: Entity = {
        "@id": identifier(file.path), "@type": "File", "name": display(file.path),
        "contentSize": str(file.facts.size), "sha256": file.facts.sha256,
    }  # fmt: skip
    if file.facts.proof != "verified":
        said["description"] = "Not verified: the stored bytes were not compared with the bytes that the station read."
    return json.dumps(said, ensure_ascii=False)

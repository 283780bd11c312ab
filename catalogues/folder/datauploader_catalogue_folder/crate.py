"""The description of a complete dataset as an RO-Crate 1.2 (w3id.org/ro/crate/1.2) beside its lists."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote


def crate_of(
    investigation: Mapping[str, Any],
    dataset: Mapping[str, Any],
    datafiles: Mapping[str, Mapping[str, Any]],
    parameters: Mapping[tuple[str, str], Mapping[str, Any]],
) -> dict[str, Any]:
    """Make the document: the investigation as the project, a File for each datafile, a PropertyValue a parameter."""
    values: dict[str, list[dict[str, str]]] = {}
    properties = []
    for number, ((owner, name), parameter) in enumerate(sorted(parameters.items())):
        about = {"@id": f"#parameter-{number}", "@type": "PropertyValue", "name": name, "value": parameter["value"]}
        properties.append(about | ({"unitText": parameter["units"]} if parameter["units"] else {}))
        values.setdefault(owner, []).append({"@id": about["@id"]})
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": dataset["name"],
        "description": dataset["description"] or dataset["name"],
        "datePublished": dataset["completed"],
        "identifier": dataset["id"],
        "url": dataset["location"],
        "isPartOf": {"@id": "#investigation"},
        "hasPart": [{"@id": _address(path)} for path in sorted(datafiles)],
    }
    files = [
        {
            "@id": _address(path),
            "@type": "File",
            "name": path,
            "contentSize": str(one["size"]),
            "sha256": one["checksum"],
            "url": one["location"],
            "dateModified": datetime.fromtimestamp(one["mtime_ns"] / 1e9, UTC).isoformat(),
        }
        for path, one in sorted(datafiles.items())
    ]
    for entity in (root, *files):
        if found := values.get("" if entity is root else str(entity["name"])):
            entity["variableMeasured"] = found
    project = {
        "@id": "#investigation",
        "@type": "Project",
        "name": investigation["title"],
        "identifier": f"{investigation['name']}/{investigation['visit']}",
    }
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.2"},
        "about": {"@id": "./"},
    }
    return {
        "@context": "https://w3id.org/ro/crate/1.2/context",
        "@graph": [descriptor, root, project, *files, *properties],
    }


def _address(path: str) -> str:
    return "./" + quote(path)

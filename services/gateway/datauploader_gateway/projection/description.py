"""What people are told about the description of a dataset or an investigation: the latest word, and who has it."""

from collections.abc import Mapping
from typing import Any

from datauploader.contracts import DatasetEnsured
from datauploader.contracts.rest.descriptions import Description
from datauploader_gateway.projection.fold import Register

Registers = Mapping[str, Register]


def of_dataset(registers: Registers) -> Description | None:
    """Return what is said about the dataset of an upload; None while nobody is known to have asked for it."""
    request, described = registers.get("request"), registers.get("described")
    if request is None:
        return None
    if described is not None:
        return _of_word(described, registers.get("annotated"))
    asked: Mapping[str, Any] = request.data
    there = "completed" in registers or ("dataset" in registers and registers["dataset"].kind == DatasetEnsured.name)
    return Description.model_validate(
        {**asked["dataset"], "by": asked["requested_by"], "time": request.time}
        | {"state": "catalogued" if there else "waiting"}
    )


def of_investigation(registers: Registers, catalogued: str) -> Description:
    """Return what is said about an investigation of which the catalogue says `catalogued`."""
    described = registers.get("described")
    if described is None:
        return Description(description=catalogued)
    found = _of_word(described, registers.get("annotated"))
    if found.state == "catalogued":  # it may have been corrected there since
        return found.model_copy(update={"description": catalogued})
    return found


def _of_word(described: Register, annotated: Register | None) -> Description:
    answered = annotated is not None and (
        annotated.event_id == described.event_id or annotated.order >= described.order
    )
    refusal = str(annotated.data["refusal"]) if annotated is not None and answered else ""
    return Description.model_validate(
        {
            "description": described.data["description"],
            "parameters": described.data.get("parameters", ()),
            "state": "refused" if refusal else "catalogued" if answered else "waiting",
            "refusal": refusal,
            "word": described.event_id,
            "by": described.data["requested_by"],
            "time": described.time,
        }
    )

"""The metadata form: fields from a JSON Schema, values from what was typed, and what is wrong in words."""

import json

import pytest

from datauploader.contracts import Parameter
from datauploader.errors import ConfigurationError
from datauploader_gateway.errors import InvalidRequest
from datauploader_gateway.features.new_upload.metadata import MetadataForm

SCHEMA = {
    "type": "object",
    "required": ["sample"],
    "properties": {
        "sample": {"type": "string", "title": "Sample", "minLength": 2},
        "energy": {"type": "number", "minimum": 1, "maximum": 100, "units": "keV"},
        "shots": {"type": "integer"},
        "cooled": {"type": "boolean", "default": True},
        "phase": {"enum": ["solid", "liquid", 3]},
        "day": {"type": "string", "format": "date"},
        "notes": {"type": "string", "maxLength": 4000},
    },
}


def test_properties_become_fields():
    """With label, kind, units, bounds and options."""
    fields = {field.key: field for field in MetadataForm(SCHEMA).fields}
    kinds = {key: field.kind for key, field in fields.items()}
    assert kinds == {
        "sample": "text", "energy": "number", "shots": "integer", "cooled": "boolean", "phase": "choice",
        "day": "date", "notes": "long",
    }  # fmt: skip
    assert (fields["sample"].label, fields["sample"].required) == ("Sample", True)
    assert (fields["energy"].units, fields["energy"].least, fields["energy"].most) == ("keV", 1, 100)
    assert (fields["phase"].options, fields["cooled"].default) == (("solid", "liquid", "3"), "true")


def test_what_was_typed_becomes_parameters_of_the_right_type():
    """Numbers, truths and choices; what was left empty is not said."""
    typed = {
        "sample": " LaB6 ", "energy": "8.5", "shots": "12", "cooled": "false", "phase": "3", "day": "", "other": "x",
    }  # fmt: skip
    found, wrong = MetadataForm(SCHEMA).read(typed)
    assert wrong == {}
    assert found == (
        Parameter(name="sample", value="LaB6"), Parameter(name="energy", value=8.5, units="keV"),
        Parameter(name="shots", value=12), Parameter(name="cooled", value=False), Parameter(name="phase", value=3),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({}, "sample"), ({"sample": "x"}, "sample"), ({"sample": "ok", "energy": "8,5"}, "energy"),
        ({"sample": "ok", "energy": "0"}, "energy"), ({"sample": "ok", "energy": "inf"}, "energy"),
        ({"sample": "ok", "energy": "nan"}, "energy"), ({"sample": "ok", "shots": "1.5"}, "shots"),
        ({"sample": "ok", "shots": "9" * 5000}, "shots"), ({"sample": "ok", "phase": "gas"}, "phase"),
        ({"sample": "ok", "day": "yesterday"}, "day"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_field(typed, field):
    """And nothing else is called wrong."""
    assert list(MetadataForm(SCHEMA).read(typed)[1]) == [field]


def test_a_request_is_checked_by_the_same_schema():
    """Whatever way it comes; without a schema everything goes."""
    with pytest.raises(InvalidRequest, match="sample: this is required"):
        MetadataForm(SCHEMA).validate_parameters([Parameter(name="energy", value=8.0)])
    MetadataForm(SCHEMA).validate_parameters([Parameter(name="sample", value="LaB6"), Parameter(name="more", value=1)])
    MetadataForm().validate_parameters([])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"properties": {"a": {"type": "array"}}},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"properties": {str(n): {"type": "string"} for n in range(101)}},
    ],
)
def test_a_schema_that_no_form_can_show_stops_the_start(schema):
    """In words that name the setting; no other document is ever fetched."""
    with pytest.raises(ConfigurationError, match="metadata_schema"):
        MetadataForm(schema)


def test_the_schema_is_read_from_its_file(tmp_path):
    """A file that is missing or no JSON object is said by its name."""
    path = tmp_path / "schema.json"
    for content in (None, "no json", "[]"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigurationError, match=r"schema\.json"):
            MetadataForm.load(path)
    path.write_text(json.dumps(SCHEMA))
    assert len(MetadataForm.load(path).fields) == 7
    assert MetadataForm.load(None).fields == ()

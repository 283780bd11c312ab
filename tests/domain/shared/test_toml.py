"""What is written as TOML is read again as it was."""

import tomllib

import tomli_w


def test_a_document_is_read_as_it_was_written() -> None:
    """Values, tables within tables, and tables in a list, with names and texts that need quotes."""
    document = {
        "facility": 'a "quoted" \\ name\x7f',
        "numbers": [1, 2.5, True],
        "watcher": {
            "roots": ["/data"],
            "rules": [{"name": "scans", "days": 3, "a key": ["x", "y"]}, {"name": "more", "inner": {"deep": False}}],
        },
        "catalog": {"rule_owners": {"sandbox.xrd1.ws01": "1101"}},
    }
    assert tomllib.loads(tomli_w.dumps(document)) == document

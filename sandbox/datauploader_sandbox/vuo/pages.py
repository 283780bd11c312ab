"""Plain pages on which a person sees what the double holds; every text from outside is escaped."""

import json
import sqlite3
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from datauploader_sandbox.vuo.store import Store

_MOST_ROWS = 2000
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .25rem .6rem; vertical-align: top;
border-bottom: 1px solid #ddd; overflow-wrap: anywhere } td.n { text-align: right; white-space: nowrap }
code { font-size: .85em } .open { color: #8a4b00 } .done { color: #176b2c } nav, footer { color: #555 }
"""


def home(store: Store, session: str) -> str:
    """Return the list of investigations, and who is signed in."""
    user = store.user_of(session)
    who = f"Signed in as {escape(user['name'])}" if user else "Nobody is signed in"
    rows = [
        (
            _link("investigations", row["id"], row["id"]),
            escape(row["title"]),
            "open" if row["active"] else "closed",
            str(len(store.datasets_of(row["id"]))),
            f"<code>{escape(row['base_dir'])}</code>",
        )
        for row in store.investigations()
    ]
    table = _table(("Investigation", "Title", "State", "Datasets", "Base directory"), rows)
    return _page("Investigations", f'<p>{who}. <a href="/sign-in">Sign in</a></p>{table}')


def investigation(store: Store, row: sqlite3.Row) -> str:
    """Return one investigation with its datasets and members."""
    members = ", ".join(escape(_name(store, member)) for member in sorted(store.members(row["id"])))
    rows = []
    for dataset in store.datasets_of(row["id"]):
        number, size = store.totals(str(dataset["id"]))
        link = _link("datasets", str(dataset["id"]), dataset["name"])
        rows.append((link, _state(dataset), str(number), f"{size:,} B", escape(dataset["location"])))
    table = _table(("Dataset", "State", "Datafiles", "Size", "Location"), rows)
    body = f"<p>{escape(row['title'])}</p><p>Members: {members}. Data: <code>{escape(row['base_dir'])}</code></p>"
    return _page(f"Investigation {row['name']}", body + table)


def dataset(store: Store, row: sqlite3.Row) -> str:
    """Return one dataset with its datafiles and parameters."""
    dataset_id = str(row["id"])
    number, size = store.totals(dataset_id)
    owner = escape(_name(store, row["owner"])) if row["owner"] else "a standing rule"
    head = (
        f"<p>{_state(row)}: {number} datafiles, {size:,} bytes; created for {owner} in "
        f"{_link('investigations', row['investigation_id'], 'investigation ' + row['investigation_id'])}.</p>"
        f"<p>{escape(row['description'])}</p><p>Location: <code>{escape(row['location'])}</code></p>"
    )
    files = [
        (escape(f["path"]), f"{f['size']:,}", f"<code>{escape(f['sha256'])}</code>", escape(f["location"]))
        for f in store.datafiles(dataset_id, _MOST_ROWS)
    ]
    parameters = [
        (escape(p["datafile"] or "(the dataset)"), escape(p["name"]), escape(_value(p["value"])), escape(p["units"]))
        for p in store.parameters(dataset_id)[:_MOST_ROWS]
    ]
    more = f"<p>The first {_MOST_ROWS} of {number} are shown.</p>" if number > _MOST_ROWS else ""
    tables = _table(("Of", "Parameter", "Value", "Units"), parameters) if parameters else "<p>No parameters.</p>"
    body = f"{head}<h2>Parameters</h2>{tables}<h2>Datafiles</h2>{more}"
    return _page(f"Dataset {row['name']}", body + _table(("Path", "Bytes", "SHA-256", "Location"), files))


def sign_in(store: Store, back: str) -> str:
    """Return a page that hands out a session for the asking; there are no passwords here."""
    buttons = "".join(
        f'<p><button name="session" value="{escape(user["session"])}">{escape(user["name"])}</button> '
        f"{escape(user['account'])}, cookie <code>vuo_session={escape(user['session'])}</code></p>"
        for user in store.users()
    )
    form = f'<form method="post" action="/sign-in"><input type="hidden" name="back" value="{escape(back)}">'
    return _page("Sign in", f"<p>Who are you today?</p>{form}{buttons}</form>")


def missing(what: str) -> str:
    """Return the page for something that is not there."""
    return _page("Not here", f"<p>There is no {escape(what)}.</p>")


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} | VUO double</title>'
        f"<style>{_STYLE}</style></head><body><nav><a href='/'>VUO double</a>: a stand-in for the user office, "
        f"for trials only</nav><h1>{escape(title)}</h1>{body}</body></html>"
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table of cells that are HTML already."""
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def _link(kind: str, key: str, text: str) -> str:
    return f'<a href="/{kind}/{quote(key, safe="")}">{escape(text)}</a>'


def _state(row: sqlite3.Row) -> str:
    return '<span class="done">complete</span>' if row["complete"] else '<span class="open">open</span>'


def _name(store: Store, user_id: str) -> str:
    user = store.user(user_id)
    return str(user["name"]) if user else user_id


def _value(text: str) -> str:
    value = json.loads(text)
    return value if isinstance(value, str) else text

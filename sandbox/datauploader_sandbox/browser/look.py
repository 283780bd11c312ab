"""Looks at a page as people do who do not see well, have a small screen, or a slow line."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request

_AXE = Axe()
GRAVE = ("serious", "critical")
_WIDER = """() => {
  const screen = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= screen) return [];
  const all = [...document.querySelectorAll("main *, header *")];
  const outside = all.filter((one) => one.getBoundingClientRect().right > screen).slice(0, 5);
  return outside.map((one) => `${one.tagName.toLowerCase()}.${one.className}: ${one.textContent.trim().slice(0, 60)}`);
}"""

_RAGGED = """() => [...document.querySelectorAll("table")].filter((table) => table.tHead).flatMap((table) => {
  const headings = [...table.tHead.rows[0].cells].reduce((sum, cell) => sum + cell.colSpan, 0);
  return [...table.tBodies].flatMap((body) => {
    const fromAbove = {};
    return [...body.rows].filter((row, at) => {
      let cells = fromAbove[at] || 0;
      for (const cell of row.cells) {
        cells += cell.colSpan;
        for (let below = at + 1; below < at + cell.rowSpan; below++) {
          fromAbove[below] = (fromAbove[below] || 0) + cell.colSpan;
        }
      }
      return cells !== headings;
    }).map((row) => row.textContent.trim().replace(/\\s+/g, " ").slice(0, 60));
  });
})"""


def violations(page: Page, *only: str, without: str = "") -> list[str]:
    """List the serious violations of rules (of `only` these, or `without` one) that axe finds, and where."""
    options = {
        "resultTypes": ["violations"],
        **({"runOnly": list(only)} if only else {}),
        **({"rules": {without: {"enabled": False}}} if without else {}),
    }
    found = _AXE.run(page, options=options).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {', '.join(str(node['target']) for node in one['nodes'][:5])}"
        for one in found
        if one["impact"] in GRAVE
    ]


def too_wide(page: Page) -> list[str]:
    """List what makes the page wider than its window."""
    found: list[str] = page.evaluate(_WIDER)
    return found


def ragged(page: Page) -> list[str]:
    """List the rows of tables that have not one cell for each heading."""
    found: list[str] = page.evaluate(_RAGGED)
    return found


def weight(page: Page, path: str) -> dict[str, int]:
    """Open a page with nothing in the cache; return the bytes of all that it loads. Streams never end, nor count."""

    def note(request: Request) -> None:
        loaded.append(request)

    loaded: list[Request] = []
    page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.on("requestfinished", note)
    page.goto(path, wait_until="load")
    page.remove_listener("requestfinished", note)
    return {one.url: one.sizes()["responseBodySize"] for one in loaded}

"""A browser as far as sign-in needs one: it keeps cookies by host and port, follows redirects, fills in forms."""

from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx

HOPS = 20
SUBMITS_ITSELF = "document.forms[0].submit()"
"""What the provider's pages say that a browser with JavaScript sends on without being asked."""


class Browser:
    """One browser; sites on one host but different ports keep their cookies apart, unlike in a real one."""

    def __init__(self) -> None:
        self._sites: dict[str, httpx.Client] = {}
        self.visited: list[str] = []
        self.stop_at = ""
        """An address that is not opened any more when somebody sends here: the end of a walk."""

    def close(self) -> None:
        """Close all connections."""
        for site in self._sites.values():
            site.close()

    def site(self, url: str) -> httpx.Client:
        """Return the connection to a site, with its cookies."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._sites:
            # Plain HTTP on loopback: without `verify` each would load the machine's certificates first.
            self._sites[origin] = httpx.Client(base_url=origin, timeout=10, trust_env=False, verify=False)
        return self._sites[origin]

    def get(self, url: str) -> httpx.Response:
        """Open a page; redirects are followed from site to site."""
        return self._follow(self.site(url).get(url))

    def submit(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """Fill in the first form of a page and send it."""
        form = _Form(page.text)
        target = urljoin(str(page.url), form.action)
        origin = {"Origin": f"{page.url.scheme}://{page.url.netloc.decode()}"}
        return self._follow(self.site(target).post(target, data={**form.fields, **fields}, headers=origin))

    def sign_in(self, url: str, name: str) -> httpx.Response:
        """Open a page that leads to the provider, sign in there, agree, and come back."""
        page = self.get(url)
        while "<form" in page.text and ("/interaction/" in str(page.url) or SUBMITS_ITSELF in page.text):
            asked = _Form(page.text).fields.get("prompt")
            page = self.submit(page, **({"login": name, "password": "any"} if asked == "login" else {}))
        return page

    def _follow(self, answer: httpx.Response) -> httpx.Response:
        for _ in range(HOPS):
            self.visited.append(str(answer.url))
            if not answer.has_redirect_location:
                return answer
            target = urljoin(str(answer.url), answer.headers["Location"])
            if self.stop_at and target.startswith(self.stop_at):
                self.visited.append(target)
                return answer
            answer = self.site(target).get(target)
        raise AssertionError(f"more than {HOPS} redirects: {self.visited[-HOPS:]}")


class _Form(HTMLParser):
    """The first form of a page: where it goes and what it holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action, self.fields = "", dict[str, str]()
        self._inside, self._over = False, False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in the form and its hidden fields."""
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and not self._over:
            self._inside, self.action = True, found.get("action", "")
        elif tag == "input" and self._inside and found.get("name"):
            self.fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """End with the form."""
        if tag == "form" and self._inside:
            self._inside, self._over = False, True

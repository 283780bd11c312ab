// What every page does: times in the reader's own zone, and a word when the gateway does not answer.

const TIMES = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!isNaN(moment)) time.textContent = TIMES.format(moment);
    time.title = time.dateTime;
  }
}

function interrupted(yes) {
  document.getElementById("interrupted").hidden = !yes;
}

function signInIfOver(status) {
  if (status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

document.addEventListener("htmx:after:swap", () => localise(document));
document.addEventListener("htmx:sse:after:connection", () => interrupted(false));
document.addEventListener("htmx:sse:error", (event) => { interrupted(true); signInIfOver(event.detail.status); });
document.addEventListener("htmx:error", (event) => { interrupted(true); remember(event.target); });
document.addEventListener("htmx:response:error", (event) => remember(event.target));
document.addEventListener("htmx:after:request", () => interrupted(unbegun.size > 0));
document.addEventListener("htmx:before:request", () => document.getElementById("notice").replaceChildren());

// What was well when it was seen last is not well now: without an answer nothing is known, and nothing stays green.
const operations = document.getElementById("operations");
let seen = operations && new Date(operations.dataset.seen);

function known(yes) {
  document.getElementById("stale").hidden = yes;
  operations.classList.toggle("stale", !yes);
  if (yes) return;
  const since = document.getElementById("stale-since");
  since.dateTime = seen.toISOString();
  localise(document.getElementById("stale"));
  for (const tag of operations.querySelectorAll(".tag")) {
    tag.className = "tag";
    tag.textContent = "not known";
  }
}

if (operations) {
  for (const failure of ["htmx:error", "htmx:response:error"])
    document.addEventListener(failure, (event) => { if (event.target === operations) known(false); });
  document.addEventListener("htmx:after:request", (event) => {
    if (event.target !== operations || event.detail.ctx.response.status >= 400) return;
    seen = new Date();
    known(true);
  });
}
// Whoever has opened the consequences of something keeps them open while the page is drawn anew.
document.addEventListener("htmx:before:morph:attr", (event) => {
  if (event.detail.attrName === "open") event.preventDefault();
});

// A computer that slept, or changed its network, holds a connection on which nothing will ever come.
function connectAnew() {
  for (const element of document.querySelectorAll("[hx-sse\\:connect]")) element._htmx?.sse?.reader?.cancel();
}

// A stream is taken up again by htmx once it has stood; one whose first request failed is begun again here.
const unbegun = new Set();

function remember(element) {
  if (element.hasAttribute?.("hx-sse:connect") && !element._htmx?.sse) unbegun.add(element);
}

function beginAgain() {
  for (const element of unbegun) {
    unbegun.delete(element);
    if (element.isConnected) htmx.ajax("GET", element.getAttribute("hx-sse:connect"), { source: element });
  }
}

let awake = Date.now();
setInterval(() => {
  if (Date.now() - awake > 20_000) connectAnew();
  awake = Date.now();
  beginAgain();
}, 5_000);
addEventListener("offline", connectAnew);
addEventListener("online", connectAnew);

// addresses of an earlier release: /#u-…
if (location.pathname === "/" && /^#u-[\w-]{8,64}$/.test(location.hash)) location.replace(`/uploads/${location.hash.slice(1)}`);
localise(document);

// The token page: makes a token for somebody who is signed in, and shows it once. Text is only ever set as text.

const $ = (id) => document.getElementById(id);

function show(name) {
  for (const section of ["make", "made"]) $(section).hidden = section !== name;
}

function tell(text, bad = true) {
  const said = document.createElement("p");
  said.textContent = text;
  said.className = bad ? "notice bad" : "notice";
  $("notice").replaceChildren(...(text ? [said] : []));
}

async function call(path, options = {}) {
  const answer = await fetch(`/api/v1${path}`, { ...options, headers: { "Content-Type": "application/json" } });
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) { location.assign("/sign-in?next=/token"); return null; }
  if (!answer.ok) throw new Error([body.detail, body.hint].filter(Boolean).join(". ") || "Something went wrong.");
  return body;
}

async function attempt(work) {
  try {
    tell("");
    await work();
  } catch (error) {
    tell(error instanceof TypeError ? "The gateway does not answer. Try again in a moment." : error.message);
  }
}

$("make-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const wish = { name: $("name").value, days: Number($("days").value) };
    const made = await call("/tokens", { method: "POST", body: JSON.stringify(wish) });
    if (!made) return;
    $("token").value = made.token;
    $("until").textContent = `Valid until ${new Date(made.expires).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })}.`;
    show("made");
    $("token").select();
  });
});

$("copy").addEventListener("click", () => attempt(async () => {
  await navigator.clipboard.writeText($("token").value);
  tell("Copied.", false);
}));

const purpose = new URLSearchParams(location.search).get("name");
if (purpose) $("name").value = purpose.slice(0, 100);

// What somebody ticks or unticks holds whatever the gateway answers later, and however often a listing is drawn again.
// A folder or file may be shown twice, in the tree and in the list of what was chosen: one tick for both.
// The page's address names the draft, so that coming back, by whatever way, finds everything that was chosen.

const form = document.getElementById("new");
const tree = document.getElementById("tree");
const found = document.getElementById("found");
const ticked = document.getElementById("ticked");
const said = new Map();

// What is typed counts: each state of the form has a number, and the fields that were changed are named, so that an
// answer, or a request, that is late takes nothing back.
const edit = document.getElementById("edit");
const touched = document.getElementById("touched");
const edited = new Map();
edit.value = "0";

function touch(name) {
  if (!name || name === "touched") return;
  edit.value = String(Number(edit.value) + 1);
  if (!edited.has(name)) {
    touched.append(Object.assign(document.createElement("input"), { type: "hidden", name: "touched", value: name }));
  }
  edited.set(name, Number(edit.value));
}

form.addEventListener("input", ({ target }) => touch(target.name));

// What files say takes the places of those fields alone in which nothing was typed since it was asked for.
document.addEventListener("htmx:before:swap", (event) => {
  const place = document.getElementById("metadata");
  if (!place || event.detail.ctx.target !== place) return;
  event.preventDefault();
  const answer = document.createElement("template");
  answer.innerHTML = event.detail.ctx.text;
  const words = answer.content.getElementById("metadata-said");
  const asked = Number(words?.dataset.edit);
  for (const fresh of answer.content.querySelectorAll("[name]")) {
    const held = place.querySelector(`[name="${CSS.escape(fresh.name)}"]`);
    if ((edited.get(fresh.name) ?? 0) > asked) continue;
    if (held === document.activeElement) held.value = fresh.value;
    else held?.closest(".field").replaceWith(fresh.closest(".field"));
  }
  if (words) document.getElementById("metadata-said").replaceWith(words);
});

function apply() {
  for (const box of form.querySelectorAll('input[type="checkbox"][name="pick"]')) {
    if (said.has(box.value)) box.checked = said.get(box.value);
  }
}

// The form holds each tick by itself too: a box may be gone from the listing, and not be in the list of chosen yet.
function hold(value, yes) {
  said.set(value, yes);
  for (const held of form.querySelectorAll('input[type="hidden"][name="pick"]')) {
    if (held.value === value) held.remove();
  }
  if (yes) ticked.append(Object.assign(document.createElement("input"), { type: "hidden", name: "pick", value }));
}

form.addEventListener("change", ({ target }) => {
  if (target.name === "pick") {
    hold(target.value, target.checked);
    apply();
  } else if (target.name === "station") {
    said.clear();
    for (const place of [ticked, tree, found]) place.replaceChildren();
  }
});

new MutationObserver(apply).observe(form, { childList: true, subtree: true });

history.replaceState(null, "", `/new?draft=${document.getElementById("draft").value}`);

// What somebody ticks or unticks holds whatever the gateway answers later, and however often a listing is drawn again.
// A folder or file may be shown twice, in the tree and in the list of what was chosen: one tick for both.
// The page's address names the draft, so that coming back, by whatever way, finds everything that was chosen.

const form = document.getElementById("new");
const tree = document.getElementById("tree");
const found = document.getElementById("found");
const ticked = document.getElementById("ticked");
const said = new Map();

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

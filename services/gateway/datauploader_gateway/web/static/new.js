// A folder or file may be shown twice, in the tree and in the list of what was chosen: one tick for both.
// The page's address names the draft, so that coming back, by whatever way, finds everything that was chosen.

const form = document.getElementById("new");
const tree = document.getElementById("tree");
const found = document.getElementById("found");

function boxes(root, value) {
  return [...root.querySelectorAll('input[type="checkbox"][name="pick"]')].filter((box) => box.value === value);
}

form.addEventListener("change", (event) => {
  const box = event.target;
  if (box.name !== "pick") return;
  for (const other of boxes(form, box.value)) other.checked = box.checked;
});

// an answer that comes late must not bring back what was unticked meanwhile
new MutationObserver(() => {
  for (const box of found.querySelectorAll('input[type="checkbox"][name="pick"]')) {
    const [seen] = boxes(tree, box.value);
    if (seen) box.checked = seen.checked;
  }
}).observe(found, { childList: true, subtree: true });

history.replaceState(null, "", `/new?draft=${document.getElementById("draft").value}`);

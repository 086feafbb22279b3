/* Cards: commands are copied; a link to a card opens it, and printing opens all that is folded. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { /* not allowed here: the older way */
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async ({ target }) => {
  if (!target.matches(".copy")) return;
  await copy(target.parentElement.querySelector("code").textContent);
  target.focus();
  target.textContent = "Copied";
  setTimeout(() => { target.textContent = "Copy"; }, 1500);
});

function openTarget() {
  const element = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let box = element?.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  element?.scrollIntoView();
}
addEventListener("hashchange", openTarget);
if (location.hash) openTarget();

if (matchMedia("(max-width: 70rem)").matches) document.querySelector("nav details").open = false;

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const box of folded) box.open = true;
});
addEventListener("afterprint", () => { for (const box of folded) box.open = false; });

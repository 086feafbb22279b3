/* The viewer of images: one sheet, or one class of all sheets, as large as is wanted. */
const viewer = document.getElementById("viewer");

function openViewer(gallery, sheet, row) {
  const sheets = [...gallery.querySelectorAll(".sheet")];
  const classes = [...gallery.querySelectorAll(".classes button")].map((button) => button.textContent);
  const style = getComputedStyle(gallery);
  const [width, height, scale] = ["--width", "--height", "--scale"].map((name) => Number(style.getPropertyValue(name)));
  const pitch = (height - 1) / classes.length;
  const [chosenSheet, chosenClass, zoom] = ["sheet", "class", "zoom"].map((name) => viewer.querySelector(`[name=${name}]`));
  chosenSheet.replaceChildren(new Option("all", -1), ...sheets.map((one, place) => new Option(one.dataset.title, place)));
  chosenClass.replaceChildren(new Option("all", -1), ...classes.map((name, place) => new Option(name, place)));
  [chosenSheet.value, chosenClass.value, zoom.value] = [sheet, row, Math.min(12, 2 * scale)];
  viewer.querySelector("h2").textContent = gallery.dataset.title;

  function part(one) { /* a sheet, or the row of one class of it, under its title */
    const box = document.createElement("figure");
    const title = document.createElement("figcaption");
    title.textContent = one.dataset.title;
    const window = document.createElement("div");
    const image = one.querySelector("img").cloneNode();
    const size = Number(zoom.value);
    image.style.width = `${width * size}px`;
    image.style.height = `${height * size}px`;
    window.append(image);
    if (chosenClass.value >= 0) {
      window.className = "window";
      window.style.height = `${(pitch + 1) * size}px`;
      window.style.width = `${width * size}px`;
      image.style.marginTop = `${-chosenClass.value * pitch * size}px`;
      image.alt = `${classes[chosenClass.value]}, ${one.dataset.title}`;
    }
    box.append(title, window);
    return box;
  }

  function draw() {
    const shown = chosenSheet.value < 0 ? sheets : [sheets[chosenSheet.value]];
    viewer.querySelector(".view").replaceChildren(...shown.map(part));
  }
  for (const control of [chosenSheet, chosenClass, zoom]) control.oninput = draw;
  draw();
  viewer.showModal();
}

for (const gallery of document.querySelectorAll(".gallery")) {
  gallery.querySelectorAll(".sheet > button").forEach((button, place) => {
    button.addEventListener("click", () => openViewer(gallery, place, -1));
  });
  gallery.querySelectorAll(".classes button").forEach((button, place) => {
    button.addEventListener("click", () => openViewer(gallery, -1, place));
  });
}
viewer?.querySelector(".close").addEventListener("click", () => viewer.close());
viewer?.addEventListener("click", ({ target }) => { if (target === viewer) viewer.close(); });

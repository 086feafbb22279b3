/* The viewer of images: one sheet, or one class of all sheets, as large as is wanted. */
const viewer = document.getElementById("viewer");

function openViewer(gallery, number, row) {
  const sheets = [...gallery.querySelectorAll(".sheet")];
  const classes = [...gallery.querySelectorAll(".classes button")].map((button) => button.textContent);
  const style = getComputedStyle(gallery);
  const [width, height, scale] = ["--width", "--height", "--scale"].map((name) => Number(style.getPropertyValue(name)));
  const pitch = (height - 1) / classes.length;
  const [chosenSheet, chosenClass, zoom] = ["sheet", "class", "zoom"].map((name) => viewer.querySelector(`[name=${name}]`));
  chosenSheet.replaceChildren(new Option("all", -1), ...sheets.map((sheet, index) => new Option(sheet.dataset.title, index)));
  chosenClass.replaceChildren(new Option("all", -1), ...classes.map((name, index) => new Option(name, index)));
  [chosenSheet.value, chosenClass.value, zoom.value] = [number, row, Math.min(12, 2 * scale)];
  viewer.querySelector("h2").textContent = gallery.dataset.title;

  function framed(sheet) { /* a sheet, or the row of a class in it, under its title */
    const box = document.createElement("figure");
    const title = document.createElement("figcaption");
    title.textContent = sheet.dataset.title;
    const window = document.createElement("div");
    const image = sheet.querySelector("img").cloneNode();
    const size = Number(zoom.value);
    image.style.width = `${width * size}px`;
    image.style.height = `${height * size}px`;
    window.append(image);
    if (chosenClass.value >= 0) {
      window.className = "window";
      window.style.height = `${(pitch + 1) * size}px`;
      window.style.width = `${width * size}px`;
      image.style.marginTop = `${-chosenClass.value * pitch * size}px`;
      image.alt = `${classes[chosenClass.value]}, ${sheet.dataset.title}`;
    }
    box.append(title, window);
    return box;
  }

  function draw() {
    const shown = chosenSheet.value < 0 ? sheets : [sheets[chosenSheet.value]];
    viewer.querySelector(".view").replaceChildren(...shown.map(framed));
  }
  for (const control of [chosenSheet, chosenClass, zoom]) control.oninput = draw;
  draw();
  viewer.showModal();
}

for (const gallery of document.querySelectorAll(".gallery")) {
  gallery.querySelectorAll(".sheet > button").forEach((button, index) => {
    button.addEventListener("click", () => openViewer(gallery, index, -1));
  });
  gallery.querySelectorAll(".classes button").forEach((button, index) => {
    button.addEventListener("click", () => openViewer(gallery, -1, index));
  });
}
viewer?.querySelector(".close").addEventListener("click", () => viewer.close());
viewer?.addEventListener("click", ({ target }) => { if (target === viewer) viewer.close(); });

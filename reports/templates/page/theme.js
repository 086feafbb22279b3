/* The theme: the one that was chosen, where a browser may remember it, or else the system's. It is set before anything is drawn. */
const theme = {
  system: matchMedia("(prefers-color-scheme: dark)"),
  chosen: null,
  get dark() { return (this.chosen ?? (this.system.matches ? "dark" : "light")) === "dark"; },
  show() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    document.getElementById("theme")?.setAttribute("aria-pressed", this.dark);
    document.dispatchEvent(new Event("themechange"));
  },
  toggle() {
    this.chosen = this.dark ? "light" : "dark";
    try { localStorage.setItem("theme", this.chosen); } catch { /* not remembered */ }
    this.show();
  },
};
try { theme.chosen = localStorage.getItem("theme"); } catch { /* not allowed here */ }
theme.show();
theme.system.addEventListener("change", () => theme.show());
document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => theme.toggle());
  theme.show();
});

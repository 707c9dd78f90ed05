/* Before the first paint: the theme that was chosen here. A classic script, so that nothing flashes. */
(() => {
  try {
    const chosen = localStorage.getItem("quietnote.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // storage may be switched off: the system's theme is used
  }
})();

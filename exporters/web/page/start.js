// What a browser must be told when the page's modules cannot even be loaded. A classic script, as
// browsers load no modules from a file's address.
"use strict";

if (location.protocol === "file:") {
  document.addEventListener("DOMContentLoaded", () => {
    const error = document.getElementById("error");
    error.textContent =
      "Opened from a file, the page cannot load its model. Serve its folder instead, for example " +
      "with `python3 -m http.server` in it, and open http://localhost:8000.";
    error.hidden = false;
    document.getElementById("about").hidden = true;
  });
}

// Explains why the page does not work when it is opened as a file. This is a classic script,
// because browsers do not load modules from file URLs.
"use strict";

if (location.protocol === "file:") {
  document.addEventListener("DOMContentLoaded", () => {
    const error = document.getElementById("error");
    error.textContent =
      "The page cannot load its model from a file URL. Serve its folder instead: run " +
      "`python3 -m http.server` in the folder and open http://localhost:8000.";
    error.hidden = false;
    document.getElementById("about").hidden = true;
  });
}

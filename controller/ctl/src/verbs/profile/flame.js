// Zoom (click a function), search (click "search", or press /): the picture itself is only data.
"use strict";
(function () {
  const svg = document.documentElement;
  const size = (name) => Number(svg.getAttribute("data-" + name));
  const width = size("width") - 2 * size("margin");
  const frames = Array.from(document.querySelectorAll(".f")).map((group) => ({
    group,
    x: Number(group.dataset.x),
    w: Number(group.dataset.w),
    row: Number(group.dataset.row),
    name: group.dataset.name,
    rect: group.querySelector("rect"),
    text: group.querySelector("text"),
  }));
  const byId = (id) => document.getElementById(id);
  const total = byId("told").textContent;

  function place(frame, from, part) {
    const left = Math.max(frame.x, from);
    const right = Math.min(frame.x + frame.w, from + part);
    const isShown = right - left > 1e-9;
    frame.group.style.display = isShown ? "" : "none";
    if (!isShown) return;
    const x = size("margin") + ((left - from) / part) * width;
    const w = ((right - left) / part) * width;
    const y = size("floor") - (frame.row + 1) * size("row");
    frame.rect.setAttribute("x", x);
    frame.rect.setAttribute("y", y);
    frame.rect.setAttribute("width", Math.max(w - 0.5, 0.1));
    frame.rect.setAttribute("height", size("row") - 1);
    const letters = Math.floor((w - 6) / size("letter"));
    frame.text.setAttribute("x", x + 3);
    frame.text.setAttribute("y", y + size("row") - 5);
    frame.text.textContent =
      letters < 3 ? "" : frame.name.length <= letters ? frame.name : frame.name.slice(0, letters - 1) + "…";
  }

  function zoom(to) {
    for (const frame of frames) {
      // Callers stay, over the whole width.
      place(frame, to.x, to.w);
      frame.group.classList.toggle("below", frame.row < to.row);
    }
    byId("back").setAttribute("visibility", to.row > 0 ? "visible" : "hidden");
  }

  function search(wanted) {
    let matched = 0;
    let end = -1;
    for (const frame of frames) {
      const isFound = wanted !== "" && frame.name.toLowerCase().includes(wanted.toLowerCase());
      frame.group.classList.toggle("found", isFound);
      // Frames come caller first: what is within a match is counted with it.
      if (isFound && frame.x + 1e-9 >= end) {
        matched += frame.w;
        end = frame.x + frame.w;
      }
    }
    byId("matched").textContent = wanted === "" ? "" : "matched: " + (matched * 100).toFixed(1) + " %";
  }

  function ask() {
    const wanted = window.prompt("A part of a function's name; nothing ends the search");
    if (wanted !== null) search(wanted.trim());
  }

  for (const frame of frames) {
    frame.group.addEventListener("click", () => zoom(frame));
    frame.group.addEventListener("mouseenter", () => {
      byId("told").textContent = frame.group.querySelector("title").textContent;
    });
    frame.group.addEventListener("mouseleave", () => {
      byId("told").textContent = total;
    });
  }
  byId("back").addEventListener("click", () => zoom(frames[0]));
  byId("search").addEventListener("click", ask);
  window.addEventListener("keydown", (event) => {
    if (event.key === "/") {
      event.preventDefault();
      ask();
    } else if (event.key === "Escape") {
      search("");
      zoom(frames[0]);
    }
  });
  if (frames.length > 0) zoom(frames[0]);
})();

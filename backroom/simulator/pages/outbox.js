// Shows times as the reader's clock would, and fetches the list again when a letter has come.
"use strict";

const EVERY_MS = 2000;

function localTimes(root) {
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
  for (const time of root.querySelectorAll("time[data-clock]")) time.textContent = clock.format(new Date(time.dateTime));
  for (const time of root.querySelectorAll("time[data-day]")) time.textContent = day.format(new Date(time.dateTime));
}

async function look() {
  const live = document.getElementById("live");
  // Nobody looks, or somebody types, or reads an older page: leave it as it is.
  if (document.hidden || !live?.dataset.live || document.activeElement?.id === "words") return;
  const summary = await (await fetch("/api/summary")).json();
  if (String(summary.letters) === live.dataset.letters) return;
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const fresh = page.getElementById("live");
  if (!fresh) return;
  const focused = document.activeElement?.getAttribute("href");
  const known = new Set([...live.querySelectorAll(".row")].map((row) => row.getAttribute("href")));
  if (known.size) {
    for (const row of fresh.querySelectorAll(".row")) row.classList.toggle("fresh", !known.has(row.getAttribute("href")));
  }
  localTimes(fresh);
  live.replaceWith(fresh);
  document.title = page.title;
  if (focused) fresh.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function keepLooking() {
  try {
    await look();
  } catch {
    // The simulator is being started again; the next look finds it.
  }
  setTimeout(keepLooking, EVERY_MS);
}

localTimes(document);
if (document.getElementById("live")) setTimeout(keepLooking, EVERY_MS);

// While a run is running, its page is read again; not while somebody reads something else, types or selects.
"use strict";
const EVERY = 5000;

function isBusy() {
  const focused = document.activeElement;
  return document.hidden || String(getSelection()) !== "" || focused instanceof HTMLInputElement
    || document.querySelector("details[open]") !== null;
}

setInterval(() => {
  if (!isBusy()) location.reload();
}, EVERY);

// The views of a run, one at a time.

import { $ } from "./dom.js";

const tabs = [$("log-tab"), $("result-tab")];

export function selectTab(chosen) {
  for (const tab of tabs) {
    tab.ariaSelected = tab === chosen;
    tab.tabIndex = tab === chosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
}

for (const [place, tab] of tabs.entries()) {
  tab.addEventListener("click", () => selectTab(tab));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = tabs[1 - place];
    selectTab(other);
    other.focus();
  });
}

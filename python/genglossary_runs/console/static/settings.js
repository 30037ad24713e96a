// What a reader has chosen, kept by the browser for the next time.

/** The value kept under this name, or null. */
export function kept(name) {
  try {
    return localStorage.getItem(`runs.${name}`);
  } catch {
    return null; // a browser that keeps nothing asks again next time
  }
}

/** Keep a text under this name. */
export function keep(name, value) {
  try {
    localStorage.setItem(`runs.${name}`, value);
  } catch {
    // as above
  }
}

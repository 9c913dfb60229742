// Pictures of files: fetched with the key when they come into view, and kept while the page is open.
import { el } from "/page-dom.js";

const AT_ONCE = 4, MOST_KEPT = 300, AGAIN_MS = 3000;

// fetchPicture: (url) => a Blob, or an error with its status.
export function makePictures(fetchPicture) {
  const kept = new Map(), waiting = [], asked = new Set(), none = new Set();
  let running = 0;

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); ask(entry.target.dataset.picture); }
  }, { rootMargin: "200px" });

  function ask(url) {
    if (kept.has(url) || asked.has(url) || none.has(url)) return;
    asked.add(url); waiting.push(url); next();
  }

  async function next() {
    if (running >= AT_ONCE || !waiting.length) return;
    const url = waiting.shift();
    running += 1;
    try {
      keep(url, URL.createObjectURL(await fetchPicture(url)));
    } catch (error) {
      // None can be made, or not now: then it is asked for again when it is seen the next time.
      if (error.status === 503 || !error.status) setTimeout(() => { asked.delete(url); watch(); }, AGAIN_MS); else none.add(url);
    }
    running -= 1;
    next();
  }

  function keep(url, picture) {
    if (!asked.delete(url)) return URL.revokeObjectURL(picture);
    kept.set(url, picture);
    for (const image of document.querySelectorAll(`img[data-picture="${CSS.escape(url)}"]`)) image.src = picture;
    if (kept.size > MOST_KEPT) {
      const [oldest, gone] = kept.entries().next().value;
      kept.delete(oldest); URL.revokeObjectURL(gone);
    }
  }

  // size: pixels on the page; twice as many are asked for, for screens that have them.
  function picture(url, size) {
    if (!url) return el("span", { class: "thumb gone", "aria-hidden": "true" });
    const whole = `${url}?size=${size > 64 ? 256 : 128}`;
    // What it shows is named beside it.
    return el("img", { class: size > 64 ? "thumb large" : "thumb", alt: "", width: size, height: size, "data-picture": whole, src: kept.get(whole) });
  }

  // After drawing: looks out for those that are not there yet.
  function watch() {
    for (const image of document.querySelectorAll("img[data-picture]:not([src])")) seen.observe(image);
  }

  function forget() {
    seen.disconnect();
    for (const url of kept.values()) URL.revokeObjectURL(url);
    kept.clear(); asked.clear(); none.clear(); waiting.length = 0;
  }

  return { picture, watch, forget };
}

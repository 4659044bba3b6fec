// An exported page registers its service worker: threads on any host, and visits without a network.

const TRIED = "nstc: reloaded to be isolated";

/**
 * Resolves to true once every file is kept for visits offline, false where that can't be.
 *
 * It may reload the page once, so call it first: if the service worker is not there within so many
 * milliseconds, the page stays as it is, and is isolated from the next visit on.
 */
export async function keepOffline({ reloadWithin = 1500 } = {}) {
  const called = performance.now();
  const workers = navigator.serviceWorker; // none over plain http from another machine
  if (!workers) return false;
  try {
    await workers.register("service-worker.js");
    const { active } = await workers.ready;
    const soon = performance.now() - called < reloadWithin;
    if (!crossOriginIsolated && soon && !sessionStorage.getItem(TRIED)) {
      sessionStorage.setItem(TRIED, "yes"); // once: a browser may never isolate pages
      location.reload();
      return await new Promise(() => {});
    }
    const missing = new Promise((resolve) => {
      workers.addEventListener("message", ({ data }) => {
        if (data?.nstc === "kept") resolve(data.missing);
      });
    });
    workers.startMessages();
    active.postMessage({ nstc: "keep" });
    return (await missing) === 0;
  } catch {
    return false; // a browser that keeps nothing, such as in a private window
  }
}

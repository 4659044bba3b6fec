// Times sessions as nstc.benchmarks.timing.latency does, and says why there: in a worker, or in Node.

// A time is at least so many steps of the clock, or several runs are timed in one stretch.
const STEPS_OF_CLOCK = 100;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @typedef {object} Pace
 * @property {number} pauseMs Before a session's turn.
 * @property {number} turnMs A turn times about as many runs as fit into this.
 * @property {number} fewestRepeats At least so many.
 * @property {number} mostRepeats At most so many.
 * @property {number} maxWarmUps Runs after which a session that still gets faster is timed as it is.
 * @property {number} steady A run is warm once the next is not faster by more than this share.
 */

/** @type {Pace} That of latency.py. */
export const PACE = {
  pauseMs: 50,
  turnMs: 50,
  fewestRepeats: 3,
  mostRepeats: 15,
  maxWarmUps: 10,
  steady: 0.05,
};

/**
 * @typedef {object} Session
 * @property {() => Promise<{dispose(): void}>} run One inference, which gives its output.
 */

/** How many threads onnxruntime-web has: those wanted, or as many as it takes itself. */
export function threadsOf({ isolated, cores }, wanted = null) {
  return isolated ? (wanted ?? Math.min(4, Math.ceil(cores / 2))) : 1; // threads need isolation
}

/** The smallest step in ms that the clock makes: browsers coarsen it, least where isolated. */
export function clockStep() {
  let smallest = Infinity;
  for (let i = 0; i < 20; i++) {
    const before = performance.now();
    let after = before;
    while (after === before) after = performance.now();
    smallest = Math.min(smallest, after - before);
  }
  return smallest;
}

/** Milliseconds a run, of as many runs in one stretch as the clock needs to tell them. */
async function timed(session, stretch = 1) {
  const start = performance.now();
  for (let i = 0; i < stretch; i++) (await session.run()).dispose();
  return (performance.now() - start) / stretch;
}

/** Run until a run is not faster than the one before by more than the share that counts. */
async function warmUp(session, pace) {
  let before = await timed(session);
  for (let runs = 0; runs < pace.maxWarmUps; runs++) {
    const now = await timed(session);
    if (now >= before * (1 - pace.steady)) return { runs, warmMs: Math.min(before, now) };
    before = now;
  }
  return { runs: pace.maxWarmUps, warmMs: before };
}

/**
 * How a session's turns go.
 *
 * @param {Session} session
 * @param {Pace} pace
 * @param {number} clockStepMs As `clockStep` gives it.
 */
export async function planOf(session, pace, clockStepMs) {
  await sleep(pace.pauseMs);
  const { runs, warmMs } = await warmUp(session, pace);
  const seen = Math.max(warmMs, clockStepMs);
  return {
    repeats: Math.min(
      pace.mostRepeats,
      Math.max(pace.fewestRepeats, Math.floor(pace.turnMs / seen)),
    ),
    warmUps: Math.max(1, runs),
    stretch: Math.ceil((STEPS_OF_CLOCK * clockStepMs) / seen),
  };
}

/** The one in the middle of times, or the mean of two. */
export function median(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const half = (sorted.length - 1) / 2;
  return (sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2;
}

/** A session's turn: the lowest of its times, in milliseconds a run. */
export async function turn(session, { repeats, warmUps, stretch }, pace) {
  await sleep(pace.pauseMs);
  for (let i = 0; i < warmUps; i++) await timed(session);
  const times = [];
  for (let i = 0; i < repeats; i++) times.push(await timed(session, stretch));
  return Math.min(...times);
}

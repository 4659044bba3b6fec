// Work of which only the newest matters: a slider's position, a camera's frame.

/** Does one job at a time; of those that wait, only the newest is done. */
export class Newest {
  #work;
  #waiting = null;
  #running = null; // until no job waits

  /** @param {(job: any) => Promise<void>} work Handles its own errors. */
  constructor(work) {
    this.#work = work;
  }

  /** Whether a newer job waits, so that the one at work may as well stop. */
  get isOutdated() {
    return this.#waiting !== null;
  }

  /**
   * Do this job, in the place of any that waits.
   *
   * @returns {Promise<void>} Over when no job is left.
   */
  ask(job) {
    this.#waiting = { job };
    this.#running ??= this.#workAll();
    return this.#running;
  }

  async #workAll() {
    try {
      while (this.#waiting !== null) {
        const { job: next } = this.#waiting;
        this.#waiting = null;
        await this.#work(next);
      }
    } finally {
      this.#running = null;
    }
  }
}

/** How often something happens a second, of the last second or two. */
export class Rate {
  #times = [];

  /** @returns {number} A second, this one included; 0 until there are two. */
  count(now = performance.now()) {
    this.#times = [...this.#times.filter((time) => now - time < 2000), now];
    const [first] = this.#times;
    return now > first ? ((this.#times.length - 1) * 1000) / (now - first) : 0;
  }
}

// The slider between the photograph and the result: by pointer, touch and keys.

const STEP = 2;
const LEAP = 10;

/** Shows the photograph on its left, the result on its right. */
export class Split {
  #frame;
  #handle;
  #share = 50;

  /**
   * @param {HTMLElement} frame What holds both pictures; gets --split, from 0% to 100%.
   * @param {HTMLElement} handle With role=slider.
   */
  constructor(frame, handle) {
    [this.#frame, this.#handle] = [frame, handle];
    handle.addEventListener("keydown", (event) => this.#press(event));
    frame.addEventListener("pointerdown", (event) => this.#grip(event));
    this.move(50);
  }

  /** @param {number} share Percent of the width that the photograph has. */
  move(share) {
    this.#share = Math.min(100, Math.max(0, share));
    const whole = Math.round(this.#share);
    this.#frame.style.setProperty("--split", `${this.#share}%`);
    this.#frame.classList.toggle("is-photo", whole > 82);
    this.#frame.classList.toggle("is-result", whole < 18);
    this.#handle.setAttribute("aria-valuenow", String(whole));
    this.#handle.setAttribute("aria-valuetext", `${whole} % photograph, ${100 - whole} % result`);
  }

  /** Uncover the result once, from the left to the middle. */
  async reveal() {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const start = performance.now();
    const from = 96;
    let isMoved = false;
    const stop = () => (isMoved = true);
    for (const kind of ["pointerdown", "keydown"]) {
      this.#frame.addEventListener(kind, stop, { once: true });
    }
    for (let t = 0; t < 1 && !isMoved; ) {
      const now = await new Promise(requestAnimationFrame);
      t = Math.min(1, Math.max(0, (now - start) / 900));
      if (!isMoved) this.move(from + (50 - from) * (1 - (1 - t) ** 3));
    }
  }

  #press(event) {
    const steps = {
      ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP,
      PageDown: -LEAP, PageUp: LEAP, Home: -100, End: 100,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.move(this.#share + steps[event.key]);
  }

  #grip(event) {
    if (event.button !== 0) return;
    const frame = this.#frame;
    const follow = ({ clientX }) => {
      const { left, width } = frame.getBoundingClientRect();
      this.move(((clientX - left) / width) * 100);
    };
    frame.setPointerCapture(event.pointerId);
    follow(event);
    this.#handle.focus({ preventScroll: true, focusVisible: false });
    const letGo = () => frame.removeEventListener("pointermove", follow);
    frame.addEventListener("pointermove", follow);
    for (const kind of ["pointerup", "pointercancel"]) {
      frame.addEventListener(kind, letGo, { once: true });
    }
  }
}

// The device's camera.

import { PageError } from "./calls.mjs";

const WANTED = { width: { ideal: 960 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };

const FAULTS = {
  NotAllowedError: "The camera was refused: allow it for this page in the browser's settings.",
  NotFoundError: "No camera was found on this device.",
  NotReadableError: "The camera can't be opened: another program may be using it.",
};

/** Gives frames while it runs. */
export class Camera {
  #video;
  #stream = null;
  #facing = "user";

  /** @param {HTMLVideoElement} video Where its picture goes; some browsers want it in the page. */
  constructor(video) {
    this.#video = video;
  }

  /** Whether it runs. */
  get isOn() {
    return this.#stream !== null;
  }

  /** Whether its pictures are shown as in a mirror: those of a camera that faces the user. */
  get isMirrored() {
    return this.#facing === "user";
  }

  /**
   * Ask for the camera, and open it.
   *
   * @param {() => void} onEnd Called if it stops by itself: pulled out, or no longer permitted.
   */
  async start(onEnd) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new PageError("Browsers give a camera to secure pages only: use localhost or https.");
    }
    const video = { ...WANTED, facingMode: this.#facing };
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      throw new PageError(FAULTS[error.name] ?? `The camera can't be opened: ${error.message}.`);
    }
    this.#stream.getVideoTracks()[0].addEventListener("ended", onEnd);
    this.#video.srcObject = this.#stream;
    await this.#video.play();
  }

  /** Whether there is another one to turn to. */
  async hasSeveral() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  /** From the front camera to the back one, or the other way. */
  async flip(onEnd) {
    this.stop();
    this.#facing = this.isMirrored ? "environment" : "user";
    await this.start(onEnd);
  }

  /** Close it: its light goes out. */
  stop() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
  }

  /** @returns {Promise<ImageBitmap>} The next picture. */
  async frame() {
    await new Promise((resolve) => {
      if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
    return createImageBitmap(this.#video);
  }
}

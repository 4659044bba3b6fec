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
  #asked = 0; // how often it was opened or closed: a stream that comes for an older call is closed
  #isOpening = false;

  /** @param {HTMLVideoElement} video Where its picture goes; some browsers want it in the page. */
  constructor(video) {
    this.#video = video;
  }

  /** Whether it runs. */
  get isOn() {
    return this.#stream !== null;
  }

  /** Whether it was asked for, and is neither there nor refused yet. */
  get isOpening() {
    return this.#isOpening;
  }

  /** Whether its pictures are shown as in a mirror: those of a camera that faces the user. */
  get isMirrored() {
    return this.#facing === "user";
  }

  /**
   * Ask for the camera, and open it.
   *
   * @param {() => void} onEnd Called if it stops by itself: pulled out, or no longer permitted.
   * @returns {Promise<boolean>} Whether it is on: not if it was closed, or asked for again, meanwhile.
   */
  async start(onEnd) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new PageError("Browsers give a camera to secure pages only: use localhost or https.");
    }
    const own = ++this.#asked;
    this.#isOpening = true;
    let stream = null;
    try {
      const video = { ...WANTED, facingMode: this.#facing };
      stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
      if (own === this.#asked) {
        this.#video.srcObject = stream;
        await this.#video.play();
      }
    } catch (error) {
      if (own === this.#asked) {
        close(stream);
        this.stop();
        throw new PageError(FAULTS[error.name] ?? `The camera can't be opened: ${error.message}.`);
      }
    }
    if (own !== this.#asked) {
      close(stream);
      return false;
    }
    this.#isOpening = false;
    this.#stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", onEnd);
    return true;
  }

  /** Whether there is another one to turn to. */
  async hasSeveral() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  /** From the front camera to the back one, or the other way; as `start`. */
  async flip(onEnd) {
    this.stop(); // phones give one camera at a time
    this.#facing = this.isMirrored ? "environment" : "user";
    return this.start(onEnd);
  }

  /** Close it, or give it up if it is not there yet: its light goes out. */
  stop() {
    this.#asked++;
    this.#isOpening = false;
    close(this.#stream);
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

function close(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

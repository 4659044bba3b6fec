// Styles and sample photographs to choose from.

/** One tile for each model, with a small picture in its style. */
export class StylePicker {
  #tiles = new Map();

  /**
   * @param {HTMLElement} list
   * @param {object[]} models Of site.json.
   * @param {(name: string) => void} choose
   */
  constructor(list, models, choose) {
    for (const { name, title } of models) {
      const radio = Object.assign(document.createElement("input"), { type: "radio", name: "model", value: name });
      const canvas = document.createElement("canvas");
      canvas.setAttribute("aria-hidden", "true");
      const text = Object.assign(document.createElement("span"), { textContent: title });
      const tile = Object.assign(document.createElement("label"), { className: "tile" });
      tile.append(radio, canvas, text);
      radio.addEventListener("change", () => choose(name));
      list.append(tile);
      this.#tiles.set(name, { radio, canvas });
    }
  }

  /** @param {string} name */
  show(name) {
    const { radio } = this.#tiles.get(name);
    radio.checked = true;
  }

  /** @param {string} name @param {import("./pixels.mjs").Picture} picture RGBA as an ImageData. */
  thumb(name, image) {
    const { canvas } = this.#tiles.get(name);
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.classList.add("is-made");
  }
}

/** A row of sample photographs. */
export class SamplePicker {
  #buttons = new Map();

  /**
   * @param {HTMLElement} list
   * @param {{name: string, file: string}[]} photos
   * @param {(photo: {name: string, file: string}) => void} choose
   */
  constructor(list, photos, choose) {
    for (const photo of photos) {
      const words = photo.name.replaceAll("-", " ");
      const image = Object.assign(document.createElement("img"), { src: photo.file, alt: "", loading: "lazy", width: 56, height: 56 });
      const button = Object.assign(document.createElement("button"), { type: "button", className: "sample", title: words });
      button.setAttribute("aria-label", `Sample photo: ${words}`);
      button.append(image);
      button.addEventListener("click", () => choose(photo));
      list.append(button);
      this.#buttons.set(photo.name, button);
    }
    list.hidden = photos.length === 0;
  }

  /** @param {string} name Of what is shown; "" for none of them. */
  show(name) {
    for (const [own, button] of this.#buttons) button.setAttribute("aria-pressed", String(own === name));
  }
}

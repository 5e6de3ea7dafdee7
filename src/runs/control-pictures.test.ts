import { expect, it } from "vitest";
import { allControlsShown, controlsShown } from "./control-pictures.js";

it("shows what would act on a terminal and leaves all other text as it is", () => {
  const title = "\u001b]0;owned\u0007 \u009b31m \u007f naïve 鲸 🐋\r";
  expect(controlsShown(`${title}\n\tsea`)).toBe("␛]0;owned␇ ␡31m ␡ naïve 鲸 🐋␍\n\tsea");
  expect(allControlsShown("a\n\tb\0")).toBe("a␊␉b␀");
});

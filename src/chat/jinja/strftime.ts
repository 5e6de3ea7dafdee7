/** Python's `strftime` in its C locale, in local time: what templates write dates with. */

const english = (date: Date, options: Intl.DateTimeFormatOptions): string =>
  new Intl.DateTimeFormat("en-US", options).format(date);
const padded = (value: number, length = 2): string => String(value).padStart(length, "0");
const dayOfYear = (date: Date): number =>
  Math.round((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000);

const directives: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => String(date.getFullYear()),
  y: (date) => padded(date.getFullYear() % 100),
  m: (date) => padded(date.getMonth() + 1),
  d: (date) => padded(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2, " "),
  j: (date) => padded(dayOfYear(date), 3),
  H: (date) => padded(date.getHours()),
  I: (date) => padded(date.getHours() % 12 || 12),
  p: (date) => (date.getHours() < 12 ? "AM" : "PM"),
  M: (date) => padded(date.getMinutes()),
  S: (date) => padded(date.getSeconds()),
  A: (date) => english(date, { weekday: "long" }),
  a: (date) => english(date, { weekday: "short" }),
  B: (date) => english(date, { month: "long" }),
  b: (date) => english(date, { month: "short" }),
  F: (date) => formatTime(date, "%Y-%m-%d"),
  T: (date) => formatTime(date, "%H:%M:%S"),
  D: (date) => formatTime(date, "%m/%d/%y"),
  "%": () => "%",
};

/** Directives that are not known stay as they are, as the C library leaves them. */
export const formatTime = (date: Date, format: string): string =>
  format.replace(/%(.)/g, (directive, name: string) => directives[name]?.(date) ?? directive);

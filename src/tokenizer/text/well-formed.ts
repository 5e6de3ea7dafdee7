/** A lone half of a surrogate pair has no UTF-8 form: it becomes U+FFFD, as it would in any file. */
export const wellFormed = (text: string): string =>
  /\p{Surrogate}/u.test(text) ? text.replace(/\p{Surrogate}/gu, "\uFFFD") : text;

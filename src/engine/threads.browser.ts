/** How many threads an engine takes when nobody says. */

/** A browser counts hyper-threads, which do not help in multiplying matrices; of few, all may be cores. */
export const defaultThreads = (): number => {
  const logical = navigator.hardwareConcurrency || 1;
  return logical <= 4 ? logical : Math.ceil(logical / 2);
};

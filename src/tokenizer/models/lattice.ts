/** All segmentations of a piece as paths through a lattice: the best ones, and random ones (Kudo 2018, §3). */

export interface Arc {
  readonly start: number;
  readonly end: number;
  readonly id: number;
  /** Log-probability of the token. */
  readonly score: number;
}

/** Arcs between the places 0 to `length`; every place before the end that can be reached has one that leads on. */
export interface SegmentationLattice {
  readonly length: number;
  readonly arcs: Arc[];
}

export interface Path {
  readonly arcs: readonly Arc[];
  /** Sum of the arcs' scores: the log-probability of the segmentation. */
  readonly score: number;
}

/** log Σ exp(values), without overflow. */
export function logSumExp(values: readonly number[]): number {
  const largest = Math.max(...values);
  if (largest === Number.NEGATIVE_INFINITY) return largest;
  return largest + Math.log(values.reduce((sum, value) => sum + Math.exp(value - largest), 0));
}

function arcsByEnd({ length, arcs }: SegmentationLattice): Arc[][] {
  const ending: Arc[][] = Array.from({ length: length + 1 }, () => []);
  for (const arc of arcs) ending[arc.end]?.push(arc);
  return ending;
}

/** What `combine` makes, place by place, of the scores of all ways to get there. */
function forward(lattice: SegmentationLattice, ending: readonly Arc[][], combine: (scores: number[]) => number): number[] {
  const scores = [0];
  for (let at = 1; at <= lattice.length; at++) {
    const ways = (ending[at] as Arc[]).map(({ start, score }) => (scores[start] as number) + score);
    scores.push(ways.length === 0 ? Number.NEGATIVE_INFINITY : combine(ways));
  }
  return scores;
}

/** A path from some place to the end. */
interface Hypothesis {
  readonly at: number;
  readonly arc: Arc | undefined;
  readonly next: Hypothesis | undefined;
  /** Score of the path so far, and with the best way to the beginning. */
  readonly behind: number;
  readonly total: number;
}

/**
 * The `count` best paths, the best first: A* from the end, whose estimate, the best score of what is left, is exact
 * (Nagata 1994, "A stochastic Japanese morphological analyzer using a forward-DP backward-A* N-best search algorithm").
 */
export function nBest(lattice: SegmentationLattice, count: number): Path[] {
  const ending = arcsByEnd(lattice);
  const bestTo = forward(lattice, ending, (scores) => Math.max(...scores));
  const paths: Path[] = [];
  const agenda: Hypothesis[] = [];
  pushHeap(agenda, { at: lattice.length, arc: undefined, next: undefined, behind: 0, total: bestTo[lattice.length] as number });
  while (agenda.length > 0 && paths.length < count) {
    const top = popHeap(agenda) as Hypothesis;
    if (top.at === 0) {
      const arcs: Arc[] = [];
      for (let step: Hypothesis | undefined = top; step?.arc; step = step.next) arcs.push(step.arc);
      paths.push({ arcs, score: top.behind });
      continue;
    }
    for (const arc of ending[top.at] as Arc[]) {
      const behind = top.behind + arc.score;
      const total = behind + (bestTo[arc.start] as number);
      if (total > Number.NEGATIVE_INFINITY) pushHeap(agenda, { at: arc.start, arc, next: top, behind, total });
    }
  }
  return paths;
}

export interface SampleOptions {
  readonly alpha: number;
  readonly count?: number;
  readonly random: () => number;
}

/** A path with probability ∝ exp(alpha · score), among the `count` best or among all. */
export function sample(lattice: SegmentationLattice, { alpha, count, random }: SampleOptions): Path {
  if (count !== undefined) {
    const paths = nBest(lattice, count);
    return paths[
      choose(
        paths.map(({ score }) => alpha * score),
        random,
      )
    ] as Path;
  }
  const sharpened = { ...lattice, arcs: lattice.arcs.map((arc) => ({ ...arc, score: alpha * arc.score })) };
  const ending = arcsByEnd(sharpened);
  const sumTo = forward(sharpened, ending, logSumExp);
  const originals = arcsByEnd(lattice);
  const arcs: Arc[] = [];
  for (let at = lattice.length; at > 0; ) {
    const ways = ending[at] as Arc[];
    const chosen = choose(
      ways.map(({ start, score }) => (sumTo[start] as number) + score),
      random,
    );
    const arc = originals[at]?.[chosen] as Arc;
    arcs.push(arc);
    at = arc.start;
  }
  arcs.reverse();
  return { arcs, score: arcs.reduce((sum, { score }) => sum + score, 0) };
}

/** An index with probability ∝ exp(logWeights[index]). */
function choose(logWeights: readonly number[], random: () => number): number {
  const total = logSumExp(logWeights);
  let left = random();
  for (let i = 0; i < logWeights.length; i++) {
    left -= Math.exp((logWeights[i] as number) - total);
    if (left < 0) return i;
  }
  return logWeights.length - 1;
}

function pushHeap(heap: Hypothesis[], hypothesis: Hypothesis): void {
  let at = heap.push(hypothesis) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if ((heap[parent] as Hypothesis).total >= hypothesis.total) break;
    heap[at] = heap[parent] as Hypothesis;
    at = parent;
  }
  heap[at] = hypothesis;
}

function popHeap(heap: Hypothesis[]): Hypothesis | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return top;
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && (heap[child + 1] as Hypothesis).total > (heap[child] as Hypothesis).total) child++;
    if ((heap[child] as Hypothesis).total <= last.total) break;
    heap[at] = heap[child] as Hypothesis;
    at = child;
  }
  heap[at] = last;
  return top;
}

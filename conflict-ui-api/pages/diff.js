// What differs between two texts, word by word. Used where the API sends no segments of its own.

const WORDS_MAX = 400;

function words(text) {
  return text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
}

/** The parts of `text`, each with whether it is missing from `from`: `[[part, changed], ..]`. `null` where marking would say nothing. */
export function segments(from, text) {
  const [a, b] = [words(from), words(text)];
  if (!a.length || !b.length) return null;
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const [middleA, middleB] = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  const kept = middleA.length <= WORDS_MAX && middleB.length <= WORDS_MAX ? common(middleA, middleB) : new Set();
  const parts = [];
  const add = (part, changed) => {
    const last = parts.at(-1);
    if (last && last[1] === changed) last[0] += part;
    else parts.push([part, changed]);
  };
  b.forEach((word, at) => add(word, at >= head && at < b.length - tail && !kept.has(at - head)));
  // Nothing in common but a space: the marks would only be noise.
  return parts.some(([part, changed]) => !changed && part.trim()) ? parts : null;
}

/** The places in `b` of a longest common sequence of words. */
function common(a, b) {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i][j] = a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const places = new Set();
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) { places.add(j); i += 1; j += 1; }
    else if (lengths[i + 1][j] >= lengths[i][j + 1]) i += 1;
    else j += 1;
  }
  return places;
}

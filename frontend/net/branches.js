// @ts-check
/** The rollout as a tree: every chunk names its parent, so each tip has one line of chunks back to its start. */

/**
 * Returns the chunks that lead to `tip`, oldest first; none where there is no such chunk.
 * @template {{index: number, parent: number}} T
 * @param {T[]} chunks
 * @param {number} tip
 */
export function lineTo(chunks, tip) {
  const byIndex = new Map(chunks.map((chunk) => [chunk.index, chunk]));
  /** @type {T[]} */
  const line = [];
  for (let at = byIndex.get(tip); at; at = byIndex.get(at.parent)) line.unshift(at);
  return line;
}

/**
 * Returns the tips of all branches, the newest first: chunks that are no chunk's parent.
 * @param {{index: number, parent: number}[]} chunks
 */
export function tipsOf(chunks) {
  const parents = new Set(chunks.map(({ parent }) => parent));
  return chunks.filter(({ index }) => !parents.has(index)).map(({ index }) => index).sort((a, b) => b - a);
}

/**
 * Returns the chunks that lead to `tip` and not to `head`.
 * @template {{index: number, parent: number}} T
 * @param {T[]} chunks
 * @param {number} tip
 * @param {number} head
 */
export function ownChunks(chunks, tip, head) {
  const shared = new Set(lineTo(chunks, head).map(({ index }) => index));
  return lineTo(chunks, tip).filter(({ index }) => !shared.has(index));
}

/** The dream as a tree: every chunk names the one that it continues, so each newest chunk has one line back to its start. */

/** The line that leads to chunk `tip`, oldest first, of `chunks` (`{index, parent, ...}`); empty where there is no such chunk. */
export function lineTo(chunks, tip) {
  const byIndex = new Map(chunks.map((chunk) => [chunk.index, chunk]));
  const line = [];
  for (let at = byIndex.get(tip); at; at = byIndex.get(at.parent)) line.unshift(at);
  return line;
}

/** Newest chunks of all branches, the newest first: those that no other chunk continues. */
export function tipsOf(chunks) {
  const continued = new Set(chunks.map(({ parent }) => parent));
  return chunks.filter(({ index }) => !continued.has(index)).map(({ index }) => index).sort((a, b) => b - a);
}

/** Chunks of the line to `tip` that the line to `head` has not. */
export function ownChunks(chunks, tip, head) {
  const shared = new Set(lineTo(chunks, head).map(({ index }) => index));
  return lineTo(chunks, tip).filter(({ index }) => !shared.has(index));
}

/** The frames in a chunk's binary message: they are its last bytes, one after the other. */

/** `sizes`: bytes of each frame. Returns a view of each; throws a RangeError where they do not fit the message. */
export function framesOf(bytes, sizes) {
  let from = bytes.byteLength - sizes.reduce((sum, size) => sum + size, 0);
  if (from < 0) throw new RangeError(`the frames are said to have ${bytes.byteLength - from} bytes, the message has ${bytes.byteLength}`);
  return sizes.map((size) => {
    const frame = new Uint8Array(bytes, from, size);
    from += size;
    return frame;
  });
}

/** The visit's last seconds as a clip on the server. */

const PATIENCE_MS = 4000;

/** Address of the QR code to it, or null where there is none: no address set, nothing recorded, a full disk. */
export async function keepClip(token) {
  try {
    const answer = await fetch(`api/kiosk/clips/${encodeURIComponent(token)}`, { method: 'POST', signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.ok ? (await answer.json()).qr.slice(1) : null;
  } catch {
    return null; // a farewell without a clip is still one
  }
}

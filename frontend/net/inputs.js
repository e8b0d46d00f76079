// @ts-check
/** Messages of the visitor's input: keys, turns, actions, events and text; what is held is sent again to a new connection. */

/** @typedef {import('./messages.d.ts').ReadyMessage} ReadyMessage */

export class Inputs {
  #send;
  #info;
  #pressed;
  /** @type {string[]} */
  #keys = [];
  /** @type {Set<string>} */
  #actions = new Set();

  /**
   * @param {(type: 'keys' | 'look' | 'action' | 'event' | 'text', fields: object) => number} send returns the message's `seq`
   * @param {() => ReadyMessage | null} info
   * @param {(seq: number, at: number) => void} pressed a key went down at a time
   */
  constructor(send, info, pressed) {
    this.#send = send;
    this.#info = info;
    this.#pressed = pressed;
  }

  /**
   * Sends the full list of held keys.
   * @param {string[]} down
   * @param {number | null} pressedAt time a key went down, null where none did
   */
  keys(down, pressedAt) {
    this.#keys = down;
    if (!this.#takes('keys')) return;
    const seq = this.#send('keys', { down });
    if (pressedAt !== null) this.#pressed(seq, pressedAt);
  }

  /**
   * Sends a turn of the view, and wheel notches to worlds without a camera or with actions.
   * @param {number} yaw degrees, to the right
   * @param {number} pitch degrees, upwards
   * @param {number} scroll wheel notches, upwards
   */
  look(yaw, pitch, scroll = 0) {
    if (!this.#takes('look')) return;
    const scrolls = scroll !== 0 && (this.#takes('actions') || this.#info()?.camera === false);
    if (scrolls) this.#send('look', { yaw, pitch, scroll });
    else if (yaw || pitch) this.#send('look', { yaw, pitch });
  }

  /**
   * Presses or releases an action of the world.
   * @param {string} name
   * @param {boolean} held
   * @param {number} at time of the event
   */
  action(name, held, at) {
    if (held) this.#actions.add(name);
    else this.#actions.delete(name);
    if (!this.#takes('actions')) return;
    const seq = this.#send('action', { name, phase: held ? 'press' : 'release' });
    if (held) this.#pressed(seq, at);
  }

  /**
   * Lets an event act from the next chunk on; null ends the one that acts. Returns the message's `seq`.
   * @param {string | null} name
   * @param {string} [text] its prompt, where it is not the world's own
   */
  event(name, text) {
    return this.#send('event', { name, text });
  }

  /** Sets the text prompt, from the next chunk on. @param {string} text */
  setPrompt(text) {
    this.#send('text', { text });
  }

  /** Sends what is held: the connection is another one. */
  resend() {
    if (this.#keys.length > 0 && this.#takes('keys')) this.#send('keys', { down: this.#keys });
    if (this.#takes('actions')) for (const name of this.#actions) this.#send('action', { name, phase: 'press' });
  }

  /** Returns true if the world takes a control. @param {string} control */
  #takes(control) {
    return this.#info()?.controls.includes(control) ?? false;
  }
}

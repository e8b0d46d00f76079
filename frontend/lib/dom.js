// @ts-check
/** Short forms of what every view does with the document. */

/**
 * Returns the element of an id; its type is the caller's to name.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element with id "${id}"`);
  return element;
}

/**
 * Returns a new element with some properties.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<HTMLElementTagNameMap[T]>} properties
 */
export function make(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

/**
 * Writes a text only where it is another one: screen readers repeat what is written again.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

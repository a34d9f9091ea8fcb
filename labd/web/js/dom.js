// The one builder of elements. Text becomes text nodes and values become attributes, so nothing a device, a file or a
// person names can turn into markup.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "open", "indeterminate"]);

/**
 * An element: h("button", {class: "button", on: {click: act}}, "Cancel").
 * Tags with "svg:" in front are SVG. `on` holds listeners, `style` CSS properties, `data` data attributes; null, false
 * and undefined leave an attribute or a child out; arrays of children are flattened.
 */
export function h(tag, attrs, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attrs ?? {})) set(node, name, value);
  add(node, children);
  return node;
}

function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") for (const [kind, listener] of Object.entries(value)) node.addEventListener(kind, listener);
  else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
  else if (name === "data") for (const [key, text] of Object.entries(value)) node.setAttribute(`data-${key}`, text);
  else if (PROPERTIES.has(name)) node[name] = value;
  else if (name.startsWith("on")) throw new Error(`listeners go into on: {...}, not into ${name}`);
  else if (name === "href" && !/^[#/]/.test(value)) throw new Error(`a link goes to a page or to this host, not to ${value}`);
  else node.setAttribute(name, value === true ? "" : String(value));
}

function add(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(node, child);
    else node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

/** The node with these children instead of its own; who had the focus in it has it again on what is alike, else on the page. */
export function fill(node, ...children) {
  const held = node !== document.activeElement && node.contains(document.activeElement) ? document.activeElement : null;
  const place = held ? [...node.querySelectorAll(FOCUSABLE)].indexOf(held) : -1;
  node.replaceChildren();
  add(node, children);
  if (held && !held.isConnected) {
    const next = node.querySelectorAll(FOCUSABLE)[place];
    const isAlike = next?.tagName === held.tagName && next.textContent === held.textContent && !next.disabled;
    (isAlike ? next : find("#main"))?.focus({ preventScroll: true });
  }
  return node;
}

/**
 * Children by key: nodes that are still named stay in place, so focus, selection and an opened menu survive an update.
 * `make(item)` makes a node, `update(node, item)` brings one up to date; without it a node is made anew on change.
 */
export function keyed(node, items, keyOf, make) {
  const old = new Map([...node.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const key = String(keyOf(item));
    const text = JSON.stringify(item);
    const there = old.get(key);
    if (there && (there.labdText === text || there.contains(document.activeElement) && there.querySelector("input, textarea, select"))) return there;
    const made = make(item);
    made.dataset.key = key;
    made.labdText = text;
    return made;
  });
  if (wanted.length === node.children.length && wanted.every((child, index) => node.children[index] === child)) return;
  const held = document.activeElement;
  node.replaceChildren(...wanted);
  if (held && node.contains(held) && held !== document.activeElement) held.focus();
}

/** The first element that fits the selector. */
export const find = (selector, within = document) => within.querySelector(selector);

// Elements from data, without a parser: text can only ever become text, so nothing that a job says can become markup.
const SVG = 'http://www.w3.org/2000/svg';
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'indeterminate', 'htmlFor']);

// What each element was made with, so that it can become another one.
const given = new WeakMap();

function put(node, name, value, before) {
  const none = value === null || value === undefined || value === false;
  if (name.startsWith('on')) {
    if (before) node.removeEventListener(name.slice(2), before);
    if (!none) node.addEventListener(name.slice(2), value);
  } else if (name === 'style') for (const [key, to] of Object.entries(value ?? {})) node.style.setProperty(key, to);
  else if (PROPERTIES.has(name)) node[name] = none ? (name === 'value' ? '' : false) : value;
  else if (none) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? '' : value);
}

function build(node, props, kids) {
  for (const [name, value] of Object.entries(props ?? {})) if (value !== null && value !== undefined && value !== false) put(node, name, value);
  given.set(node, props ?? {});
  node.append(...nodes(kids));
  return node;
}

const nodes = (kids) => kids.flat(Infinity).filter((kid) => kid !== null && kid !== undefined && kid !== false);

/** An HTML element: h('a', {href}, 'text', more…). Handlers are `onclick` and so on; what is null or false is left out. */
export const h = (tag, props, ...kids) => build(document.createElement(tag), props, kids);
/** An SVG element. */
export const s = (tag, props, ...kids) => build(document.createElementNS(SVG, tag), props, kids);

/** Put `kids` in the place of what `node` holds: once, or because a person asked for them. */
export function fill(node, ...kids) {
  node.replaceChildren(...nodes(kids));
  return node;
}

/** Set an element's text, if it is another one: live pages write often and change seldom. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The same for what is drawn again and again by itself: an element that is there already stays, and becomes what it is to
 * be. A browser makes no click of a press whose element was exchanged before it ended, and who came by keyboard would lose
 * the place. `kids` are made for this call: they may be thrown away. */
export function redraw(node, ...kids) {
  let at = node.firstChild;
  for (const kid of nodes(kids)) {
    const fresh = kid instanceof Node ? kid : document.createTextNode(kid);
    const mark = identity(fresh);
    let old = at;
    while (old && identity(old) !== mark) old = old.nextSibling;
    if (old) {
      while (at !== old) at = without(at);
      at = old.nextSibling;
      become(old, fresh);
    } else node.insertBefore(fresh, at);
  }
  // A focus that goes with them is nobody's: on a button that took the place, the same key would do something else.
  while (at) at = without(at);
}

function without(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/** What does not change of a thing while it stays the same thing: where a link leads, what a button says. */
function identity(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return '';
  const name = node.dataset.key ?? node.getAttribute('aria-label') ?? node.getAttribute('href') ?? (node.tagName === 'BUTTON' ? node.textContent : '');
  return `${node.tagName} ${name}`;
}

function become(old, fresh) {
  if (old === fresh) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  // Only what is another one than before: the rest may have been changed by others.
  const before = given.get(old) ?? {}, now = given.get(fresh) ?? {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) if (before[name] !== now[name]) put(old, name, now[name], before[name]);
  given.set(old, now);
  redraw(old, [...fresh.childNodes]);
}

/** Make the children of `parent` those of `items`, each the same element for as long as its key is there, drawn anew when
 * its sign is another one. `render(item)` makes one. */
export function keep(parent, items, {key, sign, render}) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const around = [...parent.children].find((child) => child.contains(focused));
  const wanted = new Set(items.map((item) => String(key(item))));
  const old = new Map();
  // Those that go, go first: then those below them need not be moved, which is like taking them out.
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) old.set(child.dataset.key, child);
    else child.remove();
  }
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const mark = sign(item);
    const child = old.get(name) ?? render(item);
    if (old.delete(name) && child.dataset.sign !== mark) become(child, render(item));
    child.dataset.key = name;
    child.dataset.sign = mark;
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  // Whatever is taken out, or moved all the same, loses the focus.
  if (focused && !parent.contains(document.activeElement)) [focused, around, parent.firstElementChild].find((one) => parent.contains(one))?.focus({preventScroll: true});
}

const ICONS = {
  overview: 'M2.5 2.5h4.500v5h-4.500zM9 2.5h4.500v3h-4.500zM9 7.5h4.500v6h-4.500zM2.5 9.5h4.500v4h-4.500z',
  jobs: 'M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01',
  queues: 'M8 2 14 5 8 8 2 5zM2 8l6 3 6-3M2 11l6 3 6-3',
  dead: 'M5.3 2h5.400L14 5.300v5.400L10.7 14H5.300L2 10.700V5.300zM8 5v3.500M8 11h.01',
  nodes: 'M2.5 2.500h11v4h-11zM2.5 9.500h11v4h-11zM5 4.500h.01M5 11.500h.01',
  events: 'M1.5 8.500h3l2-6 3 11 2-5h3',
  audit: 'M8 1.800l5 2v4c0 3.2-2.1 5.3-5 6.4-2.9-1.1-5-3.2-5-6.400v-4zM5.8 8l1.6 1.6 3-3.2',
  plus: 'M8 3v10M3 8h10', close: 'M4 4l8 8M12 4l-8 8', menu: 'M2.5 4h11M2.5 8h11M2.5 12h11',
  sun: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.500v1M8 13.500v1M1.5 8h1M13.5 8h1M3.4 3.400l.7.7M11.9 11.900l.7.7M3.4 12.600l.7-.7M11.9 4.100l.7-.7',
  moon: 'M13.5 9.500A6 6 0 0 1 6.5 2.500a6 6 0 1 0 7 7z', auto: 'M8 2.500a5.5 5.5 0 1 0 0 11zM8 2.500a5.5 5.5 0 0 1 0 11',
  help: 'M6 6a2 2 0 1 1 2.7 1.900c-.5.2-.7.6-.7 1.100v.5M8 12h.01', out: 'M6 2.500H3v11h3M10.5 5l3 3-3 3M13 8H6',
  crown: 'M2.5 12.500h11M3 10 2.5 4.5 5.5 7 8 3l2.5 4 3-2.500L13 10z', check: 'M3 8.500l3.2 3.200L13 5',
  alert: 'M8 2 14.5 13.500h-13zM8 6.500v3M8 11.500h.01', copy: 'M5.5 5.500h8v8h-8zM10.5 5.500v-3h-8v8h3',
  next: 'M6 3.5 10.5 8 6 12.5', again: 'M13 8a5 5 0 1 1-1.5-3.500L13 6M13 2.500V6H9.5', key: 'M9.5 9.500a3.5 3.5 0 1 0-3-3L2 11v3h3v-2h2v-2z',
};

/** One of the icons, for the eye alone: beside it stands a word. */
export const icon = (name) => s('svg', {class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true'}, s('path', {d: ICONS[name]}));

// Elements from data, without a parser: text can only ever become text, so nothing that a job says can become markup.
const SVG = 'http://www.w3.org/2000/svg';
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'indeterminate', 'htmlFor']);

function build(node, props, kids) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style') for (const [key, to] of Object.entries(value)) node.style.setProperty(key, to);
    else if (PROPERTIES.has(name)) node[name] = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...nodes(kids));
  return node;
}

const nodes = (kids) => kids.flat(Infinity).filter((kid) => kid !== null && kid !== undefined && kid !== false);

/** An HTML element: h('a', {href}, 'text', more…). Handlers are `onclick` and so on; what is null or false is left out. */
export const h = (tag, props, ...kids) => build(document.createElement(tag), props, kids);
/** An SVG element. */
export const s = (tag, props, ...kids) => build(document.createElementNS(SVG, tag), props, kids);

/** Put `kids` in the place of what `node` holds. */
export function fill(node, ...kids) {
  node.replaceChildren(...nodes(kids));
  return node;
}

/** Set an element's text, if it is another one: live pages write often and change seldom. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Make the children of `parent` those of `items`: an element stays where its key and sign are the same, with its focus
 * and whatever a person has selected in it. `render(item)` makes a new one. */
export function keep(parent, items, {key, sign, render}) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const mark = sign(item);
    let child = old.get(name);
    old.delete(name);
    if (!child || child.dataset.sign !== mark) {
      const fresh = render(item);
      fresh.dataset.key = name;
      fresh.dataset.sign = mark;
      if (child) {
        if (focused && child.contains(focused)) focused = follow(fresh, path(child, focused));
        if (child === at) at = fresh;
        child.replaceWith(fresh);
      }
      child = fresh;
    }
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  const lost = [...old.values()].some((gone) => gone.contains(focused));
  for (const gone of old.values()) gone.remove();
  // Whatever is taken out, or only moved, loses the focus.
  const next = lost ? parent.firstElementChild : focused;
  if (next && next !== document.activeElement) next.focus({preventScroll: true});
}

function path(from, to) {
  const steps = [];
  for (let node = to; node !== from; node = node.parentElement) steps.unshift([...node.parentElement.children].indexOf(node));
  return steps;
}

function follow(from, steps) {
  return steps.reduce((node, step) => node?.children[step], from);
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

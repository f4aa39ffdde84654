// Filters whose values stand in the page's address: typing changes what is shown, and a link keeps it.
import {fill, h} from './dom.js';
import {setQuery} from './router.js';

const SETTLE = 300;

/** What jobs have been seen with, to choose from: the API lists neither queues nor tags. */
export const met = {queues: new Set(), tags: new Set()};

export function remember(jobs) {
  for (const {queue, tags} of jobs) for (const [all, some] of [[met.queues, [queue]], [met.tags, tags]]) for (const one of some) if (all.size < 500) all.add(one);
}

/** One text filter. `suggest()` gives words to choose from, or a promise of them, each time it is asked. */
export function textFilter(name, label, query, {suggest, width} = {}) {
  const words = suggest && h('datalist', {id: `words-${name}`});
  const input = h('input', {type: 'search', 'aria-label': label, placeholder: label, value: query[name] ?? '', autocomplete: 'off', spellcheck: 'false', list: words ? `words-${name}` : null});
  let timer = 0;
  const apply = () => { clearTimeout(timer); timer = 0; setQuery({[name]: input.value.trim(), cursor: ''}, {replace: true}); };
  input.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(apply, SETTLE); });
  // Who goes on to the next filter is done with this one: what stands in the address must not come back over it.
  input.addEventListener('change', () => { if (timer) apply(); });
  input.addEventListener('keydown', (event) => { if (event.key === 'Enter') apply(); });
  input.addEventListener('focus', async () => {
    try { if (words) fill(words, [...new Set(await suggest())].sort().map((word) => h('option', {value: word}))); } catch { /* then without */ }
  });
  return {
    node: h('div', {class: 'field-inline', style: width ? {width} : null}, input, words),
    show(now) { if (document.activeElement !== input && !timer) input.value = now[name] ?? ''; },
  };
}

export function choiceFilter(name, label, query, options) {
  const select = h('select', {'aria-label': label, onchange: () => setQuery({[name]: select.value, cursor: ''})}, options.map(([value, text]) => h('option', {value, selected: (query[name] ?? '') === value}, text)));
  return {node: h('div', {class: 'field-inline'}, select), show(now) { select.value = now[name] ?? ''; }};
}

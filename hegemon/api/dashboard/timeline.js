// The history of leadership: who held the office when, as a strip, and each change in words. Whose office it was all nodes
// have told, also those that are gone; for how long nobody led, this node has seen.
import {h, s} from './dom.js';
import {clock, millis, now, span} from './format.js';

const WINDOW = 15 * 60_000;
const TONES = ['c-accent', 'c-run', 'c-ok', 'c-warn', 'c-muted'];

/** Who led from when to when, oldest first: [{leader, from, to, term, epoch}]; leader null while nobody did. `offices` are
 * events of the office, `changes` what a node has believed. */
export function reigns(offices, changes, until) {
  const found = [];
  const begin = (leader, from, more) => {
    if (found.length) found.at(-1).to = from;
    found.push({leader, from, to: until, ...more});
  };
  for (const {kind, at, node, fields} of offices) {
    const last = found.at(-1), time = millis(at);
    if (kind === 'office.taken') {
      // Who was killed gave nothing up.
      const gone = last?.leader && changes.find((change) => !change.leader && millis(change.at) > last.from && millis(change.at) < time);
      if (gone) begin(null, millis(gone.at));
      begin(node, time, fields);
    } else if (last?.leader === node && /lost|vacated/.test(kind)) begin(null, time);
  }
  return found;
}

const OFFICE = {
  'office.taken': ({node, fields}) => [`${node} took office`, 'c-accent', `epoch ${fields.epoch}, term ${fields.term}`],
  'office.paused': ({node, fields}) => [`${node} pauses`, 'c-warn', `${fields.store} does not answer`],
  'office.vacated': ({node, fields}) => [`${node} gave its office up`, 'c-warn', `epoch ${fields.epoch}`],
  'office.lost': ({node, fields}) => [`${node} lost its office`, 'c-bad', fields.reason],
};

/** `offices`: events of the office, oldest first; `changes` as /election has them in last_changes; `seen`: by this page. */
export function timeline(offices, changes, seen) {
  const until = now();
  offices = [...offices].sort((a, b) => millis(a.at) - millis(b.at));
  const spans = reigns(offices, changes, until);
  const from = Math.max(until - WINDOW, Math.min(spans[0]?.from ?? until, until - 60_000));
  const names = [...new Set(spans.map((one) => one.leader).filter(Boolean))];
  const x = (t) => ((Math.max(t, from) - from) / (until - from)) * 1000;
  const strip = s('svg', {viewBox: '0 0 1000 30', preserveAspectRatio: 'none', class: 'strip', role: 'img', 'aria-label': `Leaders of the last ${span(until - from)}: ${spans.map((one) => `${one.leader ?? 'nobody'} for ${span(one.to - one.from)}`).join(', ')}`},
    spans.filter((one) => one.to > from).map((one) => s('rect', {
      class: one.leader ? TONES[names.indexOf(one.leader) % TONES.length] : 'c-bad', fill: 'currentColor',
      x: x(one.from), y: one.leader ? 4 : 0, height: one.leader ? 22 : 30, width: Math.max(3, x(one.to) - x(one.from) - 1), rx: 3,
    }, s('title', null, `${one.leader ?? 'nobody'}: ${clock(one.from)}, ${span(one.to - one.from)}${one.epoch ? `, epoch ${one.epoch}, term ${one.term}` : ''}`))));
  const legend = h('div', {class: 'legend'}, names.map((name, at) => h('span', null, h('i', {class: TONES[at % TONES.length]}), name)),
    spans.some((one) => !one.leader) && h('span', null, h('i', {class: 'c-bad'}), 'nobody'), h('span', {class: 'grow'}), h('span', {class: 'faint'}, `last ${span(until - from)}`));
  const rows = [
    ...offices.filter(({kind}) => OFFICE[kind]).map((event) => [millis(event.at), ...OFFICE[event.kind](event)]),
    ...changes.map((change, at) => !change.leader && change.what !== 'won' && [millis(change.at), 'Nobody leads', 'c-warn',
      [change.reason, changes[at + 1] && `for ${span(millis(changes[at + 1].at) - millis(change.at))}`, 'seen from here'].filter(Boolean).join(' · ')]),
    ...seen.filter((one) => /lost|joined|left|answer/.test(one.text)).map((one) => [one.at, one.text, {ok: 'c-ok', bad: 'c-bad', warn: 'c-warn'}[one.kind] ?? 'c-accent', 'seen from here']),
  ].filter(Boolean).sort(([a], [b]) => b - a).slice(0, 100);
  return [h('div', {class: 'chart'}, legend, strip),
    h('ol', {class: 'changes', tabindex: '0', 'aria-label': 'Changes of leadership, newest first'}, rows.map(([at, text, color, detail]) => h('li', null, h('time', null, clock(at)), h('i', {class: color}), h('div', null, text, detail && h('small', null, ` ${detail}`)))))];
}

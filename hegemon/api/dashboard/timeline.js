// The history of leadership: who led when, as a strip, and each change in words.
import {h, s} from './dom.js';
import {clock, millis, now, span} from './format.js';

const WINDOW = 15 * 60_000;
const TONES = ['c-accent', 'c-run', 'c-ok', 'c-warn', 'c-muted'];

/** Who led from when to when, oldest first: [{leader, from, to, term}]; leader null while nobody did. */
export function reigns(changes, until) {
  const found = [];
  for (const change of changes) {
    const at = millis(change.at);
    const last = found.at(-1);
    const leader = change.what === 'lost' ? null : change.leader;
    if (last && last.leader === leader) { last.term = change.term; continue; }
    if (last) last.to = at;
    found.push({leader, from: at, to: until, term: change.term});
  }
  return found;
}

function words({what, leader, term, reason}) {
  if (what === 'won') return [`${leader} won term ${term}`, 'c-ok', reason];
  if (what === 'lost') return ['The office was lost', 'c-bad', reason];
  return leader ? [`${leader} leads, term ${term}`, 'c-accent', reason] : [`Nobody leads, term ${term}`, 'c-warn', reason];
}

/** `changes` as /election has them in last_changes; `seen` is what this page saw itself. */
export function timeline(changes, seen) {
  const until = now();
  const spans = reigns(changes, until);
  const from = Math.max(until - WINDOW, Math.min(spans[0]?.from ?? until, until - 60_000));
  const names = [...new Set(spans.map((one) => one.leader).filter(Boolean))];
  const x = (t) => ((Math.max(t, from) - from) / (until - from)) * 1000;
  const strip = s('svg', {viewBox: '0 0 1000 30', preserveAspectRatio: 'none', class: 'strip', role: 'img', 'aria-label': `Leaders of the last ${span(until - from)}: ${spans.map((one) => `${one.leader ?? 'nobody'} for ${span(one.to - one.from)}`).join(', ')}`},
    spans.filter((one) => one.to > from).map((one) => s('rect', {
      class: one.leader ? TONES[names.indexOf(one.leader) % TONES.length] : 'c-bad', fill: 'currentColor',
      x: x(one.from), y: one.leader ? 4 : 0, height: one.leader ? 22 : 30, width: Math.max(3, x(one.to) - x(one.from) - 1), rx: 3,
    }, s('title', null, `${one.leader ?? 'nobody'}: ${clock(one.from)}, ${span(one.to - one.from)}`))));
  const legend = h('div', {class: 'legend'}, names.map((name, at) => h('span', null, h('i', {class: TONES[at % TONES.length]}), name)),
    spans.some((one) => !one.leader) && h('span', null, h('i', {class: 'c-bad'}), 'nobody'), h('span', {class: 'grow'}), h('span', {class: 'faint'}, `last ${span(until - from)}`));
  const rows = [
    ...changes.map((change, at) => {
      const [text, color, detail] = words(change);
      const next = changes[at + 1];
      const vacant = !change.leader && change.what !== 'won' && next ? `nobody for ${span(millis(next.at) - millis(change.at))}` : '';
      return {at: millis(change.at), text, color, detail: [detail, vacant].filter(Boolean).join(' · ')};
    }),
    ...seen.filter((one) => /lost|joined|left|answer/.test(one.text)).map((one) => ({at: one.at, text: one.text, color: {ok: 'c-ok', bad: 'c-bad', warn: 'c-warn'}[one.kind] ?? 'c-accent', detail: 'seen from here'})),
  ].sort((a, b) => b.at - a.at);
  return [h('div', {class: 'chart'}, legend, strip),
    h('ol', {class: 'changes', tabindex: '0', 'aria-label': 'Changes of leadership, newest first'}, rows.map((row) => h('li', null, h('time', null, clock(row.at)), h('i', {class: row.color}), h('div', null, row.text, row.detail && h('small', null, ` ${row.detail}`)))))];
}

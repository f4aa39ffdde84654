// Queues: what each holds, for how long its oldest job has waited, how fast it is. What the whole index holds is as of now;
// the leader looks at each queue every few seconds.
import {h, redraw} from '../dom.js';
import {problem} from '../feedback.js';
import {onFigures} from '../figures.js';
import {count, plural, rate, short, span} from '../format.js';
import {list} from '../list.js';
import {href} from '../router.js';

// What the index calls it, what the page calls it, and the state that its jobs have.
const PLACES = [['ready', 'Ready', 'pending'], ['held', 'With workers', 'running'], ['delayed', 'Delayed', 'scheduled'], ['parked', 'Without a worker', 'pending']];

export function show({content, onLeave}) {
  const totals = h('div', {class: 'figures'});
  const note = h('span', {class: 'note'});
  const wrong = h('div');
  const parked = h('div', {class: 'body'});
  const number = ([place, label, status]) => ({label, cls: `num ${place === 'ready' || place === 'held' ? '' : 'mid'}`, cell: (row) => (row[place] ? h('a', {href: href('/jobs', {queue: row.name, status})}, count(row[place])) : h('span', {class: 'faint'}, row[place] === null ? '–' : '0'))});
  const table = list({
    caption: 'Queues', key: (row) => row.name, open: true, sign: (row) => JSON.stringify(row),
    columns: [{label: 'Queue', cls: 'main', cell: (row) => h('a', {href: href('/jobs', {queue: row.name})}, row.name)}, ...PLACES.map(number),
      {label: 'Oldest waits for', cls: 'num', cell: (row) => (row.oldest_age_s === null ? '–' : span(1000 * row.oldest_age_s))},
      {label: 'Completed/s', cls: 'num wide', cell: (row) => rate(row.rates.completed.last_10s)},
      {label: 'Wait p95', cls: 'num wide', cell: (row) => span(row.wait.p95_ms ?? NaN)},
      {label: 'Run p95', cls: 'num wide', cell: (row) => span(row.processing.p95_ms ?? NaN)}],
    empty: () => [h('b', null, 'No queues'), 'A queue is there as soon as a job is in it.'],
  });
  content.append(totals, wrong,
    h('section', {class: 'panel', 'aria-label': 'Queues'}, h('header', null, h('h2', {class: 'grow'}, 'Queues'), note), table.node),
    h('section', {class: 'panel', 'aria-label': 'Jobs without a worker'}, h('header', null, h('h2', {class: 'grow'}, 'Waiting for a worker'), h('span', {class: 'note'}, 'no live worker handles their type')), parked));

  onLeave(onFigures(({stats, error}) => {
    redraw(wrong, error ? problem(error) : null);
    if (!stats) return;
    const {queues, depth_age_s: age} = stats.figures;
    table.update(queues);
    redraw(note, age === null ? 'no leader has looked yet' : `as of ${Math.round(age)} s ago; times of the last minute`);
    const figure = (name, value, sub) => h('div', {class: 'figure'}, h('div', {class: 'name'}, name), h('div', {class: 'value'}, short(value)), h('div', {class: 'sub'}, sub));
    const {queue, jobs} = stats;
    const waiting = Object.entries(queue.parked);
    redraw(totals, figure('Ready', queue.ready, 'wait for a slot'), figure('With workers', queue.held, 'run, or are about to'), figure('Delayed', queue.delayed, 'due later'),
      figure('Without a worker', waiting.reduce((sum, [, value]) => sum + value, 0), plural(waiting.length, 'type')), figure('Completed', jobs.completed, 'kept'), figure('Dead letters', jobs.failed, 'kept'));
    redraw(parked, waiting.length ? h('dl', {class: 'facts'}, waiting.map(([type, value]) => [h('dt', null, type), h('dd', null, h('a', {href: href('/jobs', {type, status: 'pending'})}, plural(value, 'job')))])) : h('span', {class: 'muted'}, 'None. Every type that waits has a worker.'));
  }));
}

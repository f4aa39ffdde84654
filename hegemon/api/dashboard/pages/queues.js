// Queues: what each holds. The API counts jobs by state over all queues, so the figures by queue are counted from the
// newest live jobs, and say so; what the index holds is exact.
import {get} from '../api.js';
import {fill, h} from '../dom.js';
import {problem} from '../feedback.js';
import {onFigures} from '../figures.js';
import {ago, count, millis, now, plural, short} from '../format.js';
import {list} from '../list.js';
import {href} from '../router.js';

const LIVE = ['pending', 'running', 'retrying', 'scheduled'];
const PER_STATE = 200;
const EVERY = 4000;

/** Rows by queue of live jobs: {queue, pending, running, retrying, scheduled, oldest, types}. */
export function byQueue(jobs) {
  const rows = new Map();
  for (const job of jobs) {
    const row = rows.get(job.queue) ?? {queue: job.queue, pending: 0, running: 0, retrying: 0, scheduled: 0, oldest: NaN, types: new Set()};
    row[job.status] += 1;
    row.types.add(job.type);
    if (job.status === 'pending') row.oldest = Math.min(row.oldest || Infinity, millis(job.created_at));
    rows.set(job.queue, row);
  }
  return [...rows.values()].sort((a, b) => b.pending + b.running - a.pending - a.running || a.queue.localeCompare(b.queue));
}

export function show({content, onLeave, alive}) {
  const totals = h('div', {class: 'figures'});
  const note = h('span', {class: 'note'});
  const wrong = h('div');
  const parked = h('div', {class: 'body'});
  const number = (state) => ({label: state[0].toUpperCase() + state.slice(1), cls: `num ${state === 'pending' || state === 'running' ? '' : 'mid'}`, cell: (row) => (row[state] ? h('a', {href: href('/jobs', {queue: row.queue, status: state})}, count(row[state])) : h('span', {class: 'faint'}, '0'))});
  const table = list({
    caption: 'Queues', key: (row) => row.queue, open: true, sign: (row) => LIVE.map((state) => row[state]).join() + Math.round((now() - row.oldest) / 1000),
    columns: [{label: 'Queue', cls: 'main', cell: (row) => h('a', {href: href('/jobs', {queue: row.queue})}, row.queue)}, ...LIVE.map(number),
      {label: 'Oldest waiting', cls: 'num', cell: (row) => (Number.isFinite(row.oldest) ? ago(now() - row.oldest) : '–')},
      {label: 'Types', cls: 'wide cut', cell: (row) => [...row.types].sort().join(', ')}],
    empty: () => [h('b', null, 'No live jobs'), 'A queue is there as soon as a job is in it.'],
  });
  content.append(totals, wrong,
    h('section', {class: 'panel', 'aria-label': 'Queues'}, h('header', null, h('h2', {class: 'grow'}, 'Queues with live jobs'), note), table.node),
    h('section', {class: 'panel', 'aria-label': 'Jobs without a worker'}, h('header', null, h('h2', {class: 'grow'}, 'Waiting for a worker'), h('span', {class: 'note'}, 'no live worker handles their type')), parked));

  onLeave(onFigures(({stats}) => {
    if (!stats) return;
    const figure = (name, value, sub) => h('div', {class: 'figure'}, h('div', {class: 'name'}, name), h('div', {class: 'value'}, short(value)), h('div', {class: 'sub'}, sub));
    const {queue, jobs} = stats;
    const waiting = Object.entries(queue.parked);
    fill(totals, figure('Ready', queue.ready, 'wait for a slot'), figure('With workers', queue.held, 'run, or are about to'), figure('Delayed', queue.delayed, 'due later'),
      figure('Without a worker', waiting.reduce((sum, [, value]) => sum + value, 0), plural(waiting.length, 'type')), figure('Completed', jobs.completed, 'kept'), figure('Dead letters', jobs.failed, 'kept'));
    fill(parked, waiting.length ? h('dl', {class: 'facts'}, waiting.map(([type, value]) => [h('dt', null, type), h('dd', null, h('a', {href: href('/jobs', {type, status: 'pending'})}, plural(value, 'job')))])) : h('span', {class: 'muted'}, 'None. Every type that waits has a worker.'));
  }));

  let timer = 0;
  async function look() {
    const stop = new AbortController();
    leave = () => stop.abort();
    const began = performance.now();
    try {
      if (!document.hidden) {
        const pages = await Promise.all(LIVE.map((status) => get('/jobs', {status, limit: PER_STATE}, {signal: stop.signal})));
        table.update(byQueue(pages.flatMap((page) => page.jobs)));
        fill(note, pages.some((page) => page.next_cursor) ? `counted from the newest ${PER_STATE} jobs of each state` : 'all live jobs');
        fill(wrong);
      }
    } catch (error) {
      if (!alive()) return;
      fill(wrong, problem(error));
    }
    if (alive()) timer = setTimeout(look, Math.max(EVERY, 3 * (performance.now() - began)));
  }
  let leave = () => {};
  onLeave(() => { clearTimeout(timer); leave(); });
  look();
}

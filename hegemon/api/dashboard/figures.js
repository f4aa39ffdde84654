// Rates from counters: the API tells how many jobs there are in each state, so what happened between two answers is their
// difference. Kept over a reload of the page, in the tab's own storage; gaps stay gaps.
import {get, may} from './api.js';
import {millis, now, percentile} from './format.js';
import {watch} from './live.js';

const EVERY = 2000;
const LATENCY_EVERY = 5000;
const SAMPLE = 50;
export const WINDOW = 5 * 60_000;
const KEY = 'hegemon.figures';
const ENDED = ['completed', 'failed', 'cancelled'];

/** The last /stats, points of rates and of latencies, oldest first: {t, v}. */
export const figures = {stats: null, error: null, rates: [], depth: [], latency: [], sample: 0};
const listeners = new Set();
let last = null;

export function onFigures(listener) {
  listeners.add(listener);
  listener(figures);
  return () => listeners.delete(listener);
}

const tell = () => { for (const listener of listeners) listener(figures); };
const recent = (points) => points.filter((point) => point.t > now() - WINDOW - 10_000);
export const gap = (length, t) => ({t, v: Array(length).fill(NaN)});

function push(name, point, every) {
  const points = figures[name];
  const before = points.at(-1);
  // After a pause the line is broken: nobody knows what was between.
  if (before && point.t - before.t > 4 * every) points.push(gap(point.v.length, before.t + 1));
  figures[name] = recent([...points, point]);
}

/** What happened since the answer before, by the second: [accepted, completed, failed]. Jobs that were removed make a
 * count fall, which is no work undone. */
export function rates(before, after, seconds) {
  const more = (name) => Math.max(0, (after[name] ?? 0) - (before[name] ?? 0)) / seconds;
  const total = (counts) => Object.values(counts).reduce((sum, value) => sum + value, 0);
  return [Math.max(0, total(after) - total(before)) / seconds, more('completed'), more('failed')];
}

function hear(stats) {
  const t = now();
  figures.stats = stats;
  figures.error = null;
  const counts = stats.jobs;
  // The node counts once a second: of answers closer to each other the difference would jump.
  if (last && t - last.t < 1500) return tell();
  if (last && t - last.t < 4 * EVERY) push('rates', {t, v: rates(last.counts, counts, (t - last.t) / 1000)}, EVERY);
  else if (figures.rates.length) figures.rates = [...figures.rates, gap(3, t)];
  last = {t, counts};
  push('depth', {t, v: [stats.queue.ready, stats.queue.delayed, stats.queue.held]}, EVERY);
  tell();
}

/** How long the latest completed jobs waited and ran: [wait p50, wait p95, run p50, run p95] in ms. */
export function latencies(jobs) {
  const waits = [], runs = [];
  for (const job of jobs) {
    const first = millis(job.history[0]?.started_at ?? job.started_at);
    const due = Math.max(millis(job.created_at), millis(job.scheduled_at) || 0);
    if (Number.isFinite(first)) waits.push(Math.max(0, first - due));
    const run = millis(job.completed_at) - millis(job.started_at);
    if (Number.isFinite(run)) runs.push(Math.max(0, run));
  }
  for (const some of [waits, runs]) some.sort((a, b) => a - b);
  return [percentile(waits, 50), percentile(waits, 95), percentile(runs, 50), percentile(runs, 95)];
}

function hearCompleted({jobs}) {
  // A point only while something ends: a line that goes on alone would show old jobs as if they were new.
  const fresh = jobs.filter((job) => millis(job.completed_at) > now() - 30_000);
  figures.sample = fresh.length;
  push('latency', fresh.length ? {t: now(), v: latencies(fresh)} : gap(4, now()), LATENCY_EVERY);
  tell();
}

function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? 'null');
    // JSON has no NaN: a gap comes back as null.
    const read = (points) => recent(points.map(({t, v}) => ({t, v: v.map((value) => value ?? NaN)})));
    if (kept) for (const name of ['rates', 'depth', 'latency']) figures[name] = read(kept[name]);
  } catch { /* nothing was kept */ }
}

function save() {
  try {
    const {rates: r, depth, latency} = figures;
    sessionStorage.setItem(KEY, JSON.stringify({rates: r, depth, latency}));
  } catch { /* nothing can be kept */ }
}

/** Begin to count, for as long as somebody is logged in. Returns how to stop. */
export function start() {
  if (!may('read')) return () => {};
  restore();
  addEventListener('pagehide', save);
  const stop = watch('/stats', {every: EVERY}, hear, (error) => { figures.error = error; tell(); });
  return () => { stop(); removeEventListener('pagehide', save); last = null; };
}

/** Latencies cost an answer with whole jobs: only a page that shows them asks. */
export const watchLatencies = () => watch('/jobs', {query: {status: 'completed', limit: SAMPLE}, every: LATENCY_EVERY}, hearCompleted);

/** Jobs that match, counted by reading the list page by page; at most `max`. Returns {jobs, more}. */
export async function matching(path, query, {max = 5000, signal, told} = {}) {
  const jobs = [];
  let cursor;
  do {
    const page = await get(path, {...query, limit: 200, cursor}, {signal});
    jobs.push(...page.jobs.map(({id, status, type, queue}) => ({id, status, type, queue})));
    cursor = page.next_cursor;
    told?.(jobs.length);
  } while (cursor && jobs.length < max);
  return {jobs, more: Boolean(cursor)};
}

// The cluster's figures as /stats tells them, and their course while the page is open: rates over the last 10 s, waits and
// runs over the last minute. Kept over a reload of the page, in the tab's own storage; gaps stay gaps.
import {get, may} from './api.js';
import {now} from './format.js';
import {watch} from './live.js';

const EVERY = 2000;
export const WINDOW = 5 * 60_000;
const KEY = 'hegemon.figures.2';

/** The last /stats, and points {t, v}, oldest first. rates: accepted, completed and failed a second, failed a minute.
 * latency: wait p50 and p95, run p50 and p95, in ms. */
export const figures = {stats: null, error: null, rates: [], depth: [], latency: []};
const listeners = new Set();

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

function hear(stats) {
  const t = now();
  figures.stats = stats;
  figures.error = null;
  const {rates: speed, wait, processing} = stats.figures;
  push('rates', {t, v: [speed.submitted.last_10s, speed.completed.last_10s, speed.failed.last_10s, Math.round(60 * speed.failed.last_60s)]}, EVERY);
  push('depth', {t, v: [stats.queue.ready, stats.queue.delayed, stats.queue.held]}, EVERY);
  push('latency', wait.count ? {t, v: [wait.p50_ms, wait.p95_ms, processing.p50_ms ?? NaN, processing.p95_ms ?? NaN]} : gap(4, t), EVERY);
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
  return () => { stop(); removeEventListener('pagehide', save); };
}

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

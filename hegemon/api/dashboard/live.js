// Everything that is asked for again and again comes through here: pages watch a path, and are told what it holds, when the
// node is lost, and when it is back. Each path is asked for once for all who watch it, never twice at a time, less often
// while answers are slow, not at all in a hidden tab, with growing pauses while the node does not answer, and at once when
// the stream of events (`feed`) says that something has happened to it.
import {Problem, Unreachable, get, search} from './api.js';
import {LoggedOut} from './session.js';

const TIMEOUT = 6000;
const PAUSES = [500, 1000, 2000, 4000, 8000, 15_000];

const polls = new Map();
const listeners = new Set();
/** What is known of the connection: `state` is live, lost, paused or connecting; `since` when that began. `streaming`: what
 * happens is told at once. */
export const connection = {state: 'connecting', since: Date.now(), tries: 0, next: 0, reason: '', streaming: false};
let probing = 0;

export function onConnection(listener) {
  listeners.add(listener);
  listener(connection);
  return () => listeners.delete(listener);
}

function become(state, reason = '') {
  if (connection.state === state) return;
  const before = {...connection};
  Object.assign(connection, {state, since: Date.now(), reason});
  for (const listener of listeners) listener(connection, before);
}

class Poll {
  constructor(name, path, query) {
    Object.assign(this, {name, path, query, watchers: new Set(), data: undefined, error: null, timer: 0, running: null, stale: false, asked: 0, took: 0});
  }

  /** How long until the next question: a node that answers slowly is asked less often. */
  get pause() {
    const wanted = Math.min(...[...this.watchers].map(({every, calm}) => (connection.streaming && calm) || every));
    return Math.max(wanted, 3 * this.took, this.error?.retryAfter ? this.error.retryAfter * 1000 : 0);
  }

  /** Ask before it is time: now, or after what is under way, whose answer may be older than what has happened. */
  soon() {
    if (this.running) { this.stale = true; return; }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), Math.max(0, this.asked + Math.max(500, this.pause / 4) - performance.now()));
  }

  async ask() {
    clearTimeout(this.timer);
    if (this.running || !this.watchers.size || document.hidden || connection.state === 'lost') return;
    const stop = new AbortController();
    this.running = stop;
    this.stale = false;
    const began = this.asked = performance.now();
    try {
      const query = typeof this.query === 'function' ? this.query() : this.query;
      this.data = await get(this.path, query, {signal: stop.signal, timeout: TIMEOUT});
      this.error = null;
      // What was under way when the tab was hidden may still arrive.
      become(document.hidden ? 'paused' : 'live');
    } catch (error) {
      if (stop.signal.aborted) return;
      this.error = error;
      if (error instanceof LoggedOut) return;
      if (error instanceof Unreachable) lost(error);
      else if (!(error instanceof Problem)) console.error(error);
    } finally {
      if (this.running === stop) this.running = null;
      this.took = performance.now() - began;
    }
    for (const watcher of [...this.watchers]) this.tell(watcher);
    if (connection.state !== 'lost' && this.watchers.size) this.timer = setTimeout(() => this.ask(), this.pause);
    if (this.stale) this.soon();
  }

  tell(watcher) {
    if (this.error) watcher.failed?.(this.error);
    else if (this.data !== undefined) watcher.told(this.data);
  }

  leave(watcher) {
    this.watchers.delete(watcher);
    if (this.watchers.size) return;
    clearTimeout(this.timer);
    this.running?.abort();
    this.running = null;
    polls.delete(this.name);
  }
}

/** Be told what `path` holds, now and every `every` milliseconds (`calm`, while the stream of events tells of changes):
 * told(data), failed(error). Returns how to stop. A `query` that is a function is asked each time, so that a question can go on where the answer before ended. */
export function watch(path, {query, every = 2000, calm}, told, failed) {
  const name = typeof query === 'function' ? query : path + search(query);
  let poll = polls.get(name);
  if (!poll) polls.set(name, (poll = new Poll(name, path, query)));
  const watcher = {every, calm, told, failed};
  poll.watchers.add(watcher);
  poll.tell(watcher);
  poll.ask();
  const stop = () => poll.leave(watcher);
  stop.again = () => poll.ask();
  return stop;
}

/** Ask for everything anew, now: after something was changed. */
export const refresh = () => Promise.all([...polls.values()].map((poll) => poll.ask()));

/** Ask anew for what lies below these paths: something has happened to it. */
export function touch(paths) {
  for (const poll of polls.values()) if (paths.some((path) => poll.path.startsWith(path))) poll.soon();
}

function lost(error) {
  if (connection.state === 'lost') return;
  become('lost', error.message);
  connection.tries = 0;
  for (const poll of polls.values()) clearTimeout(poll.timer);
  plan();
}

function plan() {
  const pause = PAUSES[Math.min(connection.tries, PAUSES.length - 1)] * (0.8 + 0.4 * Math.random());
  connection.next = Date.now() + pause;
  clearTimeout(probing);
  probing = setTimeout(probe, pause);
}

/** See whether the node is back. */
export async function probe() {
  if (connection.state !== 'lost' || document.hidden) return;
  clearTimeout(probing);
  connection.tries += 1;
  try {
    await get('//livez', null, {open: true, timeout: TIMEOUT});
  } catch (error) {
    if (!(error instanceof Problem)) return plan();
  }
  become(document.hidden ? 'paused' : 'live');
  refresh();
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    if (connection.state !== 'lost') become('paused');
    for (const poll of polls.values()) clearTimeout(poll.timer);
  } else if (connection.state === 'lost') probe();
  else {
    become('live');
    refresh();
  }
});

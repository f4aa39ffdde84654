// What happens, as it comes: one stream of events for the whole tab, of which pages take what they show. It is read by
// fetch, since EventSource could bear a credential in its address alone. `place` says up to where all is known: who goes on
// from there misses nothing. While the stream is lost the page says so, and asks for the events again and again instead; in
// a hidden tab there is none. What has happened is asked for anew, wherever it is shown.
import {ask, get, may} from './api.js';
import {connection, onConnection, touch, watch} from './live.js';
import {LoggedOut} from './session.js';

const KEPT = 2000;
const FIRST = 200;
const EVERY = 2000;
// The node says every 15 s that it is there.
const SILENCE = 40_000;
const PAUSES = [1000, 2000, 4000, 8000, 15_000];
const ELECTION = ['/election', '/nodes'];
const JOBS = ['/jobs', '/stats'];
const CONCERNS = {node: [...ELECTION, '/workers'], election: ELECTION, office: ELECTION, worker: ['/workers', '/nodes'], job: JOBS, jobs: JOBS, scheduler: ['/stats'], security: ['/audit']};
const SEVERITIES = ['info', 'warning', 'error'];

/** The newest events, oldest first. `state` of the stream: off, connecting, live, lost, paused; `next`: the next try. Not
 * `complete`: the shared store is away, and nothing comes of the nodes in `missing`. */
export const feed = {events: [], state: 'off', reason: '', next: 0, complete: true, missing: []};
const listeners = new Set();
let known = new Set();
let place = null;
let asking = null;

/** Be told of fresh events, and (of none) when the stream becomes another. */
export function onFeed(listener) {
  listeners.add(listener);
  listener([]);
  return () => listeners.delete(listener);
}

const tell = (fresh) => { for (const listener of listeners) listener(fresh); };

function become(state, reason = '') {
  Object.assign(feed, {state, reason});
  connection.streaming = state === 'live';
  if (state !== 'lost') asking = asking?.();
  else asking ??= watch('/activity', {query: () => ({after: place, limit: FIRST}), every: EVERY}, hearPage);
  tell([]);
}

function hear(events, before = place) {
  const fresh = events.filter((event) => !known.has(event.id));
  if (!fresh.length) return;
  feed.events = [...feed.events, ...fresh].slice(-KEPT);
  known = new Set(feed.events.map((event) => event.id));
  // What was there before the page has been asked for anyway.
  if (before !== null) touch([...new Set(fresh.flatMap((event) => CONCERNS[event.kind.split('.')[0]] ?? []))]);
  tell(fresh);
}

function hearPage({events, next, complete, missing}) {
  const before = place;
  place = next ?? place;
  Object.assign(feed, {complete, missing});
  hear(events, before);
}

/** One frame: an event into `fresh`; the last word, if it is that. */
function take(text, fresh) {
  const fields = {};
  for (const line of text.split('\n')) {
    const at = line.indexOf(':');
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).trimStart();
  }
  place = fields.id ?? place;
  if (!fields.data) return null;
  const data = JSON.parse(fields.data);
  if (!fields.event) fresh.push(data);
  else if (fields.event === 'state') Object.assign(feed, data);
  else return data;
  return null;
}

/** Read it to its end; why it ended. */
async function read(body, stop) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '', word = null, timer = 0;
  for (;;) {
    timer = setTimeout(() => stop.abort(), SILENCE);
    const {done, value} = await reader.read().finally(() => clearTimeout(timer));
    if (done) return word ?? {code: '', detail: 'it broke off'};
    const frames = (rest + value).split('\n\n');
    rest = frames.pop();
    const fresh = [];
    for (const frame of frames) word = take(frame, fresh) ?? word;
    if (feed.state === 'live') hear(fresh);
    else { become('live'); hear(fresh); }
  }
}

/** Begin to listen, for as long as somebody is logged in. Returns how to stop. */
export function start() {
  if (!may('read')) return () => {};
  let over = false, stop = null, wake = () => {}, tries = 0;
  const rest = (pause) => new Promise((resolve) => { wake = resolve; if (pause) setTimeout(resolve, pause); });

  async function listen() {
    stop = new AbortController();
    try {
      if (place === null) hearPage(await get('/activity', {limit: FIRST}, {signal: stop.signal}));
      const word = await read(await ask('GET', '/activity/stream', {headers: place && {'last-event-id': place}, signal: stop.signal, timeout: 0, stream: true}), stop);
      tries = 0;
      // With the next token it goes on at once.
      return word.code === 'token_expired' ? null : word.detail;
    } catch (error) {
      if (error instanceof LoggedOut) over = true;
      if (feed.state === 'live') tries = 0;
      return error.name === 'AbortError' || error instanceof TypeError ? 'it broke off' : error.message;
    }
  }

  async function run() {
    become('connecting');
    while (!over) {
      const reason = document.hidden ? '' : await listen();
      if (over || reason === null) continue;
      if (document.hidden) {
        become('paused');
        await rest(0);
      } else {
        const pause = PAUSES[Math.min(tries++, PAUSES.length - 1)] * (0.8 + 0.4 * Math.random());
        feed.next = Date.now() + pause;
        become('lost', reason);
        // While the node does not answer at all, others look when it is back.
        await rest(connection.state === 'lost' ? 0 : pause);
      }
    }
  }

  const turn = () => (document.hidden ? stop?.abort() : wake());
  document.addEventListener('visibilitychange', turn);
  const leave = onConnection(({state}) => { if (state === 'live' && feed.state === 'lost') wake(); });
  run();
  return () => {
    over = true;
    stop?.abort();
    wake();
    leave();
    document.removeEventListener('visibilitychange', turn);
    become('off');
    feed.events = [];
    known.clear();
    place = null;
  };
}

/** The events of a filter {kind, severity, node}, those before now too: told({events, fresh}), oldest first. */
export function follow({kind, severity, node}, told, failed) {
  const fits = (event) => (!kind || event.kind.startsWith(kind)) && (!node || event.node === node) && SEVERITIES.indexOf(event.severity) >= SEVERITIES.indexOf(severity || 'info');
  const stop = new AbortController();
  let events = [];
  const add = (some) => {
    const ids = new Set(events.map((event) => event.id));
    const fresh = some.filter((event) => fits(event) && !ids.has(event.id));
    events = [...events, ...fresh].slice(-KEPT);
    told({events, fresh});
  };
  const leave = onFeed(add);
  get('/activity', {kind, severity, node, limit: FIRST}, {signal: stop.signal}).then((page) => add(page.events), (error) => stop.signal.aborted || failed?.(error));
  return () => { stop.abort(); leave(); };
}

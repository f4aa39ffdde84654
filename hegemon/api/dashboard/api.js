// The node's API: one way to ask, errors as the node words them, and what a role may do.
import {hearDate} from './format.js';
import * as session from './session.js';

const V1 = '/api/v1';

/** The node answered with a problem (RFC 9457). */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail || body?.title || `HTTP ${status}`);
    Object.assign(this, {status, code: body?.code ?? '', title: body?.title ?? '', field: body?.field ?? null, requestId: body?.request_id ?? '', retryAfter, body});
  }
}

/** No answer came: the node is gone, or the way to it. */
export class Unreachable extends Error {}

/** Ask the node. `path` is below /api/v1, or absolute from "//": "//auth/me". Returns what came, parsed; null for no body; of
 * a `stream` its bytes as they come. `timeout` 0: none. Throws Problem, Unreachable, LoggedOut; what `signal` aborts throws as ever. */
export async function ask(method, path, {body, query, headers, signal, timeout = 15_000, open = false, stream = false} = {}) {
  const address = path.startsWith('//') ? path.slice(1) : V1 + path;
  const answer = await send(method, address + search(query), body, headers, signal, timeout, open);
  hearDate(answer.headers.get('date'));
  if (stream && answer.ok) return answer.body;
  const isJson = /json/.test(answer.headers.get('content-type') ?? '');
  const found = answer.status === 204 ? null : isJson ? await read(answer) : await answer.text();
  if (answer.ok) return found;
  if (answer.status === 401 && !open) {
    session.end();
    throw new session.LoggedOut();
  }
  throw new Problem(answer.status, isJson ? found : null, Number(answer.headers.get('retry-after')) || 0);
}

async function send(method, address, body, headers, signal, timeout, open) {
  const credential = open ? {} : await session.credential();
  const limit = timeout ? AbortSignal.timeout(timeout) : null;
  try {
    return await fetch(address, {
      method, credentials: 'omit', cache: 'no-store', redirect: 'error',
      headers: {...credential, ...(body === undefined ? {} : {'content-type': 'application/json'}), ...headers},
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal && limit ? AbortSignal.any([signal, limit]) : signal ?? limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable(limit?.aborted ? `no answer within ${timeout / 1000} s` : 'the node cannot be reached');
  }
}

async function read(answer) {
  try { return await answer.json(); } catch (error) {
    if (error?.name === 'AbortError') throw error;
    throw new Unreachable('the answer broke off');
  }
}

export function search(query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

export const get = (path, query, options) => ask('GET', path, {query, ...options});
export const post = (path, body, options) => ask('POST', path, {body, ...options});
export const remove = (path) => ask('DELETE', path);

/** The caller, once `meet` has asked: {id, role, queues}. */
export let me = null;

export async function meet() {
  me = await get('//auth/me');
  return me;
}

export async function login(username, password) {
  session.begin(await ask('POST', '//auth/login', {body: {username, password}, open: true}));
}

export async function logout() {
  const last = await session.credential().catch(() => null);
  // First of all nothing more is asked for, then the node is told: it would refuse what came after that.
  session.end();
  try { if (last) await send('POST', '/auth/logout', undefined, last, undefined, 10_000, true); } catch { /* the tokens are forgotten either way */ }
}

// The same words as the node's table of access: what is not offered here would be refused there.
const MAY = {
  read: ['viewer', 'user', 'admin'],
  list: ['viewer', 'user', 'admin', 'worker'],
  submit: ['worker', 'user', 'admin'],
  change: ['user', 'admin'],
  administer: ['admin'],
};

export const may = (what) => me !== null && MAY[what].includes(me.role);

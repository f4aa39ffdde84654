// Who is logged in, in this tab. Tokens live in memory and sessionStorage, never in a cookie: no other site can make a
// browser use them. A refresh token is good once; its successor is told to the tabs that were copied from this one, since
// a second use would end the session for all of them.
const KEY = 'hegemon.session';
const channel = 'BroadcastChannel' in globalThis ? new BroadcastChannel('hegemon') : null;

export const secured = document.documentElement.dataset.auth === 'on';

let held = load();
let refreshing = null;
const listeners = new Set();

export class LoggedOut extends Error {}

function load() {
  try { return JSON.parse(sessionStorage.getItem(KEY)); } catch { return null; }
}

function hold(session) {
  held = session;
  try {
    if (session) sessionStorage.setItem(KEY, JSON.stringify(session));
    else sessionStorage.removeItem(KEY);
  } catch { /* storage is forbidden: in memory it is */ }
}

channel?.addEventListener('message', ({data}) => {
  if (held && data?.used === held.refresh) hold(data.next);
});

/** Call `listener` when the session has ended. */
export const onEnd = (listener) => listeners.add(listener);

export const present = () => !secured || held !== null;

const session = (pair) => ({access: pair.access_token, refresh: pair.refresh_token, from: Date.now(), ttl: pair.expires_in * 1000});

/** Keep the pair of tokens of a login. */
export const begin = (pair) => hold(session(pair));

export function end() {
  if (!held) return;
  hold(null);
  for (const listener of listeners) listener();
}

/** The headers that bear the credential; a token that ends soon is renewed first. LoggedOut. */
export async function credential() {
  if (!secured) return {};
  if (!held) throw new LoggedOut();
  if (Date.now() - held.from > held.ttl * 0.8) await renew();
  return {authorization: `Bearer ${held.access}`};
}

/** Exchange the refresh token for the next pair; at most one exchange at a time. */
export function renew() {
  refreshing ??= exchange().finally(() => { refreshing = null; });
  return refreshing;
}

async function exchange() {
  const used = held?.refresh;
  if (!used) throw new LoggedOut();
  const ask = () => fetch('/auth/refresh', {
    method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify({refresh_token: used}),
    signal: AbortSignal.timeout(10_000), credentials: 'omit',
  });
  let answer;
  // An answer that was lost may be asked for once more, within the node's grace of five seconds.
  try { answer = await ask(); } catch { answer = await ask(); }
  if (held?.refresh !== used) {
    if (!held) throw new LoggedOut();
    return;
  }
  if (answer.ok) {
    hold(session(await answer.json()));
    channel?.postMessage({used, next: held});
  } else if (answer.status === 401) {
    end();
    throw new LoggedOut();
  } else if (Date.now() - held.from > held.ttl) {
    throw new TypeError(`the session could not be renewed: HTTP ${answer.status}`);
  }
}

// What the page says back: toasts, questions before something is changed, problems in the node's own words.
import {fill, h, icon} from './dom.js';
import {LoggedOut} from './session.js';

const STAYS = 7000;

/** A word in the corner, read out by screen readers; `kind` is ok, warn, bad or nothing. */
export function toast(title, {kind = '', detail = '', stays = STAYS, link} = {}) {
  const close = h('button', {class: 'button plain square', 'aria-label': 'Dismiss', onclick: () => node.remove()}, icon('close'));
  const node = h('div', {class: `toast ${kind}`}, h('div', {class: 'grow'}, h('b', null, title), detail && h('small', null, detail), link), close);
  const place = document.getElementById('toasts');
  while (place.children.length > 3) place.firstElementChild.remove();
  place.append(node);
  if (stays) setTimeout(() => node.remove(), stays);
  return node;
}

/** An error as a toast. Who was logged out sees that already. */
export function complain(error, title = 'That did not work') {
  if (error instanceof LoggedOut) return;
  toast(title, {kind: 'bad', detail: error.message});
}

export const problem = (error) => h('div', {class: 'problem', role: 'alert'}, error.message,
  error.requestId ? h('small', null, `${error.code} · request ${error.requestId}`) : null);

/** Open a dialog: `make(close)` gives its parts. The promise is what `close(value)` was given; undefined for Escape. */
export function dialog(title, make) {
  const before = document.activeElement;
  return new Promise((resolve) => {
    let value;
    const close = (given) => { value = given; node.close(); };
    const node = h('dialog', {'aria-label': title, onclose: () => { node.remove(); before?.focus?.(); resolve(value); }},
      h('div', {class: 'sheet'}, h('header', null, h('h2', {class: 'grow'}, title), h('button', {type: 'button', class: 'button plain square', 'aria-label': 'Close', onclick: () => close()}, icon('close'))), make(close)));
    node.addEventListener('click', (event) => { if (event.target === node) close(); });
    document.body.append(node);
    node.showModal();
    node.querySelector('[autofocus]')?.focus();
  });
}

/** Ask before acting. `counting` is a promise of {text, label, none}: what it would be, counted before anything is done. */
export function confirm(title, {text, action, danger = false, counting}) {
  return dialog(title, (close) => {
    const say = h('p', {'aria-live': 'polite'}, text ?? 'Counting…');
    const yes = h('button', {type: 'button', class: `button primary ${danger ? 'danger' : ''}`, disabled: Boolean(counting), autofocus: !counting, onclick: () => close(true)}, action);
    counting?.then((found) => {
      fill(say, found.text);
      fill(yes, found.label ?? action);
      yes.disabled = Boolean(found.none);
      if (!found.none) yes.focus();
    }, (error) => fill(say, problem(error)));
    return [h('div', {class: 'body'}, say),
      h('footer', null, h('button', {type: 'button', class: 'button', onclick: () => close()}, 'Back'), yes)];
  });
}

/** Do `work(item)` for each, four at a time, with a bar and a way to stop. Returns {done, failed, stopped, error}. */
export async function each(title, items, work) {
  const outcome = {done: 0, failed: 0, stopped: false, error: null};
  let over = () => {};
  const shown = dialog(title, (close) => {
    const bar = h('progress', {max: items.length, 'aria-label': title});
    bar.value = 0;
    const words = h('p', {'aria-live': 'polite'});
    over = (finished) => {
      bar.value = outcome.done + outcome.failed;
      fill(words, `${outcome.done + outcome.failed} of ${items.length}${outcome.failed ? `, ${outcome.failed} refused` : ''}`);
      if (finished) close();
    };
    over(false);
    return [h('div', {class: 'body'}, words, bar), h('footer', null, h('button', {type: 'button', class: 'button', onclick: () => close()}, 'Stop here'))];
  });
  let finished = false;
  shown.then(() => { if (!finished) outcome.stopped = true; });
  const queue = [...items];
  async function one() {
    while (queue.length && !outcome.stopped) {
      try {
        await work(queue.shift());
        outcome.done += 1;
      } catch (error) {
        outcome.failed += 1;
        outcome.error = error;
        if (error instanceof LoggedOut) outcome.stopped = true;
      }
      over(false);
    }
  }
  await Promise.all([one(), one(), one(), one()]);
  finished = true;
  over(true);
  return outcome;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast('Copied', {kind: 'ok', stays: 1500});
  } catch {
    toast('The browser does not allow copying here', {kind: 'warn'});
  }
}

// The login of a node that wants one.
import {Problem, login} from './api.js';
import {fill, h} from './dom.js';

/** The form; `entered()` follows a login that worked. */
export function showLogin(staticBase, entered) {
  const wrong = h('div', {class: 'problem', role: 'alert', hidden: true});
  const name = h('input', {name: 'username', autocomplete: 'username', required: true, autocapitalize: 'none', spellcheck: 'false'});
  const word = h('input', {name: 'password', type: 'password', autocomplete: 'current-password', required: true});
  const button = h('button', {class: 'button primary'}, 'Log in');
  const form = h('form', {class: 'panel', onsubmit: send, 'aria-label': 'Log in'},
    h('img', {src: `${staticBase}/icon.svg`, alt: '', width: 40, height: 40}), h('h1', null, 'Log in to Hegemon'),
    h('label', {class: 'field'}, h('span', null, 'Name'), name), h('label', {class: 'field'}, h('span', null, 'Password'), word), wrong, button,
    h('p', {class: 'note'}, 'The session is this tab’s alone and ends with it.'));

  async function send(event) {
    event.preventDefault();
    button.disabled = true;
    wrong.hidden = true;
    try {
      await login(name.value, word.value);
    } catch (error) {
      const wait = error instanceof Problem && error.retryAfter ? ` Try again in ${error.retryAfter} s.` : '';
      fill(wrong, error instanceof Problem && error.code === 'invalid_credentials' ? 'Name or password is wrong.' : error.message, wait);
      wrong.hidden = false;
      button.disabled = false;
      word.select();
      return;
    }
    entered();
  }

  document.title = 'Log in – Hegemon';
  queueMicrotask(() => name.focus());
  return h('main', {class: 'login', id: 'main'}, form);
}

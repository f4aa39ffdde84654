// The frame around every page: where one can go, who leads, whether what is shown is live, and the keys for all of it.
import {logout, may, me} from './api.js';
import {onCluster, others} from './cluster.js';
import {fill, h, icon, redraw, say} from './dom.js';
import {dialog} from './feedback.js';
import {feed, onFeed} from './feed.js';
import {onFigures} from './figures.js';
import {count} from './format.js';
import {connection, onConnection, probe} from './live.js';
import {go, href} from './router.js';
import {secured} from './session.js';
import {openSubmit} from './submit.js';
import {nextTheme, themeButton} from './theming.js';

const KEYS = 'hegemon.keys';
const keysOn = () => { try { return localStorage.getItem(KEYS) !== 'off'; } catch { return true; } };

/** The frame for `pages`; returns {node, open(page, title, …), dispose()}. */
export function frame(pages, staticBase) {
  const shown = pages.filter((page) => page.nav && may(page.needs));
  const links = new Map(shown.map((page) => [page, h('a', {href: href(page.path)}, icon(page.icon), page.name, page.count && h('span', {class: 'count'}))]));
  const groups = [...new Set(shown.map((page) => page.nav))];
  const brand = h('small');
  const reign = {leader: h('dd', {class: 'cut'}), epoch: h('dd'), node: h('dd', {class: 'cut'})};
  const side = h('aside', {class: 'side', id: 'side'},
    h('a', {class: 'brand', href: '/'}, h('img', {src: `${staticBase}/icon.svg`, alt: '', width: 24, height: 24}), h('span', null, 'Hegemon', brand)),
    h('nav', {class: 'nav', 'aria-label': 'Pages'}, groups.map((name) => [h('h2', null, name), shown.filter((page) => page.nav === name).map((page) => links.get(page))])),
    h('div', {class: 'foot'},
      h('dl', {class: 'reign', hidden: !may('read')}, h('div', {class: 'sr'}, h('dt', null, 'Cluster'), h('dd', null, 'as this node sees it')),
        Object.entries({leader: 'Leader', epoch: 'Epoch', node: 'This node'}).map(([name, label]) => h('div', {class: 'bar'}, h('dt', {class: 'grow'}, label), reign[name]))),
      h('div', {class: 'who'}, h('span', {class: 'grow cut muted', title: `${me.id}, ${me.role}`}, secured ? `${me.id.replace(/^user:/, '')} · ${me.role}` : 'no login needed'),
        themeButton(), h('button', {class: 'button plain square', 'aria-label': 'Keyboard shortcuts', title: 'Keyboard shortcuts (?)', onclick: help}, icon('help')),
        secured && h('button', {class: 'button plain square', 'aria-label': 'Log out', title: 'Log out', onclick: logout}, icon('out')))));
  const menu = h('button', {class: 'button plain square menu', 'aria-label': 'Menu', 'aria-expanded': 'false', 'aria-controls': 'side', onclick: () => toggle()}, icon('menu'));
  const title = h('h1', {class: 'grow'});
  const light = h('span', {class: 'live', role: 'status'}, h('i'), h('span'));
  const lost = h('div', {class: 'verdict bad', role: 'alert', hidden: true});
  const content = h('div', {class: 'content'});
  const main = h('main', {id: 'main', tabindex: '-1'},
    h('div', {class: 'top'}, menu, title, light,
      may('submit') && h('button', {class: 'button primary', onclick: () => openSubmit(), 'aria-label': 'Submit a job'}, icon('plus'), h('span', {class: 'label-wide'}, 'Submit job'))), content);
  const node = h('div', {class: 'frame'}, side, main);

  function toggle(open = !node.classList.contains('menu-open')) {
    node.classList.toggle('menu-open', open);
    menu.setAttribute('aria-expanded', String(open));
    if (open) side.querySelector('a').focus();
  }

  const stops = [
    onCluster(({election}) => {
      say(brand, `${election.current_algorithm} · ${election.members.filter((member) => member.health === 'alive').length} of ${election.members.length} alive`);
      redraw(reign.leader, election.leader_id ?? h('span', {class: 's-failed'}, 'nobody'));
      say(reign.epoch, election.epoch ? `${election.epoch} · term ${election.term}` : '–');
      say(reign.node, election.node_id);
    }),
    onFigures(({stats}) => {
      for (const [page, link] of links) if (page.count && stats) {
        const {value, hot} = page.count(stats);
        const place = link.querySelector('.count');
        say(place, value ? count(value) : '');
        place.classList.toggle('hot', Boolean(hot && value));
      }
    }),
    onConnection(() => showConnection()),
    onFeed(() => showConnection()),
  ];
  const turning = setInterval(showConnection, 1000);

  function showConnection() {
    const {state, next, reason, since} = connection;
    const late = state === 'live' && feed.state === 'lost';
    light.className = `live is-${late ? 'late' : state}`;
    say(light.lastChild, late ? 'Stream lost' : {live: 'Live', connecting: 'Connecting', paused: 'Paused', lost: 'Lost'}[state]);
    light.title = late ? `${feed.reason}. What happens is asked for every few seconds until the stream is back.` : '';
    lost.hidden = state !== 'lost';
    if (state !== 'lost') return;
    const wait = Math.max(0, Math.ceil((next - Date.now()) / 1000));
    if (!lost.childElementCount) {
      fill(lost, icon('alert'), h('span', {class: 'grow'}, h('span'), ' ', h('small')), h('button', {class: 'button', onclick: probe}, 'Try now'));
    }
    const [words1, words2] = lost.querySelector('.grow').children;
    const elsewhere = others();
    redraw(words1, `The connection is lost: ${reason}. `, elsewhere.length ? ['Elsewhere: ', elsewhere.map((member) => [h('a', {href: member.url + location.pathname + location.search, rel: 'noreferrer'}, member.id), ' '])] : null);
    // Hidden from screen readers: a count by the second is no news.
    words2.setAttribute('aria-hidden', 'true');
    say(words2, `for ${Math.round((Date.now() - since) / 1000)} s, next try in ${wait} s`);
  }

  function keys(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') return toggle(false);
    if (!keysOn() || event.target.closest?.('input, textarea, select')) return;
    const page = pending && shown.find((one) => one.key === event.key);
    const was = pending;
    pending = event.key === 'g' && !was;
    if (page) go(href(page.path));
    else if (event.key === '?') help();
    else if (event.key === 'n' && may('submit')) openSubmit();
    else if (event.key === 't') nextTheme();
    else if (event.key === '/') content.querySelector('input:not([type="checkbox"])')?.focus();
    else return;
    event.preventDefault();
  }
  let pending = false;
  document.addEventListener('keydown', keys);
  node.addEventListener('click', (event) => {
    if (event.target === node || event.target.closest('.nav a')) toggle(false);
  });

  function help() {
    const rows = [...shown.filter((page) => page.key).map((page) => [['g', page.key], page.name]), [['n'], 'Submit a job'], [['/'], 'To the first filter'],
      [['↑', '↓'], 'Rows of a table, also j and k'], [['Enter'], 'Open a row'], [['x'], 'Select a row'], [['t'], 'Light, dark, or as the system has it'], [['?'], 'This help']];
    dialog('Keyboard shortcuts', () => h('div', {class: 'body'},
      h('dl', {class: 'shortcuts'}, rows.map(([pressed, text]) => [h('dt', null, text), h('dd', null, pressed.map((key) => [h('kbd', null, key), ' ']))])),
      h('label', {class: 'bar'}, h('input', {type: 'checkbox', checked: keysOn(), onchange: (event) => { try { localStorage.setItem(KEYS, event.target.checked ? 'on' : 'off'); } catch { /* not kept then */ } }}), 'Single keys act')));
  }

  function retitle(...crumbs) {
    fill(title, crumbs);
    document.title = `${title.textContent} – Hegemon`;
  }

  return {
    node, content, retitle,
    open(page, crumbs) {
      for (const [one, link] of links) {
        if (one === page || one.covers?.includes(page)) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
      }
      retitle(crumbs);
      fill(content, lost);
      toggle(false);
    },
    dispose() {
      for (const stop of stops) stop();
      clearInterval(turning);
      document.removeEventListener('keydown', keys);
    },
  };
}

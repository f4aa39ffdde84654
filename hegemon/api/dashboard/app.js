// The start of it all: the login if one is needed, then the frame, then the page that the address names. A new page is one
// line in PAGES and a module that exports `show(context)`.
import {Problem, may, meet} from './api.js';
import * as cluster from './cluster.js';
import {fill, h} from './dom.js';
import * as feed from './feed.js';
import {complain, problem, toast} from './feedback.js';
import * as figures from './figures.js';
import {tick} from './format.js';
import {watch} from './live.js';
import {showLogin} from './login.js';
import {current, href, route, start} from './router.js';
import * as session from './session.js';
import {frame} from './shell.js';

const STATIC = new URL('.', import.meta.url).pathname.replace(/\/$/, '');
const live = ({jobs}) => jobs.pending + jobs.running + jobs.retrying + jobs.scheduled;

// path: its address below /ui. nav: the group of links that it stands in, none for a page that others lead to. needs: what a
// role must be allowed. key: g and this key lead to it.
const JOB = {name: 'Job', path: '/jobs/:id', needs: 'list', load: () => import('./pages/job.js')};
const PAGES = [
  {name: 'Overview', path: '/', nav: 'Cluster', icon: 'overview', key: 'o', needs: 'read', load: () => import('./pages/overview.js')},
  {name: 'Nodes', path: '/nodes', nav: 'Cluster', icon: 'nodes', key: 'w', needs: 'read', load: () => import('./pages/nodes.js')},
  {name: 'Events', path: '/events', nav: 'Cluster', icon: 'events', key: 'e', needs: 'read', load: () => import('./pages/events.js')},
  {name: 'Jobs', path: '/jobs', nav: 'Work', icon: 'jobs', key: 'j', needs: 'list', covers: [JOB], count: (stats) => ({value: live(stats)}), load: () => import('./pages/jobs.js')},
  {name: 'Queues', path: '/queues', nav: 'Work', icon: 'queues', key: 'q', needs: 'read', load: () => import('./pages/queues.js')},
  {name: 'Dead letters', path: '/dead', nav: 'Work', icon: 'dead', key: 'd', needs: 'read', count: ({jobs}) => ({value: jobs.failed, hot: true}), load: () => import('./pages/dead.js')},
  {name: 'Audit', path: '/audit', nav: 'Administration', icon: 'audit', key: 'a', needs: 'administer', secured: true, load: () => import('./pages/audit.js')},
  JOB,
].filter((page) => !page.secured || session.secured);

const root = document.getElementById('app');
let around = null;
let stops = [];
let opened = 0;
let services = [];

for (const page of PAGES) route(page.path, page);

function leavePage() {
  for (const stop of stops.splice(0)) stop();
}

/** Open what the address says. A page that is open already is only told of its new query. */
let here = null;
async function open() {
  if (!around) return;
  const found = current();
  if (here && found.page === here.page && JSON.stringify(found.params) === JSON.stringify(here.params) && here.changed) {
    here.query = found.query;
    here.changed(found.query);
    return;
  }
  const mine = ++opened;
  leavePage();
  const page = found.page && may(found.page.needs) ? found.page : null;
  here = null;
  around.open(page, page?.name ?? 'Not here');
  if (!page) {
    const first = PAGES.find((one) => one.nav && may(one.needs));
    if (found.path === '/' && first) return history.replaceState(null, '', href(first.path)), open();
    around.content.append(h('div', {class: 'panel nothing'}, h('b', null, found.page ? 'Your role does not see this page' : 'There is no such page'), h('a', {href: href(first?.path ?? '/')}, `To ${first?.name ?? 'the start'}`)));
    return;
  }
  let module;
  try {
    module = await page.load();
  } catch (error) {
    if (mine !== opened) return;
    around.content.append(problem(error), h('p', null, h('button', {class: 'button', onclick: () => location.reload()}, 'Load the page again')));
    return;
  }
  if (mine !== opened) return;
  here = {page, params: found.params, query: found.query, changed: null};
  const context = {
    params: found.params, query: found.query, content: around.content,
    title: around.retitle,
    watch: (...rest) => { const stop = watch(...rest); stops.push(stop); return stop; },
    onLeave: (stop) => stops.push(stop),
    /** A page that can follow its query without being made anew says how. */
    onQuery: (changed) => { here.changed = changed; },
    alive: () => mine === opened,
  };
  module.show(context);
  scrollTo(0, 0);
}

/** After a login, or at once where none is needed. */
async function enter() {
  try {
    await meet();
  } catch (error) {
    if (error instanceof session.LoggedOut) return greet();
    fill(root, h('div', {class: 'login'}, h('div', {class: 'panel body nothing'}, h('b', null, 'The node does not answer'), error.message,
      h('div', null, h('button', {class: 'button', onclick: enter}, 'Try again')))));
    if (!(error instanceof Problem)) setTimeout(() => { if (!around) enter(); }, 3000);
    return;
  }
  services = [cluster.start(), figures.start(), feed.start()];
  around = frame(PAGES, STATIC);
  fill(root, around.node);
  if (enter.before) open();
  else start(open);
  enter.before = true;
}

function greet() {
  leavePage();
  for (const stop of services.splice(0)) stop();
  around?.dispose();
  around = here = null;
  opened += 1;
  fill(root, showLogin(STATIC, enter));
}

session.onEnd(() => {
  if (around) toast('You are logged out', {stays: 4000});
  greet();
});
addEventListener('unhandledrejection', (event) => {
  if (event.reason instanceof session.LoggedOut) event.preventDefault();
  else if (event.reason instanceof Error && event.reason.name !== 'AbortError') complain(event.reason, 'Something went wrong');
});
setInterval(() => { if (!document.hidden) tick(); }, 1000);

if (session.present()) enter();
else greet();

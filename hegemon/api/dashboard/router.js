// What the page shows stands in its address, and the address alone says what it shows.
const BASE = '/ui';
const routes = [];
let opened = () => {};

/** `pattern` such as "/jobs/:id" leads to `page`. */
export function route(pattern, page) {
  const names = [];
  const shape = pattern.replace(/:(\w+)/g, (_, name) => { names.push(name); return '([^/]+)'; });
  routes.push({shape: new RegExp(`^${shape}/?$`), names, page});
}

/** The address of a page: href('/jobs', {status: 'failed'}). */
export function href(path, query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const address = path === '/' ? '/' : BASE + path;
  return given.length ? `${address}?${new URLSearchParams(given)}` : address;
}

export const jobAddress = (id) => href(`/jobs/${encodeURIComponent(id)}`);

export function current() {
  const {pathname, search} = location;
  const path = pathname === BASE || pathname === '/' ? '/' : pathname.startsWith(`${BASE}/`) ? pathname.slice(BASE.length) : pathname;
  for (const {shape, names, page} of routes) {
    const found = shape.exec(path);
    if (!found) continue;
    let values;
    try { values = found.slice(1).map(decodeURIComponent); } catch { continue; }
    return {page, path, params: Object.fromEntries(names.map((name, at) => [name, values[at]])), query: Object.fromEntries(new URLSearchParams(search))};
  }
  return {page: null, path, params: {}, query: {}};
}

export function go(address, {replace = false} = {}) {
  if (address !== location.pathname + location.search) history[replace ? 'replaceState' : 'pushState'](null, '', address);
  opened();
}

/** Change parts of the query; what becomes empty leaves it. */
export function setQuery(changes, {replace = false} = {}) {
  const query = {...Object.fromEntries(new URLSearchParams(location.search)), ...changes};
  go(location.pathname + href('', query).slice(BASE.length), {replace});
}

export function start(open) {
  opened = open;
  addEventListener('popstate', open);
  document.addEventListener('click', (event) => {
    const link = event.target.closest?.('a[href]');
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.origin !== location.origin || link.target || link.hash || !(link.pathname === '/' || link.pathname.startsWith(`${BASE}/`))) return;
    event.preventDefault();
    go(link.pathname + link.search);
  });
  open();
}

// A table that stays alive: rows keep their place, focus and selection while what they show changes under them.
import {h, keep, redraw} from './dom.js';

/** `columns`: [{label, cell(row), cls, hidden label for the eye}]; `key(row)`; `sign(row)` says when a row must be drawn
 * anew; `open(row)` gives the address behind it. With `pick` rows have a box: `onpick(selected)`.
 * Returns {node, update(rows), selected, clear()}. */
export function list({columns, key, sign, open, pick = false, onpick, caption, empty}) {
  const selected = new Set();
  const all = pick && h('input', {type: 'checkbox', 'aria-label': 'Select all rows on this page', onchange: () => choose(rows.map(key), all.checked)});
  const head = h('tr', null, pick ? h('th', {class: 'pick', scope: 'col'}, all) : null, columns.map((column) =>
    h('th', {scope: 'col', class: column.cls}, column.hide ? h('span', {class: 'sr'}, column.label) : column.label)));
  const body = h('tbody');
  const none = h('div', {class: 'nothing', hidden: true});
  const table = h('table', null, h('caption', {class: 'sr'}, caption), h('thead', null, head), body);
  const node = h('div', {class: 'table'}, table, none);
  let rows = [];

  function choose(keys, on) {
    for (const name of keys) if (on) selected.add(name); else selected.delete(name);
    update(rows);
    onpick?.(selected);
  }

  function cells(row) {
    const name = key(row);
    const chosen = selected.has(name);
    return h('tr', {class: 'row', tabindex: open || pick ? '-1' : null, 'aria-selected': pick ? String(chosen) : null},
      pick ? h('td', {class: 'pick'}, h('input', {type: 'checkbox', checked: chosen, 'aria-label': `Select ${name}`, onchange: (event) => choose([name], event.target.checked)})) : null,
      columns.map((column) => h('td', {class: column.cls}, column.cell(row))));
  }

  // One stop for the Tab key, arrows within: as in a list of mails.
  body.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|BUTTON|SELECT)$/.test(event.target.tagName) && event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const row = event.target.closest('tr');
    const step = {ArrowDown: 'nextElementSibling', j: 'nextElementSibling', ArrowUp: 'previousElementSibling', k: 'previousElementSibling'}[event.key];
    if (step) focus(row[step]);
    else if (event.key === 'Home') focus(body.firstElementChild);
    else if (event.key === 'End') focus(body.lastElementChild);
    else if (event.key === 'Enter' && event.target === row) row.querySelector('a[href]')?.click();
    else if ((event.key === 'x' || event.key === ' ') && pick) row.querySelector('.pick input').click();
    else return;
    event.preventDefault();
  });
  body.addEventListener('focusin', (event) => roam(event.target.closest('tr')));
  body.addEventListener('click', (event) => {
    if (open && !event.target.closest('a, button, input, td.pick') && !String(getSelection())) event.target.closest('tr')?.querySelector('a[href]')?.click();
  });

  function focus(row) {
    if (row) row.focus();
  }

  function roam(row) {
    for (const other of body.querySelectorAll('tr[tabindex="0"]')) if (other !== row) other.tabIndex = -1;
    if (row?.hasAttribute('tabindex')) row.tabIndex = 0;
  }

  function update(next) {
    rows = next;
    keep(body, rows, {key, sign: (row) => `${selected.has(key(row))}|${sign(row)}`, render: cells});
    if (!body.querySelector('tr[tabindex="0"]')) roam(body.firstElementChild);
    table.hidden = !rows.length;
    none.hidden = rows.length > 0;
    if (!rows.length) redraw(none, empty?.() ?? 'Nothing here.');
    if (all) {
      const here = rows.filter((row) => selected.has(key(row))).length;
      all.checked = rows.length > 0 && here === rows.length;
      all.indeterminate = here > 0 && here < rows.length;
    }
  }

  const clear = () => choose([...selected], false);
  return {node, update, selected, clear, focusFirst: () => focus(body.querySelector('tr[tabindex="0"]'))};
}

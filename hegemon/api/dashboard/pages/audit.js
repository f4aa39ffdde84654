// Who did what, and whether the log that says so is whole.
import {get} from '../api.js';
import {h, icon, redraw} from '../dom.js';
import {problem} from '../feedback.js';
import {choiceFilter, textFilter} from '../filters.js';
import {count, exact, plural} from '../format.js';
import {list} from '../list.js';
import {href, jobAddress, setQuery} from '../router.js';

const OUTCOMES = [['', 'Any outcome'], ['ok', 'Done'], ['failed', 'Refused or failed']];
const JOB_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function show({content, query, watch, onQuery, alive}) {
  const filters = [textFilter('principal', 'Who, such as user:ana', query, {width: '200px'}), textFilter('action', 'Action, such as cancelJob', query, {width: '200px'}), choiceFilter('outcome', 'Outcome', query, OUTCOMES)];
  const wrong = h('div'), verdict = h('div', {'aria-live': 'polite'}), foot = h('footer');
  const table = list({
    caption: 'Audit log, newest first', key: (entry) => entry.seq, sign: () => '',
    columns: [{label: 'No.', cls: 'num faint wide', cell: (entry) => String(entry.seq)}, {label: 'Time', cls: 'nowrap faint', cell: (entry) => exact(entry.at)}, {label: 'Who', cls: 'cut', cell: (entry) => (entry.principal ? h('b', null, entry.principal) : h('span', {class: 'faint'}, '–'))},
      {label: 'Action', cell: (entry) => entry.action}, {label: 'Target', cls: 'main mid', cell: (entry) => h('div', {class: 'cut mono', title: entry.target}, JOB_ID.test(entry.target) ? h('a', {href: jobAddress(entry.target)}, entry.target) : entry.target)},
      {label: 'Outcome', cell: (entry) => h('span', {class: `status s-${entry.outcome === 'ok' ? 'ok' : 'failed'}`}, h('i'), entry.outcome)},
      {label: 'From', cls: 'wide mono', cell: (entry) => entry.address}, {label: 'Node', cls: 'wide', cell: (entry) => entry.node}],
    empty: () => [h('b', null, 'No entries'), 'None matches the filters.'],
  });
  const check = h('button', {class: 'button', onclick: verify}, icon('audit'), 'Verify the log');
  content.append(h('div', {class: 'filters'}, filters.map((filter) => filter.node), h('span', {class: 'grow'}), check), verdict, wrong, h('section', {class: 'panel', 'aria-label': 'Audit log'}, table.node, foot));
  let stop = () => {};

  /** Slice by slice, to the end; the first fault ends it. */
  async function verify() {
    check.disabled = true;
    let checked = 0, next = 1, slice = null;
    try {
      do {
        slice = await get('/audit/verification', {from: next}, {timeout: 60_000});
        checked += slice.checked;
        next = slice.next;
        redraw(verdict, h('div', {class: 'verdict'}, `${count(checked)} entries checked…`));
      } while (next && slice.ok && alive());
      redraw(verdict, slice.ok ? h('div', {class: 'verdict ok'}, icon('check'), h('span', null, `The log is whole: ${plural(checked, 'entry', 'entries')}. `, slice.head && h('small', null, 'Newest: ', h('span', {class: 'mono'}, `${slice.head.seq}:${slice.head.hash}`))))
        : h('div', {class: 'verdict bad'}, icon('alert'), h('span', null, 'The log is broken. ', slice.faults.map((fault) => `Entry ${fault.seq}: ${fault.says} `))));
    } catch (error) { redraw(verdict, problem(error)); }
    check.disabled = false;
  }

  function look() {
    stop();
    const {principal, action, outcome, cursor} = query;
    stop = watch('/audit', {query: {principal, action, outcome, cursor, limit: 50}, every: 4000}, (page) => {
      redraw(wrong);
      table.update(page.entries);
      redraw(foot, h('span', {class: 'grow'}, `${plural(page.entries.length, 'entry', 'entries')} on this page`), cursor && h('a', {class: 'button', href: href('/audit', {...query, cursor: ''})}, 'Newest'),
        page.next_cursor && h('button', {class: 'button', onclick: () => setQuery({cursor: page.next_cursor})}, 'Older', icon('next')));
    }, (error) => redraw(wrong, problem(error)));
  }
  onQuery((next) => {
    query = next;
    for (const filter of filters) filter.show(query);
    look();
  });
  look();
}

// The form that submits a job. What the node refuses is shown at the field that it names.
import {ask, get, may} from './api.js';
import {h, fill} from './dom.js';
import {dialog, problem, toast} from './feedback.js';
import {refresh} from './live.js';
import {go, jobAddress} from './router.js';

const PRIORITIES = [[10, 'critical'], [7, 'high'], [5, 'normal'], [1, 'low'], [0, 'background']];

/** Types that live workers handle; none if that cannot be told. */
export async function knownTypes() {
  if (!may('read')) return [];
  try {
    const {workers} = await get('/workers');
    return [...new Set(workers.flatMap((worker) => worker.types))].sort();
  } catch { return []; }
}

function body(form) {
  const value = (name) => form.elements[name].value.trim();
  const job = {type: value('type'), queue: value('queue') || 'default', priority: Number(value('priority'))};
  const payload = value('payload') || '{}';
  try { job.payload = JSON.parse(payload); } catch (error) { throw Object.assign(new Error(`This is no JSON: ${error.message}`), {field: 'payload'}); }
  if (typeof job.payload !== 'object' || job.payload === null || Array.isArray(job.payload)) throw Object.assign(new Error('The payload is an object: arguments by name.'), {field: 'payload'});
  for (const name of ['delay', 'timeout', 'max_retries']) if (value(name)) job[name] = Number(value(name));
  const tags = value('tags').split(/[\s,]+/).filter(Boolean);
  if (tags.length) job.tags = tags;
  return job;
}

/** Open the form, filled with what `like` has. */
export function openSubmit(like = {}) {
  const types = h('datalist', {id: 'known-types'});
  knownTypes().then((names) => fill(types, names.map((name) => h('option', {value: name}))));
  return dialog(like.id ? 'Submit a copy' : 'Submit a job', (close) => {
    const place = h('div');
    const field = (name, label, input, hint) => {
      input.setAttribute('name', name);
      return h('label', {class: 'field', 'data-field': name}, h('span', null, label), input, hint && h('small', null, hint));
    };
    const send = h('button', {class: 'button primary'}, 'Submit');
    const form = h('form', {onsubmit: submit, novalidate: true},
      h('div', {class: 'body'},
        h('div', {class: 'cols'},
          field('type', 'Type', h('input', {list: 'known-types', value: like.type ?? '', autofocus: true, autocomplete: 'off', spellcheck: 'false', placeholder: 'email'})), types,
          field('queue', 'Queue', h('input', {value: like.queue ?? '', placeholder: 'default', autocomplete: 'off', spellcheck: 'false'}))),
        field('payload', 'Payload', h('textarea', {rows: 7, spellcheck: 'false', value: JSON.stringify(like.payload ?? {}, null, 2)}), 'JSON: the handler’s arguments by name'),
        h('div', {class: 'cols'},
          field('priority', 'Priority', h('select', null, priorities(like.priority ?? 5))),
          field('delay', 'Delay, seconds', h('input', {inputmode: 'decimal', placeholder: 'none'})),
          field('max_retries', 'Retries', h('input', {inputmode: 'numeric', value: like.max_retries ?? '', placeholder: 'the cluster’s'})),
          field('timeout', 'Timeout, seconds', h('input', {inputmode: 'decimal', value: like.timeout ?? '', placeholder: 'the type’s'})),
          field('tags', 'Tags', h('input', {value: (like.tags ?? []).join(' '), placeholder: 'words', autocomplete: 'off'}))), place),
      h('footer', null, h('button', {type: 'button', class: 'button', onclick: () => close()}, 'Back'), send));

    function refuse(error) {
      const at = form.querySelector(`[data-field="${CSS.escape((error.field ?? '').split(/[.[]/)[0])}"]`);
      if (!at) return fill(place, problem(error));
      const input = at.querySelector('input, textarea, select');
      input.setAttribute('aria-invalid', 'true');
      at.append(h('span', {class: 'wrong', role: 'alert'}, error.message));
      input.focus();
      return null;
    }

    async function submit(event) {
      event.preventDefault();
      fill(place);
      for (const old of form.querySelectorAll('.wrong')) old.remove();
      for (const old of form.querySelectorAll('[aria-invalid]')) old.removeAttribute('aria-invalid');
      send.disabled = true;
      try {
        // One key for all tries of this form: a lost answer is no second job.
        const {id, status} = await ask('POST', '/jobs', {body: body(form), headers: {'idempotency-key': (form.dataset.job ??= newKey())}});
        close(id);
        toast('The job is accepted', {kind: 'ok', detail: `It is ${status}. `, link: h('a', {href: jobAddress(id)}, 'Look at it')});
        refresh();
        if (like.id) go(jobAddress(id));
      } catch (error) {
        send.disabled = false;
        if (error.code === 'idempotency_key_reused') delete form.dataset.job;
        refuse(error);
      }
    }
    // What is changed after a try is another job.
    form.addEventListener('input', () => { delete form.dataset.job; });
    return form;
  });
}

const newKey = () => `dashboard-${[...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;

function priorities(chosen) {
  const known = PRIORITIES.some(([value]) => value === chosen) ? PRIORITIES : [...PRIORITIES, [chosen, `priority ${chosen}`]].sort((a, b) => b[0] - a[0]);
  return known.map(([value, name]) => h('option', {value, selected: value === chosen}, `${name} (${value})`));
}

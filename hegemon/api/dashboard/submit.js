// The form that submits a job. What the node refuses is shown at the field that it names.
import {ask, get, may} from './api.js';
import {h, fill} from './dom.js';
import {dialog, problem, toast} from './feedback.js';
import {fields, parse} from './fields.js';
import {refresh} from './live.js';
import {go, jobAddress} from './router.js';

const PRIORITIES = [[10, 'critical'], [7, 'high'], [5, 'normal'], [1, 'low'], [0, 'background']];

/** What live workers handle, by type, with what it takes; empty if that cannot be told. */
async function told() {
  try {
    return new Map(may('read') ? (await get('/types')).types.map((type) => [type.type, type]) : []);
  } catch { return new Map(); }
}

export const knownTypes = async () => [...(await told()).keys()];

/** The payload: a field for each argument where the type has told what it takes, or JSON, for those who prefer it. */
function payloadPart(start, refuse) {
  const text = h('textarea', {name: 'payload', rows: 7, spellcheck: 'false'});
  const asText = h('label', {class: 'field', 'data-field': 'payload'}, h('span', null, 'Payload'), text, h('small', null, 'JSON: the handler’s arguments by name'));
  const node = h('div', {class: 'payload'});
  let schema = null, made = null, wanted = 'Fields';
  const keep = (value) => { text.value = JSON.stringify(value, null, 2); };
  const strange = (value) => Object.keys(value).filter((name) => !schema.properties[name]);
  function parsed() {
    const value = parse(text.value.trim() || '{}');
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('The payload is an object: arguments by name.');
    return value;
  }
  /** Throws what keeps it from being fields. */
  function draw() {
    const tab = (name) => h('label', null, h('input', {type: 'radio', name: 'as', checked: (made ? 'Fields' : 'JSON') === name, onchange: () => turn(name)}), name);
    made = null;
    try {
      if (!schema || wanted === 'JSON') return;
      const others = strange(parsed());
      if (others.length) throw new Error(`There is no field for ${others.join(', ')}.`);
      made = fields(schema, parsed());
    } finally {
      fill(node, schema && h('div', {class: 'as', role: 'radiogroup', 'aria-label': 'Arguments as'}, tab('Fields'), tab('JSON')), made?.nodes ?? asText);
    }
  }
  function turn(name) {
    wanted = name;
    if (made) keep(made.get([]));
    try { draw(); } catch ({message}) { return refuse({field: 'payload', message}); }
    return node.querySelector('input:checked').focus();
  }
  function choose(next) {
    if (made) keep(Object.fromEntries(Object.entries(made.get([])).filter(([name]) => !next || name in (next.properties ?? {}))));
    schema = Object.keys(next?.properties ?? {}).length ? next : null;
    try { draw(); } catch { /* it stays JSON */ }
  }
  keep(start);
  draw();
  return {node, choose, get(faults) {
    try { return made ? made.get(faults) : parsed(); } catch ({message}) { return faults.push({field: 'payload', message}); }
  }};
}

function body(form, payload, faults) {
  const value = (name) => form.elements[name].value.trim();
  const job = {type: value('type'), queue: value('queue') || 'default', priority: Number(value('priority')), payload: payload.get(faults)};
  for (const name of ['delay', 'timeout', 'max_retries']) if (value(name)) job[name] = Number(value(name));
  const tags = value('tags').split(/[\s,]+/).filter(Boolean);
  if (tags.length) job.tags = tags;
  return job;
}

/** Open the form, filled with what `like` has. */
export function openSubmit(like = {}) {
  const types = h('datalist', {id: 'known-types'});
  const first = (type) => type?.description.split('\n')[0];
  const known = told();
  known.then((found) => fill(types, [...found].map(([value, type]) => h('option', {value}, first(type)))));
  return dialog(like.id ? 'Submit a copy' : 'Submit a job', (close) => {
    const place = h('div');
    const field = (name, label, input, hint) => {
      input.setAttribute('name', name);
      return h('label', {class: 'field', 'data-field': name}, h('span', null, label), input, hint && h('small', null, hint));
    };
    const about = h('small', {'aria-live': 'polite'});
    const payload = payloadPart(like.payload ?? {}, (error) => refuse(error));
    const send = h('button', {class: 'button primary'}, 'Submit');
    const form = h('form', {onsubmit: submit, novalidate: true},
      h('div', {class: 'body'},
        h('div', {class: 'cols'},
          field('type', 'Type', h('input', {list: 'known-types', value: like.type ?? '', autofocus: true, autocomplete: 'off', spellcheck: 'false', placeholder: 'email'})), types,
          field('queue', 'Queue', h('input', {value: like.queue ?? '', placeholder: 'default', autocomplete: 'off', spellcheck: 'false'}))),
        about, payload.node,
        h('div', {class: 'cols'},
          field('priority', 'Priority', h('select', null, priorities(like.priority ?? 5))),
          field('delay', 'Delay, seconds', h('input', {inputmode: 'decimal', placeholder: 'none'})),
          field('max_retries', 'Retries', h('input', {inputmode: 'numeric', value: like.max_retries ?? '', placeholder: 'the cluster’s'})),
          field('timeout', 'Timeout, seconds', h('input', {inputmode: 'decimal', value: like.timeout ?? '', placeholder: 'the type’s'})),
          field('tags', 'Tags', h('input', {value: (like.tags ?? []).join(' '), placeholder: 'words', autocomplete: 'off'}))), place),
      h('footer', null, h('button', {type: 'button', class: 'button', onclick: () => close()}, 'Back'), send));

    let chosen;
    async function choose() {
      const type = (await known).get(form.elements.type.value.trim());
      if (type === chosen) return;
      chosen = type;
      fill(about, first(type));
      payload.choose(type?.schema);
      for (const name of ['max_retries', 'timeout']) if (type?.[name] != null) form.elements[name].placeholder = type[name];
    }

    function refuse(error) {
      const named = (field) => form.querySelector(`[data-field="${CSS.escape(field)}"]`);
      const at = named(error.field ?? '') ?? named((error.field ?? '').split(/[.[]/)[0]);
      if (!at) return fill(place, problem(error));
      const input = at.querySelector('input, textarea, select');
      input.setAttribute('aria-invalid', 'true');
      at.append(h('span', {class: 'wrong', role: 'alert'}, error.message));
      if (!form.querySelector('[aria-invalid]:focus')) input.focus();
      return null;
    }

    async function submit(event) {
      event.preventDefault();
      fill(place);
      for (const old of form.querySelectorAll('.wrong')) old.remove();
      for (const old of form.querySelectorAll('[aria-invalid]')) old.removeAttribute('aria-invalid');
      const faults = [];
      const job = body(form, payload, faults);
      faults.forEach(refuse);
      if (faults.length) return;
      send.disabled = true;
      try {
        // One key for all tries of this form: a lost answer is no second job.
        const {id, status} = await ask('POST', '/jobs', {body: job, headers: {'idempotency-key': (form.dataset.job ??= newKey())}});
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
    form.elements.type.addEventListener('input', choose);
    choose();
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

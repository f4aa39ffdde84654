// Fields made from a JSON Schema, one for each argument. What has no field of its own is written as JSON.
import {h} from './dom.js';

const DEEP = 2;
const LONG = /body|text|message|content|html/i;
const LIMITS = [['minimum', 'at least', (value, limit) => value >= limit], ['maximum', 'at most', (value, limit) => value <= limit]];
const write = (value) => typeof value === 'string' ? value : JSON.stringify(value);

export function parse(text) {
  try { return JSON.parse(text); } catch (error) { throw new Error(`This is no JSON: ${error.message}`); }
}

/** A schema without its detours: what it refers to, and what it may be beside null. */
function plain({$ref, anyOf, ...own}, root) {
  if ($ref) return plain({...root.$defs?.[$ref.slice(8)], ...own}, root);
  const some = anyOf?.filter((one) => one.type !== 'null') ?? [];
  return some.length === 1 ? {...plain(some[0], root), ...own} : own;
}

/** [what a text stands for, how it is written, a hint, lines]. */
function words(about, root) {
  const whole = about.type === 'integer';
  if (about.type === 'string') return [(text) => text, write, about.format === 'date-time' ? 'such as 2030-01-31T09:00:00Z' : about.format];
  if (whole || about.type === 'number') return [(text) => {
    const value = Number(text);
    if (!Number.isFinite(value) || (whole && value % 1)) throw new Error(`This is no ${whole ? 'whole ' : ''}number`);
    for (const [name, says, holds] of LIMITS) if (name in about && !holds(value, about[name])) throw new Error(`It must be ${says} ${about[name]}`);
    return value;
  }, write, [whole ? 'whole number' : 'number', ...LIMITS.flatMap(([name, says]) => name in about ? `${says} ${about[name]}` : [])].join(', ')];
  const item = plain(about.items ?? {}, root);
  if (!/^(string|integer|number)$/.test(item.type)) return [parse, (value) => JSON.stringify(value, null, 2), 'JSON', 3];
  const [read] = words(item, root);
  return [(text) => text.split('\n').map((line) => line.trim()).filter(Boolean).map(read), (value) => Array.isArray(value) ? value.join('\n') : write(value), 'one a line', 3];
}

/** [input, its value (undefined for none), a hint]. */
function control(name, about, value, required, root) {
  const preset = about.default ?? undefined;
  if (about.type === 'boolean' && (required || preset !== undefined)) {
    const input = h('input', {type: 'checkbox', checked: value ?? preset});
    return [input, () => !required && input.checked === preset ? undefined : input.checked];
  }
  const choices = about.enum ?? ('const' in about ? [about.const] : about.type === 'boolean' && [true, false]);
  if (choices) {
    const input = h('select', null, h('option', {value: ''}, preset === undefined ? '–' : `${write(preset)} (default)`), choices.map((choice, at) => h('option', {value: at, selected: choice === value}, write(choice))));
    return [input, () => choices[input.value || -1]];
  }
  const [read, put, hint, rows = LONG.test(name) ? 4 : null] = words(about, root);
  const input = h(rows ? 'textarea' : 'input', {rows, value: value === undefined || value === null ? '' : put(value), placeholder: preset === undefined ? '' : write(preset), spellcheck: 'false', autocomplete: 'off'});
  return [input, () => input.value.trim() ? read(input.value) : undefined, hint];
}

function field(name, about, value, required, root, path, depth) {
  const title = [name, required && h('b', {'aria-hidden': 'true'}, ' *')];
  if (about.properties && depth < DEEP) {
    const inner = fields(about, value, root, path, depth + 1);
    return [h('fieldset', null, h('legend', null, title), about.description && h('small', null, about.description), inner.nodes), (faults) => {
      const mine = [];
      const got = inner.get(mine);
      if (!required && !Object.keys(got).length) return undefined;
      faults.push(...mine);
      return got;
    }];
  }
  const [input, get, hint] = control(name, about, value, required, root);
  if (required) input.setAttribute('aria-required', 'true');
  const says = [about.description, hint].filter(Boolean).join(' · ');
  return [h('label', {class: 'field', 'data-field': path}, h('span', null, title), input, says && h('small', null, says)), (faults) => {
    try {
      const got = get();
      if (got === undefined && required) throw new Error('It must be given');
      return got;
    } catch ({message}) { faults.push({field: path, message}); }
    return undefined;
  }];
}

/** Fields for the properties of an object's schema, filled with `value`: {nodes, get}. `get(faults)` is the object as
 * it is written, without what is left out; {field, message} of what cannot be goes into `faults`. */
export function fields(schema, value, root = schema, path = 'payload', depth = 0) {
  const made = Object.entries(schema.properties).map(([name, about]) => [name, ...field(name, plain(about, root), value?.[name], schema.required?.includes(name), root, `${path}.${name}`, depth)]);
  return {
    nodes: made.map(([, node]) => node),
    get: (faults) => Object.fromEntries(made.map(([name, , get]) => [name, get(faults)]).filter(([, got]) => got !== undefined)),
  };
}

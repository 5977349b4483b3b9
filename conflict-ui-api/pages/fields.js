// The fields of a conflict: base, cloud and the site side by side, a click for each.

import { segments } from './diff.js';
import { h, own } from './dom.js';
import { parse, plain, same, short, show, text } from './values.js';

const SIDES = ['base', 'cloud', 'local'];

/** `choose(field, side)`, `write(field, value)` are called on a pick. Nothing can be picked where `readOnly`. */
export function fieldTable(detail, all, act) {
  const main = all.filter((field) => field.differs);
  const rest = all.filter((field) => !field.differs);
  const sides = all.some((field) => field.base !== undefined) ? SIDES : SIDES.slice(1);
  const row = (field) => fieldRow(detail, all, field, sides, act);
  const folded = main.length ? rest : [];
  return h('div', { class: sides.length === 2 ? 'fields two' : 'fields', role: 'group', 'aria-label': 'Fields' },
    h('div', { class: 'field-head', 'aria-hidden': 'true' }, h('span', {}), sides.map((side) => h('span', { class: side }, h('b', {}, sideName(detail, side)), h('small', {}, sideHint(detail, side))))),
    (main.length ? main : rest).map(row),
    folded.length ? h('details', { class: 'rest', 'data-keep': 'rest' }, h('summary', {}, `${folded.length} more ${folded.length === 1 ? 'field is' : 'fields are'} the same on both sides`), folded.map(row)) : '');
}

function sideName(detail, side) {
  if (side === 'local') return ['Site ', short(detail.site, 24)];
  return side === 'base' ? 'Base' : detail.against ? 'Cloud’s row' : 'Cloud';
}

function sideHint(detail, side) {
  if (side === 'base') return 'what the site’s edit was made on';
  if (side === 'local') return 'the site’s edit';
  return detail.current === null ? (detail.cloudData ? 'before it was deleted' : 'no row') : 'accepted, as it is now';
}

function sideLabel(detail, side, value) {
  const name = side === 'local' ? `Site ${detail.site}` : side === 'cloud' ? 'Cloud' : 'Base';
  return `${name}: ${plain(value ?? 'no value').slice(0, 80)}`;
}

function fieldRow(detail, all, field, sides, act) {
  const { picks, way, faults, readOnly, choose, write } = act;
  const picked = picks.get(field.name);
  const label = `field-${field.name}`;
  const cells = sides.map((side) => {
    const value = field[side];
    const name = h('small', { class: 'side-name' }, sideName(detail, side));
    const content = value === undefined && side === 'base' ? h('span', { class: 'none' }, '—') : show(value, marks(field, side));
    const moved = side === 'cloud' && detail.current && detail.cloudData && own(detail.cloudData, field.name) !== undefined && !same(own(detail.cloudData, field.name), field.cloud)
      ? h('small', { class: 'moved' }, 'changed since it was parked') : '';
    const editor = side === 'local' && way?.edits ? freeValue(field, picked, act) : '';
    if (readOnly || value === undefined || way?.edits || !(field.editable || field.differs)) return h('div', { class: `cell ${side}` }, name, editor || content, moved);
    const current = picked?.side === side;
    return h('label', { class: `cell ${side}${current ? ' picked' : ''}` }, name,
      h('input', { type: 'radio', name: label, value: side, checked: current, 'data-focus': `${label}-${side}`, 'aria-label': sideLabel(detail, side, value), on: { change: () => choose(field, side), keydown: arrows } }),
      content, moved);
  });
  return h('div', { class: `field${field.clashed ? ' clashed' : ''}`, role: 'radiogroup', 'aria-label': field.name, 'data-field': field.name },
    h('div', { class: 'field-name' }, text(field.name), readOnly || way?.edits || !field.editable ? '' : freeButton(field, picked, write)),
    cells,
    way?.edits ? '' : freeValue(field, picked, act),
    faults.has(field.name) ? h('p', { class: 'fault problem', role: 'alert' }, text(faults.get(field.name))) : '');
}

/** Up and down go from field to field, not through the sides; left and right do that. */
function arrows(event) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === 'ArrowUp' || event.key === 'ArrowDown') return event.preventDefault(), leaveToPage(event);
  if (!by) return;
  event.preventDefault();
  const inputs = Array.from(event.target.closest('.field').querySelectorAll('input[type=radio]'));
  const next = inputs[(inputs.indexOf(event.target) + by + inputs.length) % inputs.length];
  next.focus();
  next.click();
}

function leaveToPage(event) {
  document.dispatchEvent(new KeyboardEvent('keydown', { key: event.key, cancelable: true }));
}

/** The parts of a side that differ: of the cloud's and the site's against the base, where there is one, else against each other. */
function marks(field, side) {
  if (side === 'base' || !field.differs) return null;
  // The API's parts are of the cloud's and the site's text against each other.
  if (Array.isArray(field.diff) && typeof field.cloud === 'string' && typeof field.local === 'string') {
    const parts = field.diff.filter(({ op }) => op === 'same' || op === side).map(({ op, text: part }) => [part, op !== 'same']);
    return parts.some(([part, changed]) => !changed && part.trim()) ? parts : null;
  }
  const against = typeof field.base === 'string' ? field.base : side === 'cloud' ? field.local : field.cloud;
  const value = field[side];
  if (typeof against === 'string' && typeof value === 'string') return segments(against, value);
  if (isObject(against) && isObject(value)) return segments(plain(against), plain(value));
  return null;
}

const isObject = (value) => value !== null && typeof value === 'object';

function freeButton(field, picked, write) {
  if (picked?.side === 'free') return '';
  return h('button', { type: 'button', class: 'link free', 'data-focus': `free-${field.name}`, on: { click: () => {
    const value = picked?.value ?? field.local ?? field.cloud ?? '';
    write(field, value);
    // The page was drawn anew.
    const input = document.querySelector(`[data-focus="${CSS.escape(`write-${field.name}`)}"]`);
    input?.focus();
    input?.select?.();
  } } }, 'Other value');
}

/** A value of one's own: written by hand, or picked before a side moved on. */
function freeValue(field, picked, { way, readOnly, write, typed }) {
  const editing = way?.edits && !readOnly && field.local !== undefined && field.editable;
  if (!editing && picked?.side !== 'free') return '';
  const samples = [field.local, field.cloud, field.base];
  const value = picked?.value;
  const written = value === null || value === undefined ? '' : plain(value);
  const attributes = { 'aria-label': `Value of ${field.name}`, 'data-focus': `write-${field.name}`, value: written, spellcheck: 'false', on: {
    input: (event) => {
      try {
        const nothing = field.options && event.target.value === '';
        typed(field, nothing ? null : parse(event.target.value, field, samples));
        event.target.removeAttribute('aria-invalid');
      } catch (error) {
        typed(field, null, error.message);
        event.target.setAttribute('aria-invalid', 'true');
      }
    },
    keydown: (event) => { if (event.key === 'Enter' && (event.target.tagName === 'INPUT' || event.ctrlKey)) event.target.blur(); },
  } };
  const multiline = written.includes('\n') || written.length > 60;
  const numeric = /^(int|float|numeric)/.test(field.type ?? '') || typeof samples.find((sample) => sample !== null && sample !== undefined) === 'number';
  let input;
  if (field.options) {
    input = h('select', attributes, field.notNull ? '' : h('option', { value: '' }, ''), field.options.map((option) => h('option', { value: option, selected: option === written }, option)));
  } else if (multiline) {
    input = h('textarea', { rows: Math.min(10, written.split('\n').length + 1), ...attributes });
  } else {
    input = h('input', { type: 'text', inputmode: numeric ? 'decimal' : false, maxlength: field.maxLength ?? false, ...attributes });
  }
  const label = picked?.was ? 'What you picked before it changed' : editing ? 'New value' : 'Your value';
  return h('div', { class: editing ? 'own editing' : 'own picked' }, editing ? '' : h('small', {}, label), input,
    value === null ? h('span', { class: 'none' }, 'no value') : field.notNull ? '' : h('button', { type: 'button', class: 'link', on: { click: () => write(field, null) } }, 'No value'));
}

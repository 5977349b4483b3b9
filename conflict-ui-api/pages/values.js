// Values of columns as people read and write them. They come from anywhere and are only ever text.

import { h } from './dom.js';

// What would change how the text around it reads, or cannot be seen: shown by its number. Joiners of scripts and emoji stay.
const UNSEEN = /([\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb])/u;
const LONG = 600;

/** A text from outside, set off from the text around it. */
export function text(from) {
  const parts = String(from).split(UNSEEN).filter((part) => part !== '');
  const mark = (part) => `U+${part.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
  return h('bdi', {}, parts.map((part) => (UNSEEN.test(part) ? h('span', { class: 'unseen', title: 'a character that cannot be seen' }, mark(part)) : part)));
}

/** A text from outside, cut to a line of a list. */
export function short(from, characters = 60) {
  const whole = String(from);
  const letters = Array.from(whole.slice(0, characters * 2));
  if (letters.length <= characters && letters.join('').length === whole.length) return text(whole);
  const cut = text(`${letters.slice(0, characters - 1).join('')}…`);
  cut.title = whole.slice(0, 400);
  return cut;
}

/** What a value is as a text; `null` has none. */
export function plain(value) {
  if (typeof value === 'string') return value;
  if (value !== null && typeof value === 'object') return JSON.stringify(value, null, 2);
  return String(value);
}

/** How many bytes a value had that was too large for the conflict to keep; else null. */
export function tooLarge(value) {
  const bytes = value !== null && typeof value === 'object' && Object.keys(value).length === 1 ? value.rejoinTooLarge : null;
  return typeof bytes === 'number' ? bytes : null;
}

/** A value in a cell; `segments` marks the parts that differ: `[[text, changed], ..]`. */
export function show(value, segments = null) {
  if (value === undefined) return h('span', { class: 'none' }, 'not known');
  if (value === null) return h('span', { class: 'none' }, 'no value');
  if (value === '') return h('span', { class: 'none' }, 'empty text');
  if (tooLarge(value) !== null) return h('span', { class: 'none' }, `too large to show (${tooLarge(value).toLocaleString('en')} bytes)`);
  if (typeof value === 'boolean') return h('span', {}, value ? 'yes' : 'no');
  const body = segments
    ? segments.map(([part, changed]) => (changed ? h('mark', {}, text(part)) : text(part)))
    : text(plain(value));
  const shown = h('span', { class: typeof value === 'object' ? 'value code' : 'value' }, body);
  return plain(value).length > LONG ? folded(shown) : shown;
}

function folded(shown) {
  shown.classList.add('long');
  const more = h('button', { type: 'button', class: 'link', on: { click: (event) => {
    event.preventDefault();
    event.stopPropagation();
    const open = shown.classList.toggle('open');
    more.textContent = open ? 'Show less' : 'Show all';
  } } }, 'Show all');
  return h('span', { class: 'folded' }, shown, more);
}

/** A value in a line of text: `59.94`, `“Cam 1”`, `nothing`. */
export function inline(value, characters = 40) {
  if (value === null || value === undefined) return h('em', {}, 'no value');
  if (typeof value === 'boolean') return h('b', {}, value ? 'yes' : 'no');
  if (typeof value === 'number') return h('b', {}, String(value));
  if (tooLarge(value) !== null) return h('em', {}, 'a large value');
  const whole = typeof value === 'object' ? JSON.stringify(value) : value;
  return h('b', {}, '“', short(whole, characters), '”');
}

export function isUuid(value) {
  return typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value);
}

/** Two values in a line, one after the other; long texts from shortly before where they begin to differ. */
export function change(from, to, characters = 40) {
  let [a, b] = [from, to];
  if (typeof a === 'string' && typeof b === 'string' && Math.max(a.length, b.length) > characters) {
    let start = 0;
    while (start < a.length && a[start] === b[start]) start += 1;
    // Whole words, and a little of what comes before.
    start = start > 16 ? a.lastIndexOf(' ', start - 8) + 1 : 0;
    if (start > 0) [a, b] = [`…${a.slice(start)}`, `…${b.slice(start)}`];
  }
  return [h('s', {}, inline(a, characters)), ' → ', inline(b, characters)];
}

/** `to` with the difference of `now` and `was` added, exactly, in the form that `now` has; undefined where one of them is no decimal number. */
export function sum(to, now, was) {
  const parts = [to, now, was].map((value) => /^(-?)(\d+)(?:\.(\d+))?$/.exec(['number', 'string'].includes(typeof value) ? String(value) : ''));
  if (parts.some((part) => !part)) return undefined;
  const places = Math.max(...parts.map(([, , , fraction]) => (fraction ?? '').length));
  const [a, b, c] = parts.map(([, sign, whole, fraction]) => BigInt(sign + whole + (fraction ?? '').padEnd(places, '0')));
  const total = a + b - c;
  const digits = String(total < 0n ? -total : total).padStart(places + 1, '0');
  const cut = digits.length - places;
  const exact = `${total < 0n ? '-' : ''}${digits.slice(0, cut)}${places ? `.${digits.slice(cut)}`.replace(/\.?0+$/, '') : ''}`;
  return typeof now === 'number' && Math.abs(Number(exact)) <= Number.MAX_SAFE_INTEGER ? Number(exact) : exact;
}

/** Whether two values are the same, whatever the order of the members of objects. */
export function same(a, b) {
  return canonical(a) === canonical(b);
}

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value !== null && typeof value === 'object') {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`;
  }
  return JSON.stringify(value) ?? 'undefined';
}

/** What a person wrote, as a value of the field's type, or like the ones that are there. Throws what is wrong, in words. */
export function parse(written, field, samples) {
  const kind = kindOf(field.type, samples);
  if (kind === 'number') {
    const number = Number(written.trim().replace(',', '.'));
    if (written.trim() === '' || !Number.isFinite(number)) throw new Error('a number is needed here');
    // What JavaScript would round travels as it was written.
    return String(number) === written.trim() ? number : Number.isSafeInteger(number) || !/^-?\d{15,}/.test(written.trim()) ? number : written.trim();
  }
  if (kind === 'decimal') return written.trim().replace(',', '.');
  if (kind === 'boolean') {
    const word = written.trim().toLowerCase();
    if (['yes', 'true', '1'].includes(word)) return true;
    if (['no', 'false', '0'].includes(word)) return false;
    throw new Error('write yes or no');
  }
  if (kind === 'json') {
    try {
      return JSON.parse(written);
    } catch {
      throw new Error('this is not JSON');
    }
  }
  return written;
}

function kindOf(type, samples) {
  if (type) {
    if (/^(int|float)/.test(type) && !type.endsWith('[]')) return 'number';
    if (type === 'numeric') return 'decimal';
    if (type === 'bool') return 'boolean';
    return type === 'json' || type.endsWith('[]') ? 'json' : 'text';
  }
  const like = samples.find((sample) => sample !== null && sample !== undefined);
  return like !== null && typeof like === 'object' ? 'json' : typeof like;
}

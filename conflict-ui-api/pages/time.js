// Times in the viewer's zone, in words; the exact time is in the title.

import { h } from './dom.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long' });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat('en-GB', { weekday: 'long' });
const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long' });
const dateOfYear = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', year: 'numeric' });

function midnight(time) {
  return new Date(time.getFullYear(), time.getMonth(), time.getDate());
}

/** The day in words: `today`, `yesterday`, `Monday`, `3 March`, `3 March 2024`. */
function day(time, now) {
  const days = Math.round((midnight(now) - midnight(time)) / DAY);
  if (days === 0) return 'today';
  if (days === 1) return 'yesterday';
  if (days > 1 && days < 7) return weekday.format(time);
  return (time.getFullYear() === now.getFullYear() ? date : dateOfYear).format(time);
}

function element(iso, words) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return document.createTextNode(String(iso ?? ''));
  return h('time', { datetime: time.toISOString(), title: exact.format(time) }, words(time, new Date()));
}

/** For sentences: `today at 14:05`, `on Monday`, `on 3 March`. */
export function on(iso) {
  return element(iso, (time, now) => {
    const word = day(time, now);
    return word === 'today' || word === 'yesterday' ? `${word} at ${clock.format(time)}` : `on ${word}`;
  });
}

/** For sentences: `since Friday`, `since 14:05 today`. */
export function since(iso) {
  return element(iso, (time, now) => {
    const word = day(time, now);
    return word === 'today' || word === 'yesterday' ? `since ${clock.format(time)} ${word}` : `since ${word}`;
  });
}

/** For columns: `just now`, `5 min`, `3 h`, `2 days`; then the date. */
export function ago(iso) {
  return element(iso, (time, now) => {
    const age = now - time;
    if (age < MINUTE) return 'just now';
    if (age < HOUR) return `${Math.floor(age / MINUTE)} min ago`;
    if (age < DAY) return `${Math.floor(age / HOUR)} h ago`;
    const days = Math.floor(age / DAY);
    if (days < 14) return days === 1 ? '1 day ago' : `${days} days ago`;
    return (time.getFullYear() === now.getFullYear() ? date : dateOfYear).format(time);
  });
}

/** For lists: `today 14:05`, `Monday 09:30`, `3 March 14:05`. */
export function at(iso) {
  return element(iso, (time, now) => `${day(time, now)} ${clock.format(time)}`);
}

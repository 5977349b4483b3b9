// The start: which page the path names, the bar at the top, signing in and out.

import { Problem, get, onSignedOut, post } from './api.js';
import * as detail from './detail.js';
import { fill, h } from './dom.js';
import * as edits from './edits.js';
import * as inbox from './inbox.js';
import { clearNotice, helpButton, notice, setKeys } from './keys.js';
import * as live from './live.js';
import * as runs from './runs.js';
import { forget, onOtherTab, session } from './session.js';
import * as signIn from './sign_in.js';
import { text } from './values.js';

const main = document.getElementById('main');
const top = document.getElementById('top');
let leave = () => {};
let status = null;
let statusFailed = false;

/** The page of a path: its module and what of the path it takes. */
function route(path) {
  const parts = path.split('/').filter(Boolean);
  if (parts[0] === 'sign-in' && parts.length === 1) return [signIn, {}];
  if (!parts.length || (parts[0] === 'conflicts' && parts.length === 1)) return [inbox, {}];
  if (parts[0] === 'conflicts' && parts.length === 2) return [detail, { id: parts[1] }];
  if (parts[0] === 'edits' && parts.length === 1) return [edits, {}];
  if (parts[0] === 'sync' && parts.length === 1) return [runs, {}];
  return null;
}

/** Goes to a path of these pages. */
export function go(path, { replace = false } = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', path);
  show();
}

function show() {
  leave();
  leave = () => {};
  setKeys([]);
  clearNotice();
  const found = route(location.pathname);
  if (!found) return lost();
  const [page, parameters] = found;
  if (!session() && page !== signIn) {
    const back = location.pathname + location.search;
    return go(back === '/' ? '/sign-in' : `/sign-in?to=${encodeURIComponent(back)}`, { replace: true });
  }
  bar();
  document.title = `${page.title} · Rejoin`;
  const left = new AbortController();
  const stopEvents = page.changed ? live.onEvent((event) => page.changed(event)) : () => {};
  leave = () => { left.abort(); stopEvents(); };
  fill(main);
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
  page.open(main, { ...parameters, query: new URLSearchParams(location.search), go, signal: left.signal, server: () => status, refresh: bar });
}

function lost() {
  document.title = 'Not found · Rejoin';
  bar();
  fill(main, h('section', { class: 'page narrow lost' },
    h('h1', {}, 'There is nothing here'),
    h('p', {}, 'The address may be mistyped, or what was here is gone.'),
    h('p', {}, h('a', { class: 'button', href: '/' }, 'Go to the conflicts'))));
}

async function bar() {
  const user = session()?.user;
  top.hidden = !user;
  if (!user) return;
  draw(user);
  try {
    status = await get('/api/sync');
    statusFailed = false;
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return;
    statusFailed = true;
  }
  if (session()) draw(session().user);
}

function draw(user) {
  const here = location.pathname;
  const link = (href, label, current, badge) => h('a', { href, 'aria-current': current ? 'page' : false }, label, badge ? h('span', { class: 'badge' }, badge.toLocaleString('en')) : '');
  const dot = h('span', { class: 'dot', role: 'img' });
  fill(top,
    h('a', { class: 'mark', href: '/', 'aria-label': 'Rejoin, conflicts' }, h('img', { src: new URL('./icon.svg', import.meta.url).pathname, alt: '', width: 24, height: 24 }),
      h('span', {}, 'Rejoin'), status ? h('span', { class: 'server' }, text(status.server)) : ''),
    h('nav', { 'aria-label': 'Pages' },
      link('/conflicts', 'Conflicts', here === '/' || here.startsWith('/conflicts'), status?.conflicts),
      status && status.server !== 'cloud' ? link('/edits', 'My edits', here === '/edits', status.pending) : '',
      link('/sync', 'Sync', here === '/sync')),
    h('div', { class: 'who' }, dot, helpButton(),
      h('details', { class: 'menu' }, h('summary', { 'aria-label': 'Account' }, text(user.name)),
        h('div', { class: 'sheet' }, h('p', {}, 'Signed in as ', h('b', {}, text(user.name))), h('p', { class: 'dim' }, `Role: ${user.role}`),
          h('button', { type: 'button', class: 'quiet', on: { click: signOut } }, 'Sign out')))));
  live.onState((state) => {
    const words = { live: 'Live: changes show at once', polling: 'Looking for changes every 10 seconds', offline: 'No connection to the server', connecting: 'Connecting' };
    dot.className = `dot ${statusFailed ? 'offline' : state}`;
    dot.title = words[state];
    dot.setAttribute('aria-label', words[state]);
  });
}

async function signOut() {
  try {
    await post('/api/rejoin/sign-out');
  } catch (error) {
    if (error.status !== 401) return notice(`Not signed out: ${error.message}`, { kind: 'bad' });
  }
  forget();
  live.stop();
  go('/sign-in');
}

// Links inside these pages change the page without loading it again.
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]');
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || link.hasAttribute('download')) return;
  const to = new URL(link.href);
  if (to.origin !== location.origin || !route(to.pathname) || link.getAttribute('href').startsWith('#')) return;
  event.preventDefault();
  go(to.pathname + to.search);
});
document.addEventListener('click', (event) => {
  for (const menu of document.querySelectorAll('details.menu[open]')) if (!menu.contains(event.target)) menu.open = false;
});
addEventListener('popstate', show);
onOtherTab(() => { live.start(); show(); });
onSignedOut(() => { live.stop(); show(); });
let barTimer = null;
live.onEvent(() => {
  // A storm of events asks for the figures once.
  clearTimeout(barTimer);
  barTimer = setTimeout(bar, 300);
});
live.start();
show();

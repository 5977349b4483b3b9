// What happens at the server, as it happens: by /api/events, and by asking every now and then where that is not to be had.

import { events, request } from './api.js';
import { session } from './session.js';

const POLL_MS = 10_000;
const RETRY_MS_MAX = 15_000;
const listeners = new Set();
let state = 'connecting';
let showState = () => {};
let running = null;

/** Calls back on every event, until the function that this returns is called. */
export function onEvent(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Calls back with `live`, `polling`, `offline` or `connecting`, now and whenever it changes. */
export function onState(show) {
  showState = show;
  show(state);
}

/** Starts, or starts again after a sign-in. */
export function start() {
  stop();
  if (!session() || document.hidden) return;
  running = new AbortController();
  follow(running.signal);
}

export function stop() {
  running?.abort();
  running = null;
}

// Hidden tabs hold no connection: over HTTP/1.1 a browser has six for all of them. Whoever comes back looks at everything again.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return stop();
  start();
  tell({ event: 'lagged' });
});

function tell(event) {
  for (const listener of listeners) listener(event);
}

function become(next) {
  state = next;
  showState(state);
}

async function follow(signal) {
  let retry = 500;
  while (!signal.aborted) {
    try {
      const answer = await request('GET', '/api/events', { accept: 'text/event-stream', signal });
      if (state === 'offline') tell({ event: 'lagged' });
      become('live');
      retry = 500;
      for await (const event of events(answer)) tell(event);
    } catch (error) {
      if (signal.aborted) return;
      if ([403, 404, 501].includes(error.status)) return poll(signal);
      if (error.status === 401) return;
      become('offline');
    }
    await pause(retry, signal);
    retry = Math.min(retry * 2, RETRY_MS_MAX);
  }
}

async function poll(signal) {
  while (!signal.aborted) {
    become('polling');
    await pause(POLL_MS, signal);
    if (!signal.aborted) tell({ event: 'poll' });
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

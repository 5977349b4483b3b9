// The public API, as any program would use it.

import { forget, session } from './session.js';

/** A refusal: the problem details of the answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body?.code ?? '';
    this.errors = body?.errors ?? [];
    this.current = body?.current ?? null;
  }
}

/** What is thrown where no answer came at all. */
export class Unreachable extends Error {
  constructor() {
    super('The server does not answer. Is it running, and are you on its network?');
  }
}

let signedOut = () => {};
/** Calls back when the server no longer takes the session. */
export function onSignedOut(listener) {
  signedOut = listener;
}

/** Any request; the answer as it came. Refusals are thrown. */
export async function request(method, path, { body, accept, signal } = {}) {
  const headers = { Accept: accept ?? 'application/json' };
  const known = session();
  if (known) headers.Authorization = `Bearer ${known.token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    throw error.name === 'AbortError' ? error : new Unreachable();
  }
  if (answer.ok) return answer;
  const problem = new Problem(answer.status, await answer.json().catch(() => null));
  if (answer.status === 401 && problem.code === 'unauthenticated' && known) {
    forget();
    signedOut();
  }
  throw problem;
}

async function json(answer) {
  return answer.status === 204 ? null : answer.json();
}

/** GET with query parameters; the ones without a value are left out. */
export async function get(path, query = {}, options = {}) {
  return json(await request('GET', withQuery(path, query), options));
}

export async function post(path, body = {}, options = {}) {
  return json(await request('POST', path, { body, ...options }));
}

export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** The lines of an NDJSON answer, each parsed, as they come. */
export async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? '';
    const whole = rest.split('\n');
    rest = done ? '' : whole.pop();
    for (const line of whole) if (line.trim()) yield JSON.parse(line);
    if (done) return;
  }
}

/** The events of an SSE answer. EventSource cannot send the header Authorization, so the stream is read here. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value.replaceAll('\r', '')).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart());
      if (data.length) yield JSON.parse(data.join('\n'));
    }
  }
}

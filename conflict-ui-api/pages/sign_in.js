// Signing in: by password, or once by a one-time secret that sets one.

import { post } from './api.js';
import { fill, h } from './dom.js';
import * as live from './live.js';
import { keep, session } from './session.js';

export const title = 'Sign in';

export function open(main, { query, go }) {
  const to = query.get('to') ?? '/';
  // Only ever a path of this server.
  const target = /^\/(?![/\\])/.test(to) ? to : '/';
  if (session()) return go(target, { replace: true });
  let firstTime = false;
  const problem = h('p', { class: 'problem', role: 'alert' });
  const form = h('form', { class: 'card sign-in', on: { submit } });
  const field = (label, attributes, hint) => h('label', {}, h('span', {}, label), h('input', { required: true, ...attributes }), hint ? h('small', {}, hint) : '');

  function draw() {
    const name = form.querySelector('[name=name]')?.value ?? '';
    fill(form,
      h('h1', {}, firstTime ? 'Set your password' : 'Sign in'),
      field('Name', { name: 'name', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', value: name }),
      firstTime
        ? [field('One-time secret', { name: 'oneTimeSecret', autocomplete: 'off', spellcheck: 'false' }, 'From whoever made or reset your account. It works once.'),
          field('New password', { name: 'newPassword', type: 'password', autocomplete: 'new-password' })]
        : field('Password', { name: 'password', type: 'password', autocomplete: 'current-password' }),
      problem,
      h('button', { class: 'primary' }, firstTime ? 'Set password and sign in' : 'Sign in'),
      h('button', { type: 'button', class: 'link', on: { click: () => { firstTime = !firstTime; fill(problem); draw(); } } },
        firstTime ? 'I have a password' : 'I have a one-time secret'));
    form.querySelector(name ? 'input:not([name=name])' : 'input').focus();
  }

  async function submit(event) {
    event.preventDefault();
    const button = form.querySelector('button.primary');
    button.disabled = true;
    fill(problem);
    try {
      keep(await post('/api/rejoin/sign-in', Object.fromEntries(new FormData(form))));
      live.start();
      go(target, { replace: true });
    } catch (error) {
      fill(problem, inWords(error));
      button.disabled = false;
      form.querySelector('[type=password]').select();
    }
  }

  fill(main, h('section', { class: 'page narrow' }, form));
  draw();
}

function inWords(error) {
  if (error.code === 'sign_in_failed') return 'Name and password do not match. Check both; capital letters count.';
  if (error.code === 'rate_limited') return 'Too many attempts. Wait a minute, then try again.';
  if (error.code === 'invalid_fields') return error.errors.map((fault) => `${fault.pointer === '/newPassword' ? 'The new password' : 'A field'}: ${fault.detail}.`).join(' ') || error.message;
  return error.message;
}

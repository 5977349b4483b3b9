// Many at once: what would happen first, then the decision, its progress and its result.

import { Problem, lines, post, request } from './api.js';
import { count, fill, h } from './dom.js';
import { text } from './values.js';

const SIDES = [
  ['CLOUD_WINS', 'Keep the cloud’s', 'would keep the cloud’s state', 'kept the cloud’s state'],
  ['LOCAL_WINS', 'Take the site’s', 'would take the site’s edit', 'took the site’s edit'],
];

/** Opens the dialog. `targets`: `[{filter, expected}]` or `[{conflict}]`, decided one after the other. */
export function openBulk(targets, { done }) {
  let resolution = 'CLOUD_WINS';
  let trial = null;
  let asked = 0;
  const body = h('div', { class: 'bulk-body', 'aria-live': 'polite' });
  const buttons = h('div', { class: 'buttons' });
  const allOrNothing = h('input', { type: 'checkbox', on: { change: preview } });
  const dialog = h('dialog', { class: 'bulk', 'aria-labelledby': 'bulk-title' });
  const choices = h('fieldset', { class: 'sides' }, h('legend', { class: 'hidden' }, 'What to do'), SIDES.map(([value, label]) =>
    h('label', { class: value === 'CLOUD_WINS' ? 'cloud' : 'local' }, h('input', { type: 'radio', name: 'side', value, checked: value === resolution, on: { change: () => { resolution = value; preview(); } } }), h('span', {}, label))));
  const options = h('label', { class: 'option' }, allOrNothing, h('span', {}, 'All or nothing: decide none of them if one cannot be decided'));
  fill(dialog, h('h2', { id: 'bulk-title' }, 'Decide many at once'), choices, targets.length === 1 && targets[0].filter ? options : '', body, buttons);
  const words = () => SIDES.find(([value]) => value === resolution);
  const close = h('button', { type: 'button', class: 'quiet', on: { click: () => dialog.close() } }, 'Cancel');
  dialog.addEventListener('close', () => { dialog.remove(); asked += 1; });
  dialog.addEventListener('keydown', (event) => { if (event.key === 'Enter' && event.target.matches('input')) buttons.querySelector('.primary:not([disabled])')?.click(); });

  async function preview() {
    asked += 1;
    const mine = asked;
    trial = null;
    fill(body, h('p', { class: 'dim' }, 'Trying it…'));
    fill(buttons, close, h('button', { type: 'button', class: 'primary', disabled: true }, 'Decide'));
    try {
      const tried = await forEach(targets, (target) => decideOne(target, { dryRun: true }));
      if (mine !== asked) return;
      trial = tried;
      fill(body, h('p', { class: 'outcome' }, h('b', {}, trial.resolved.toLocaleString('en')), ` ${words()[2]}`,
        trial.refused ? [', ', h('b', {}, trial.refused.toLocaleString('en')), trial.refused === 1 ? ' needs a person' : ' need a person'] : '', '.'), reasons(trial));
      fill(buttons, close, h('button', { type: 'button', class: 'primary', disabled: !trial.resolved, on: { click: run } }, `Decide ${trial.resolved.toLocaleString('en')}`));
    } catch (error) {
      if (mine === asked) fill(body, h('p', { class: 'problem', role: 'alert' }, error.message));
    }
  }

  async function run() {
    asked += 1;
    for (const input of dialog.querySelectorAll('input')) input.disabled = true;
    const total = targets.reduce((sum, target, at) => sum + (target.conflict ? 1 : trial.each[at].matched), 0);
    const progress = h('progress', { max: Math.max(total, 1), value: 0, 'aria-label': 'Progress' });
    const label = h('p', { class: 'dim' }, `0 of ${total.toLocaleString('en')}`);
    fill(body, progress, label);
    fill(buttons);
    let before = 0;
    try {
      const outcome = await forEach(targets, async (target, at) => {
        const result = await decideOne(target, { expected: trial.each[at].matched }, (finished) => {
          progress.value = before + finished;
          fill(label, `${(before + finished).toLocaleString('en')} of ${total.toLocaleString('en')}`);
        });
        before += result.matched;
        return result;
      });
      finish(outcome);
    } catch (error) {
      fill(body, h('p', { class: 'problem', role: 'alert' }, error.code === 'outdated_resolution' ? 'More or fewer conflicts match now than a moment ago. Nothing was decided unseen: look again.' : error.message));
      fill(buttons, h('button', { type: 'button', class: 'quiet', on: { click: () => { dialog.close(); done(); } } }, 'Close'),
        h('button', { type: 'button', class: 'primary', on: { click: () => { for (const input of dialog.querySelectorAll('input')) input.disabled = false; preview(); } } }, 'Look again'));
    }
  }

  function finish(outcome) {
    choices.remove();
    options.remove();
    fill(body, h('p', { class: 'outcome' }, h('b', {}, outcome.resolved.toLocaleString('en')), ` ${words()[3]}`,
      outcome.refused ? [', ', h('b', {}, outcome.refused.toLocaleString('en')), ' not decided'] : '', '.'), reasons(outcome));
    fill(buttons, h('button', { type: 'button', class: 'primary', on: { click: () => dialog.close() } }, 'Done'));
    buttons.firstChild.focus();
    done();
  }

  async function decideOne(target, more, progress = () => {}) {
    if (target.conflict) return decideSingle(target.conflict, more.dryRun, resolution);
    const decision = { filter: target.filter, resolution, allOrNothing: allOrNothing.checked, ...more };
    if (more.dryRun) return post('/api/conflicts/resolve', decision);
    const answer = await request('POST', '/api/conflicts/resolve', { body: decision, accept: 'application/x-ndjson' });
    let last = null;
    for await (const line of lines(answer)) {
      if (line.done !== undefined) progress(line.done);
      last = line;
    }
    if (last?.problem) throw new Problem(last.problem.status, last.problem);
    if (!last || last.matched === undefined) throw new Error('The answer broke off. Reload to see how the conflicts stand.');
    return last;
  }

  document.body.append(dialog);
  dialog.showModal();
  preview();
}

/** One conflict of a selection, as the list showed it. */
async function decideSingle(conflict, dryRun, resolution) {
  const outcome = { matched: 1, resolved: 1, refused: 0, reasons: [] };
  if (dryRun) return outcome;
  try {
    const body = { resolution, revision: conflict.revision, ...(conflict.cloudEtag === null ? {} : { cloudEtag: conflict.cloudEtag }) };
    await post(`/api/conflicts/${conflict.id}/resolve`, body);
    return outcome;
  } catch (error) {
    return { matched: 1, resolved: 0, refused: 1, reasons: [{ reason: error.message, conflicts: 1, example: conflict.id }] };
  }
}

async function forEach(targets, act) {
  const each = [];
  for (const [at, target] of targets.entries()) each.push(await act(target, at));
  const sum = (name) => each.reduce((total, one) => total + one[name], 0);
  const reasons = new Map();
  for (const { reason, conflicts, example } of each.flatMap((one) => one.reasons)) {
    const known = reasons.get(reason);
    reasons.set(reason, { reason, conflicts: conflicts + (known?.conflicts ?? 0), example });
  }
  return { each, matched: sum('matched'), resolved: sum('resolved'), refused: sum('refused'), reasons: Array.from(reasons.values()) };
}

function reasons(outcome) {
  if (!outcome.reasons.length) return '';
  return h('ul', { class: 'reasons' }, outcome.reasons.map(({ reason, conflicts, example }) =>
    h('li', {}, h('span', {}, count(conflicts, 'conflict'), ': ', text(reason)), ' ', h('a', { href: `/conflicts/${example}` }, 'see one'))));
}

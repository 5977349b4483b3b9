// Who is signed in. The session's secret lies in localStorage: a conflict opened in another tab must not ask for the password again, and the
// server ends a session after 12 hours or at sign-out, whichever tab it comes from.

const KEY = 'rejoin.session';

/** `{token, expiresAt, user: {name, role}}`, or null. */
export function session() {
  try {
    const known = JSON.parse(localStorage.getItem(KEY));
    return known && Date.parse(known.expiresAt) > Date.now() ? known : null;
  } catch {
    return null;
  }
}

export function keep(session) {
  localStorage.setItem(KEY, JSON.stringify(session));
}

export function forget() {
  localStorage.removeItem(KEY);
}

/** Calls back when another tab signed in or out. */
export function onOtherTab(changed) {
  addEventListener('storage', (event) => {
    if (event.key === KEY || event.key === null) changed();
  });
}

/** Whether the user may decide conflicts. */
export function mayDecide() {
  return session()?.user.role === 'admin';
}

/** Whether the user may start a sync. */
export function mayRun() {
  return ['admin', 'editor'].includes(session()?.user.role);
}

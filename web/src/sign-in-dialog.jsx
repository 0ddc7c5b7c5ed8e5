// The sign-in dialog: password, new account, or an existing token. It is a native modal <dialog>:
// the browser traps the focus, closes it on Escape and restores the focus.
import { useEffect, useRef, useState } from 'react';
import { signIn, signUp, adoptToken } from './session.js';

/** The password limits of the server, in characters. */
const PASSWORD = { minLength: 12, maxLength: 256 };

const METHODS = {
  password: {
    label: 'Password',
    fields: [
      { name: 'email', label: 'E-mail', type: 'email', autoComplete: 'username' },
      { name: 'password', label: 'Password', type: 'password', autoComplete: 'current-password' },
    ],
    action: 'Sign in',
    submit: signIn,
  },
  account: {
    label: 'New account',
    hint: 'Works where the operator of this server allows sign-up.',
    fields: [
      { name: 'name', label: 'Name', type: 'text', autoComplete: 'name' },
      { name: 'email', label: 'E-mail', type: 'email', autoComplete: 'username' },
      {
        name: 'password',
        label: `Password (at least ${PASSWORD.minLength} characters)`,
        type: 'password',
        autoComplete: 'new-password',
        ...PASSWORD,
      },
    ],
    action: 'Create account',
    submit: signUp,
  },
  token: {
    label: 'Token',
    hint: 'A JWT, or an API key (user-live-… or user-test-…).',
    fields: [{ name: 'token', label: 'Token or API key', type: 'password', autoComplete: 'off' }],
    action: 'Use token',
    submit: ({ token }) => adoptToken(token.trim().replace(/^Bearer\s+/i, '')),
  },
};

export function SignInDialog({ onClose }) {
  const dialog = useRef(null);
  const [method, setMethod] = useState('password');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  const { hint, fields, action, submit } = METHODS[method];

  useEffect(() => {
    dialog.current.showModal();
    dialog.current.querySelector('form input').focus();
  }, []);

  async function onSubmit(event) {
    event.preventDefault();
    const input = Object.fromEntries(new FormData(event.currentTarget));
    setBusy(true);
    setProblem(null);
    try {
      await submit(input);
      dialog.current?.close();
    } catch (error) {
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  function selectMethod(next) {
    setMethod(next);
    setProblem(null);
  }

  return (
    <dialog ref={dialog} className="sign-in" aria-labelledby="sign-in-title" onClose={onClose}>
      <h2 id="sign-in-title">Sign in to Docket</h2>
      <fieldset className="ways">
        <legend>Method</legend>
        {Object.entries(METHODS).map(([key, { label }]) => (
          <label key={key}>
            <input type="radio" name="method" checked={key === method} onChange={() => selectMethod(key)} />
            {label}
          </label>
        ))}
      </fieldset>
      {/* The key creates a separate form for each method, so that typed values do not carry over. */}
      <form key={method} onSubmit={onSubmit} aria-busy={busy}>
        {hint && <p className="hint">{hint}</p>}
        {fields.map(({ label, ...input }) => (
          <label key={input.name}>
            {label}
            <input {...input} required spellCheck={false} />
          </label>
        ))}
        <p role="alert" className="problem">
          {problem}
        </p>
        <div className="actions">
          <button type="button" onClick={() => dialog.current.close()}>
            Cancel
          </button>
          <button type="submit" className="primary" disabled={busy}>
            {action}
          </button>
        </div>
      </form>
    </dialog>
  );
}

// The sign-in dialog: password, new account, or a token brought along. A native modal <dialog>:
// the browser keeps the focus inside, closes it on Escape and gives the focus back.
import { useEffect, useRef, useState } from 'react';
import { signIn, signUp, adoptToken } from './session.js';

/** The server's own limits on passwords, in characters. */
const PASSWORD = { minLength: 12, maxLength: 256 };

const WAYS = {
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
  const [way, setWay] = useState('password');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(null);
  const { hint, fields, action, submit } = WAYS[way];

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

  function choose(next) {
    setWay(next);
    setProblem(null);
  }

  return (
    <dialog ref={dialog} className="sign-in" aria-labelledby="sign-in-title" onClose={onClose}>
      <h2 id="sign-in-title">Sign in to Docket</h2>
      <fieldset className="ways">
        <legend>How</legend>
        {Object.entries(WAYS).map(([key, { label }]) => (
          <label key={key}>
            <input type="radio" name="way" checked={key === way} onChange={() => choose(key)} />
            {label}
          </label>
        ))}
      </fieldset>
      {/* The key gives each way a form of its own, so that nothing typed leaks from one into another. */}
      <form key={way} onSubmit={onSubmit} aria-busy={busy}>
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

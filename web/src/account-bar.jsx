// The bar on top: who is signed in, until when, and the way in and out.
import { useState } from 'react';
import { signOut, useSession } from './session.js';
import { SignInDialog } from './sign-in-dialog.jsx';

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** `linkProblem` says why the link in the address was not opened; null when there is no such problem. */
export function AccountBar({ linkProblem }) {
  const { token, user, expiresAt, notice } = useSession();
  const [dialogOpen, setDialogOpen] = useState(false);
  return (
    <header className="account-bar">
      <h1>
        <img src={`${import.meta.env.BASE_URL}favicon.svg`} alt="" width="24" height="24" />
        Docket
      </h1>
      {/* Always there, so that screen readers announce what is put into it. */}
      <p role="status" className="notice">
        {notice ?? linkProblem}
      </p>
      {token ? (
        <>
          <p className="who">
            Signed in as <strong>{user.name}</strong> ({user.email})
            {expiresAt && (
              <>
                {' until '}
                <time dateTime={expiresAt}>{TIME.format(new Date(expiresAt))}</time>
              </>
            )}
          </p>
          <button type="button" onClick={() => signOut()}>
            Sign out
          </button>
        </>
      ) : (
        <>
          <p className="who">Not signed in</p>
          <button type="button" aria-haspopup="dialog" onClick={() => setDialogOpen(true)}>
            Sign in…
          </button>
        </>
      )}
      {dialogOpen && <SignInDialog onClose={() => setDialogOpen(false)} />}
    </header>
  );
}

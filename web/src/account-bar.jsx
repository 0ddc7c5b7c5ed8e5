// The bar at the top: the signed-in user, the expiry of the session, and the buttons to sign in and out.
import { useState } from 'react';
import { signOut, useSession } from './session.js';
import { SignInDialog } from './sign-in-dialog.jsx';

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** `linkProblem` is the reason why the link in the URL was not opened, or null. */
export function AccountBar({ linkProblem }) {
  const { token, user, expiresAt, notice } = useSession();
  const [dialogOpen, setDialogOpen] = useState(false);
  return (
    <header className="account-bar">
      <h1>
        <img src={`${import.meta.env.BASE_URL}favicon.svg`} alt="" width="24" height="24" />
        Docket
      </h1>
      {/* Always present, so that screen readers announce the text that appears in it. */}
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

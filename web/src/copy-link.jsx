// Toolbar button that copies a link to the operation of the current tab.
import { useEffect, useRef, useState } from 'react';
import { createPortal } from 'react-dom';
import { pick, ToolbarButton, useGraphiQL } from '@graphiql/react';
import { copyText } from './clipboard.js';
import { linkTo, MAX_COPIED_LENGTH } from './link.js';

/** Display time of the feedback, in milliseconds. */
const FEEDBACK_MS = 4000;

const TOO_LONG = `Not copied: the link would exceed ${MAX_COPIED_LENGTH.toLocaleString('en')} characters.`;

/** Must be a child of GraphiQL. */
export function CopyLink() {
  const { queryEditor, variableEditor, operationName } = useGraphiQL(pick('queryEditor', 'variableEditor', 'operationName'));
  // An object, so that repeating the same text restarts the timer.
  const [feedback, setFeedback] = useState({ text: '' });
  const [linkToCopyByHand, setLinkToCopyByHand] = useState(null);

  useEffect(() => {
    if (!feedback.text) return undefined;
    const timer = setTimeout(() => setFeedback({ text: '' }), FEEDBACK_MS);
    return () => clearTimeout(timer);
  }, [feedback]);

  async function copy() {
    const link = linkTo(window.location, {
      query: queryEditor.getValue(),
      variables: variableEditor.getValue(),
      operationName,
    });
    if (link.length > MAX_COPIED_LENGTH) {
      setFeedback({ text: TOO_LONG });
    } else if (await copyText(link)) {
      setFeedback({ text: 'Copied' });
    } else {
      setLinkToCopyByHand(link);
    }
  }

  return (
    <div className="copy-link">
      {/* The editors load after the page. */}
      <ToolbarButton label="Copy link" onClick={copy} disabled={!queryEditor || !variableEditor}>
        <LinkIcon />
      </ToolbarButton>
      {/* Always present, so that screen readers announce the text that appears in it. */}
      <p role="status">{feedback.text}</p>
      {linkToCopyByHand &&
        createPortal(<LinkDialog link={linkToCopyByHand} onClose={() => setLinkToCopyByHand(null)} />, document.body)}
    </div>
  );
}

/** Shows a link in a selected text field, for browsers that do not let the page write to the clipboard. */
function LinkDialog({ link, onClose }) {
  const dialog = useRef(null);
  const field = useRef(null);

  useEffect(() => {
    dialog.current.showModal();
    field.current.select();
  }, []);

  return (
    <dialog ref={dialog} className="link-dialog" aria-labelledby="link-dialog-title" onClose={onClose}>
      <h2 id="link-dialog-title">Link to this operation</h2>
      <p className="hint">The browser does not let this page write to the clipboard. Copy the selected text yourself.</p>
      <input ref={field} type="text" readOnly value={link} aria-label="Link" spellCheck={false} />
      <div className="actions">
        <button type="button" onClick={() => dialog.current.close()}>
          Close
        </button>
      </div>
    </dialog>
  );
}

/** Two links of a chain, in the stroke of GraphiQL's own icons. */
function LinkIcon() {
  return (
    <svg className="graphiql-toolbar-icon" viewBox="0 0 16 16" height="1em" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" aria-hidden="true">
      <path d="M6.5 9.5l3-3M7.3 4.6l1.5-1.5a2.9 2.9 0 0 1 4.1 4.1l-1.5 1.5M8.7 11.4l-1.5 1.5a2.9 2.9 0 0 1-4.1-4.1l1.5-1.5" />
    </svg>
  );
}

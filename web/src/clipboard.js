// Copies text to the clipboard, on secure and insecure origins.

/**
 * Copies a text and resolves to whether that succeeded. Call it in a click handler, because browsers refuse it elsewhere.
 * `navigator.clipboard` exists only on HTTPS and loopback, and permissions may forbid its use.
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelection(text);
  }
}

/** Copies by selecting a text field. `execCommand` is deprecated, but it is the only way on plain HTTP. */
function copySelection(text) {
  const focused = document.activeElement;
  const field = document.createElement('textarea');
  field.className = 'clipboard-field';
  field.readOnly = true;
  field.value = text;
  document.body.append(field);
  field.select();
  try {
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    field.remove();
    focused?.focus();
  }
}

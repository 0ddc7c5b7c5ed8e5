// Copies text to the clipboard, on secure origins and on others.

/**
 * Copies a text and resolves to whether that worked. Call it while handling a click: browsers refuse otherwise.
 * `navigator.clipboard` exists on HTTPS and on the loopback only, and permissions may forbid its use.
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelection(text);
  }
}

/** Copies by way of a selected field. `execCommand` is deprecated, but the only way on plain HTTP. */
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

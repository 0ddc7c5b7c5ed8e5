//! Waiting for changes while the viewer's credential is valid.

use crate::access::Actor;
use crate::account::expired;
use crate::app::App;
use crate::error::{Error, Result};

/// Maximum number of rows in one read.
pub(super) const BATCH_ROWS: u64 = 200;

/// Waits for a future. Returns an error if the viewer's credential expires first.
pub(in crate::graphql) async fn wait_until_expiry<T>(
    app: &App,
    actor: &Actor,
    future: impl Future<Output = T>,
) -> Result<T> {
    let Some(expires_at) = actor.credential.expires_at else { return Ok(future.await) };
    tokio::pin!(future);
    loop {
        let remaining = (expires_at - app.clock.now()).to_std().unwrap_or_default();
        if let Ok(output) = tokio::time::timeout(remaining, &mut future).await {
            return Ok(output);
        }
        if expired(Some(expires_at), app.clock.now()) {
            let message = "The credential of this subscription has expired.";
            return Err(Error::Unauthenticated(message.into()));
        }
    }
}

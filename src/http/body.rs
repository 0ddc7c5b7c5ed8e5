//! Request bodies: their limits, their encoding, their end at shutdown, and their pace.

use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use serde_json::Value as Json;

use crate::app::App;
use crate::error::{Error, Result};
use crate::json::{NO_NUL, without_byte_order_mark};

/// How long a client may continue to send a body after the server began to stop. Connections get more time, so that an
/// unfinished upload is removed before the process ends.
const BODY_GRACE: Duration = Duration::from_secs(3);

/// Refuses a compressed body, because the server does not decompress bodies.
pub(super) fn refuse_content_encoding(headers: &HeaderMap) -> Result<()> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    match encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        true => Ok(()),
        false => {
            let message = "Requests with a Content-Encoding are not supported. Send the bytes uncompressed.";
            Err(Error::UnsupportedMedia(message.into()))
        }
    }
}

/// Reads the body of a request, up to `limit` bytes. A byte order mark is left out.
pub(super) async fn read(request: Request, limit: usize) -> Result<Bytes> {
    refuse_content_encoding(request.headers())?;
    let bytes = axum::body::to_bytes(request.into_body(), limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            Error::TooLarge(format!("A request may have at most {limit} bytes."))
        } else {
            Error::invalid("", "BROKEN_OFF", "The request body ended early or arrived too slowly.")
        }
    })?;
    Ok(bytes.slice_ref(without_byte_order_mark(&bytes)))
}

/// Parses a body as JSON. The error names the position of the problem, and quotes nothing.
pub(super) fn parse_json(bytes: &[u8]) -> Result<Json> {
    serde_json::from_slice(bytes).map_err(|error| {
        let position = format!("line {}, column {}", error.line(), error.column());
        Error::invalid("", "JSON", format!("The body is not valid JSON: syntax error or end at {position}."))
    })
}

/// Refuses text with U+0000, which PostgreSQL cannot store.
pub(super) fn refuse_nul(text: &[u8]) -> Result<()> {
    match text.contains(&0) {
        true => Err(Error::invalid("", "INVALID", NO_NUL)),
        false => Ok(()),
    }
}

/// Returns the body with an error at its end if the server stops before the body is complete.
pub(super) fn end_at_shutdown(body: Body, app: &App) -> Body {
    let stop = app.stopping.clone();
    end_when(body, async move {
        stop.cancelled().await;
        tokio::time::sleep(BODY_GRACE).await;
    })
}

/// Returns the body with an error at its end if `end` resolves before the body is complete.
fn end_when(body: Body, end: impl Future<Output = ()> + Send + 'static) -> Body {
    let (mut chunks, mut end) = (body.into_data_stream(), Some(Box::pin(end)));
    Body::from_stream(futures_util::stream::poll_fn(move |context| {
        if let Some(waiting) = &mut end
            && waiting.as_mut().poll(context).is_ready()
        {
            end = None;
            return Poll::Ready(Some(Err(axum::Error::new("the server is stopping"))));
        }
        chunks.poll_next_unpin(context)
    }))
}

/// Returns the body as a stream that is pending after each chunk.
///
/// The multipart parser buffers every chunk that is ready before it parses any. With a fast client it would hold all
/// bytes that arrive during one write to the store.
pub(super) fn one_chunk_at_a_time(body: Body) -> Body {
    let (mut chunks, mut is_paused) = (body.into_data_stream(), false);
    Body::from_stream(futures_util::stream::poll_fn(move |context| {
        if std::mem::take(&mut is_paused) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = chunks.poll_next_unpin(context);
        is_paused = next.is_ready();
        next
    }))
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use futures_util::TryStreamExt;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn unfinished_body_ends_with_an_error_at_the_deadline() {
        let endless = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        let stop = CancellationToken::new();
        let mut unfinished = end_when(endless, stop.clone().cancelled_owned()).into_data_stream();
        assert!(futures_util::poll!(unfinished.next()).is_pending());
        stop.cancel();
        assert!(unfinished.next().await.is_some_and(|chunk| chunk.is_err()));
        let complete = end_when(Body::from("x"), std::future::pending()).into_data_stream();
        let complete: Vec<Bytes> = complete.try_collect().await.unwrap();
        assert_eq!(complete.concat(), b"x");
    }

    #[test]
    fn greedy_reader_gets_one_chunk_at_a_time() {
        let chunks = (0..3).map(|i| Ok::<_, std::io::Error>(Bytes::from(vec![i])));
        let mut stream =
            one_chunk_at_a_time(Body::from_stream(futures_util::stream::iter(chunks))).into_data_stream();
        let mut context = Context::from_waker(Waker::noop());
        for i in 0..3 {
            let Poll::Ready(Some(Ok(chunk))) = stream.poll_next_unpin(&mut context) else {
                panic!("no chunk {i}")
            };
            assert_eq!(chunk, [i][..]);
            assert!(stream.poll_next_unpin(&mut context).is_pending());
        }
        assert!(matches!(stream.poll_next_unpin(&mut context), Poll::Ready(None)));
    }
}

//! Bodies of requests, as their readers need them.

use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;

use crate::app::App;
use crate::error::{Error, Result};

/// Somebody who is still sending when the server is asked to stop may go on so long. It is less than connections get, so
/// that what has come in by then is removed in time.
const LEFT: Duration = Duration::from_secs(3);

/// Refuses a compressed body: it would be stored or parsed as it was sent.
pub(super) fn not_encoded(headers: &HeaderMap) -> Result<()> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    match encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        true => Ok(()),
        false => {
            let message = "Requests with a Content-Encoding are not supported. Send the bytes uncompressed.";
            Err(Error::UnsupportedMedia(message.into()))
        }
    }
}

/// A body that breaks off when the server stops.
pub(super) fn ending(body: Body, app: &App) -> Body {
    let stop = app.stopping.clone();
    broken_off(body, async move {
        stop.cancelled().await;
        tokio::time::sleep(LEFT).await;
    })
}

fn broken_off(body: Body, by: impl Future<Output = ()> + Send + 'static) -> Body {
    let (mut chunks, mut cut) = (body.into_data_stream(), Some(Box::pin(by)));
    Body::from_stream(futures_util::stream::poll_fn(move |context| {
        if let Some(waiting) = &mut cut
            && waiting.as_mut().poll(context).is_ready()
        {
            cut = None;
            return Poll::Ready(Some(Err(axum::Error::new("the server stops"))));
        }
        chunks.poll_next_unpin(context)
    }))
}

/// Hands a body on chunk by chunk. The reader of multipart bodies takes all that is ready before it looks at any of it: of a
/// fast client's file it would hold everything that comes in while a part of it is written.
pub(super) fn paced(body: Body) -> Body {
    let (mut chunks, mut enough) = (body.into_data_stream(), false);
    Body::from_stream(futures_util::stream::poll_fn(move |context| {
        if std::mem::take(&mut enough) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = chunks.poll_next_unpin(context);
        enough = next.is_ready();
        next
    }))
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use bytes::Bytes;
    use futures_util::TryStreamExt;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn what_is_still_sent_when_the_time_is_out_breaks_off() {
        let endless = Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        let stop = CancellationToken::new();
        let mut going = broken_off(endless, stop.clone().cancelled_owned()).into_data_stream();
        assert!(futures_util::poll!(going.next()).is_pending());
        stop.cancel();
        assert!(going.next().await.is_some_and(|chunk| chunk.is_err()));
        let whole = broken_off(Body::from("x"), std::future::pending()).into_data_stream();
        let whole: Vec<Bytes> = whole.try_collect().await.unwrap();
        assert_eq!(whole.concat(), b"x");
    }

    #[test]
    fn a_reader_that_takes_all_that_is_ready_gets_one_chunk_at_a_time() {
        let chunks = (0..3).map(|i| Ok::<_, std::io::Error>(Bytes::from(vec![i])));
        let mut stream = paced(Body::from_stream(futures_util::stream::iter(chunks))).into_data_stream();
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

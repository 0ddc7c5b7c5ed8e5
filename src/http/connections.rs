//! Connections: taking them, how long one may say or take nothing, and letting them end.

mod patience;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use self::patience::Patient;
use crate::app::App;

/// Takes connections until the application is asked to stop. Each is served in a task of the application's, and ends with
/// the request that is under way then. The error names a trusted document that cannot be run.
pub fn serve(
    listener: TcpListener,
    app: App,
    metrics: PrometheusHandle,
) -> Result<impl Future<Output = ()> + Send + 'static, String> {
    let routes = super::routes(app.clone(), metrics)?;
    Ok(accept(listener, app, routes))
}

async fn accept(mut listener: TcpListener, app: App, routes: Router) {
    let routes = TowerToHyperService::new(routes);
    let patience = Duration::from_secs(app.config.http.write_seconds);
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new());
    protocol.header_read_timeout(Duration::from_secs(app.config.http.header_seconds));
    loop {
        let (stream, address): (_, SocketAddr) = tokio::select! {
            biased;
            () = app.stopping.cancelled() => return,
            accepted = Listener::accept(&mut listener) => accepted,
        };
        let routes = routes.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            routes.call(request)
        });
        let stream = TokioIo::new(Patient::new(stream, patience));
        let connection = protocol.serve_connection(stream, service).with_upgrades();
        let stop = app.stopping.clone();
        app.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%address, %error, "a connection broke");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::app::tests::open;

    #[tokio::test]
    async fn whoever_says_nothing_is_not_waited_for_and_stopping_ends_what_idles() {
        let (app, _dir) = open(|config| {
            config.http.header_seconds = 1;
            config.http.body_seconds = 1;
        })
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        app.spawn(serve(listener, app.clone(), PrometheusBuilder::new().build_recorder().handle()).unwrap());
        let say = |text: &'static str| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let begun = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
        let (silent, half, body) = tokio::join!(say(""), say("GET / HT"), say(begun));
        assert_eq!((silent.as_str(), half.as_str()), ("", ""));
        assert!(body.starts_with("HTTP/1.1 400") && body.contains("BROKEN_OFF"), "{body}");

        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 12];
        idle.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200");
        app.drain().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn the_head_of_a_request_is_bounded_and_a_connection_may_idle_for_so_long() {
        let (app, _dir) = open(|config| config.http.header_seconds = 1).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        app.spawn(serve(listener, app.clone(), PrometheusBuilder::new().build_recorder().handle()).unwrap());
        let status = async |target: &str, headers: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            // Where it is too long, the connection may end before all of it was read, and take the answer with it.
            let _written = stream.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            let end = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
            let _ended = end.expect("the connection is closed, idle as it is");
            String::from_utf8_lossy(&answer).get(9..12).unwrap_or_default().to_owned()
        };
        let target = |bytes: usize| format!("/healthz?{}", "x".repeat(bytes - 9));
        assert_eq!(status("/healthz", &"x: x\r\n".repeat(99)).await, "200", "and one of the host");
        assert_eq!(status("/healthz", &"x: x\r\n".repeat(100)).await, "431");
        assert_eq!(status(&target(65_534), "").await, "200");
        assert_eq!(status(&target(65_535), "").await, "414");
        assert!(
            ["431", ""].contains(&&*status("/healthz", &format!("x: {}\r\n", "x".repeat(500_000))).await)
        );
        app.drain().await;
    }

    #[tokio::test]
    async fn whoever_takes_nothing_of_an_answer_is_cut_off() {
        let (app, _dir) = open(|config| config.http.write_seconds = 1).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        app.spawn(serve(listener, app.clone(), PrometheusBuilder::new().build_recorder().handle()).unwrap());
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
        // Answers fill what the kernel keeps for a client that does not read; then the server stops reading too.
        let (mut read, mut write) = stream.split();
        let full = async { while write.write_all(&request).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(60), full).await.expect("the connection is closed");
        let mut answers = vec![0; 12];
        // What is left of them, unless the end of the connection swept it away.
        if read.read_exact(&mut answers).await.is_ok() {
            assert_eq!(answers, b"HTTP/1.1 200");
        }
        app.drain().await;
    }
}

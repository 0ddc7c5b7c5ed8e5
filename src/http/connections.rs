//! Accepts connections, limits their number and their idle times, and ends them at shutdown.

mod write_timeout;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Version, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::write_timeout::WriteTimeout;
use super::host::InvalidHost;
use super::log_throttle::LogThrottle;
use super::quota::{Quota, open_file_limit, three_quarters};
use super::routes;
use crate::app::App;
use crate::telemetry::HTTP_CONNECTIONS;

/// Accepts connections until the application stops.
///
/// A task of the application serves each connection. At shutdown a connection ends after its current request. The error
/// names a trusted document that is invalid.
pub fn serve(
    listener: TcpListener,
    app: App,
    metrics: PrometheusHandle,
) -> Result<impl Future<Output = ()> + Send + 'static, String> {
    let routes = routes(app.clone(), metrics)?;
    Ok(accept(listener, app, routes))
}

/// Returns the limit of all connections and the limit of one address.
///
/// An eighth of the open files is kept for uploads and downloads, and an eighth for the databases and the engine. One
/// address may have at most three quarters of all connections.
fn connection_limits(app: &App) -> (usize, usize) {
    let http = &app.config.http;
    let total = http.connections.min(three_quarters(open_file_limit())).min(Semaphore::MAX_PERMITS);
    let per_address = http.address_connections.min(three_quarters(total));
    tracing::info!(connections = total, address_connections = per_address, "connection limits");
    (total, per_address)
}

/// Returns whether a request has exactly one `Host` header, which HTTP/1.1 requires (RFC 9112 section 3.2).
/// HTTP/1.0 requires none.
fn has_valid_host(request: &Request<Incoming>) -> bool {
    request.version() < Version::HTTP_11 || request.headers().get_all(header::HOST).iter().count() == 1
}

/// Counts a connection in the metrics while it is open.
#[derive(Debug)]
struct OpenConnection;

impl OpenConnection {
    fn new() -> Self {
        metrics::gauge!(HTTP_CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        metrics::gauge!(HTTP_CONNECTIONS).decrement(1.0);
    }
}

async fn accept(mut listener: TcpListener, app: App, routes: Router) {
    let routes = TowerToHyperService::new(routes);
    let write_timeout = Duration::from_secs(app.config.http.write_seconds);
    let (limit, address_limit) = connection_limits(&app);
    let quota = Quota::new(address_limit, "connections");
    let permits = Arc::new(Semaphore::new(limit));
    let (limit_log, address_limit_log) = (LogThrottle::default(), LogThrottle::default());
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new());
    protocol.header_read_timeout(Duration::from_secs(app.config.http.header_seconds));
    loop {
        let next = async {
            if permits.available_permits() == 0 {
                limit_log.log(|| tracing::warn!(limit, "connection limit reached; new connections wait"));
            }
            // Without a permit, new connections wait in the queue of the operating system.
            let permit = Arc::clone(&permits).acquire_owned().await;
            (Listener::accept(&mut listener).await, permit)
        };
        let ((stream, address), permit): ((_, SocketAddr), _) = tokio::select! {
            biased;
            () = app.stopping.cancelled() => return,
            next = next => next,
        };
        let peer = address.ip().to_canonical();
        let is_proxy = app.config.http.trusted_proxies.iter().any(|network| network.contains(&peer));
        let address_permit = (!is_proxy).then(|| quota.acquire(peer)).transpose();
        let Ok(address_permit) = address_permit else {
            address_limit_log.log(
                || tracing::warn!(%address, "connection limit of an address reached; closing its new connections"),
            );
            continue;
        };
        let routes = routes.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            if !has_valid_host(&request) {
                request.extensions_mut().insert(InvalidHost);
            }
            routes.call(request)
        });
        let held = (permit, address_permit, OpenConnection::new());
        let stream = TokioIo::new(WriteTimeout::new(stream, write_timeout, held));
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
                tracing::debug!(%address, %error, "connection failed");
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

    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn start(app: &App) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        app.spawn(serve(listener, app.clone(), PrometheusBuilder::new().build_recorder().handle()).unwrap());
        address
    }

    async fn send_request(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        stream
    }

    /// Reads a whole response and returns the start of its status line.
    async fn read_status(stream: &mut TcpStream) -> String {
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\nok\n") {
            response.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8_lossy(&response[..12]).into_owned()
    }

    #[tokio::test]
    async fn silent_connections_time_out_and_shutdown_closes_idle_ones() {
        let (app, _dir) = open(|config| {
            config.http.header_seconds = 1;
            config.http.body_seconds = 1;
        })
        .await;
        let address = start(&app).await;
        let send = |text: &'static str| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            response
        };
        let incomplete = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
        let (silent, half, body) = tokio::join!(send(""), send("GET / HT"), send(incomplete));
        assert_eq!((silent.as_str(), half.as_str()), ("", ""));
        assert!(body.starts_with("HTTP/1.1 400") && body.contains("BROKEN_OFF"), "{body}");

        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(REQUEST).await.unwrap();
        let mut response = vec![0; 12];
        idle.read_exact(&mut response).await.unwrap();
        assert_eq!(response, b"HTTP/1.1 200");
        app.drain().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn request_heads_are_bounded_and_idle_connections_are_closed() {
        let (app, _dir) = open(|config| config.http.header_seconds = 1).await;
        let address = start(&app).await;
        let status = async |target: &str, headers: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            // The server may close the connection before it reads all of a long request. Then the response is lost.
            let _written = stream.write_all(request.as_bytes()).await;
            let mut response = Vec::new();
            let end = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut response)).await;
            let _ended = end.expect("the idle connection is closed");
            String::from_utf8_lossy(&response).get(9..12).unwrap_or_default().to_owned()
        };
        let target = |bytes: usize| format!("/healthz?{}", "x".repeat(bytes - 9));
        assert_eq!(status("/healthz", &"x: x\r\n".repeat(99)).await, "200", "99 headers and Host");
        assert_eq!(status("/healthz", &"x: x\r\n".repeat(100)).await, "431");
        assert_eq!(status(&target(65_534), "").await, "200");
        assert_eq!(status(&target(65_535), "").await, "414");
        // One read may take in more than the limit before the server parses the head.
        let large = status("/healthz", &format!("x: {}\r\n", "x".repeat(8_000_000))).await;
        assert!(["431", ""].contains(&&*large), "{large}");
        app.drain().await;
    }

    #[tokio::test]
    async fn client_that_does_not_read_its_responses_is_disconnected() {
        let (app, _dir) = open(|config| config.http.write_seconds = 1).await;
        let address = start(&app).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = REQUEST.repeat(1_000);
        // Responses fill the socket buffers of a client that does not read; then the server stops reading too.
        let (mut read, mut write) = stream.split();
        let full = async { while write.write_all(&request).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(60), full).await.expect("the connection is closed");
        let mut responses = vec![0; 12];
        // The end of the connection may have discarded the buffered responses.
        if read.read_exact(&mut responses).await.is_ok() {
            assert_eq!(responses, b"HTTP/1.1 200");
        }
        app.drain().await;
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait() {
        let (app, _dir) = open(|config| config.http.connections = 1).await;
        let address = start(&app).await;
        let mut first = send_request(address).await;
        assert_eq!(read_status(&mut first).await, "HTTP/1.1 200");
        let mut second = send_request(address).await;
        first.write_all(REQUEST).await.unwrap();
        assert_eq!(read_status(&mut first).await, "HTTP/1.1 200");
        assert!(futures_util::poll!(pin!(second.read_u8())).is_pending());
        drop(first);
        assert_eq!(read_status(&mut second).await, "HTTP/1.1 200");
        app.drain().await;
    }

    #[tokio::test]
    async fn connections_of_an_address_are_limited_except_for_proxies() {
        for proxies in [vec![], vec!["127.0.0.0/8".parse().unwrap()]] {
            let trusted = !proxies.is_empty();
            let (app, _dir) = open(|config| {
                config.http.address_connections = 1;
                config.http.trusted_proxies = proxies;
            })
            .await;
            let address = start(&app).await;
            let mut first = send_request(address).await;
            assert_eq!(read_status(&mut first).await, "HTTP/1.1 200");
            let mut second = TcpStream::connect(address).await.unwrap();
            if trusted {
                second.write_all(REQUEST).await.unwrap();
                assert_eq!(read_status(&mut second).await, "HTTP/1.1 200");
            } else {
                assert_eq!(second.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
                drop(first);
                let limit = Duration::from_secs(60);
                let retries = async {
                    // The server notices the end of the first connection with a delay.
                    loop {
                        let mut third = TcpStream::connect(address).await.unwrap();
                        let mut response = [0; 12];
                        let sent = third.write_all(REQUEST).await.is_ok();
                        if sent && third.read_exact(&mut response).await.is_ok() {
                            return response;
                        }
                    }
                };
                assert_eq!(&tokio::time::timeout(limit, retries).await.unwrap(), b"HTTP/1.1 200");
            }
            app.drain().await;
        }
    }

    #[tokio::test]
    async fn request_of_http_1_1_requires_one_host_header() {
        let (app, _dir) = open(|_| ()).await;
        let address = start(&app).await;
        for (target, head, expected) in [
            ("/healthz", "HTTP/1.1\r\nhost: a\r\n", "HTTP/1.1 200"),
            ("/healthz", "HTTP/1.1\r\n", "HTTP/1.1 400"),
            ("/healthz", "HTTP/1.1\r\nhost: a\r\nhost: b\r\n", "HTTP/1.1 400"),
            ("/v1.1/jobs", "HTTP/1.1\r\n", "HTTP/1.1 400"),
            ("/healthz", "HTTP/1.0\r\n", "HTTP/1.0 200"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {target} {head}connection: close\r\nx-request-id: r-1\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            assert!(
                response.starts_with(expected) && response.contains("x-request-id: r-1"),
                "{head} {response}"
            );
            if expected.ends_with("400") {
                assert!(
                    response.contains("\"HOST\"") && response.contains("\"tracking\":\"r-1\""),
                    "{response}"
                );
                assert_eq!(response.contains("\"success\":false"), target != "/healthz", "{response}");
            }
        }
        app.drain().await;
    }
}

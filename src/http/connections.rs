//! Connections: taking them, how long one may say or take nothing, and letting them end.

mod patience;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, StatusCode, Version, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::patience::Patient;
use super::rejected;
use super::session::{Places, Seldom, open_files, three_quarters};
use crate::app::App;
use crate::telemetry::HTTP_CONNECTIONS;

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

/// How many connections there may be, and from one address. An eighth of the files is kept for uploads and downloads, an
/// eighth for the databases and for the engine; and no address takes the places of all.
fn most(app: &App) -> (usize, usize) {
    let http = &app.config.http;
    let most = http.connections.min(three_quarters(open_files())).min(Semaphore::MAX_PERMITS);
    let of_one = http.address_connections.min(three_quarters(most));
    tracing::info!(connections = most, address_connections = of_one, "so many connections may be open");
    (most, of_one)
}

/// Marks a request that does not say whom it is for.
#[derive(Debug, Clone, Copy)]
struct NoHost;

/// Refuses what is marked so, within what every answer goes through.
pub(super) async fn named(request: axum::extract::Request, next: Next) -> Response {
    if request.extensions().get::<NoHost>().is_some() {
        return rejected(StatusCode::BAD_REQUEST, "HOST", "A request of HTTP/1.1 has one header Host.");
    }
    next.run(request).await
}

/// Whether a request says once whom it is for, as it must from HTTP/1.1 on (RFC 9112 section 3.2).
fn names_host(request: &Request<Incoming>) -> bool {
    request.version() < Version::HTTP_11 || request.headers().get_all(header::HOST).iter().count() == 1
}

/// Counts a connection for as long as it is open.
#[derive(Debug)]
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!(HTTP_CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(HTTP_CONNECTIONS).decrement(1.0);
    }
}

async fn accept(mut listener: TcpListener, app: App, routes: Router) {
    let routes = TowerToHyperService::new(routes);
    let patience = Duration::from_secs(app.config.http.write_seconds);
    let (most, of_one) = most(&app);
    let places = Places::new(of_one, "connections");
    let free = Arc::new(Semaphore::new(most));
    let (full, crowded) = (Seldom::default(), Seldom::default());
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new());
    protocol.header_read_timeout(Duration::from_secs(app.config.http.header_seconds));
    loop {
        let next = async {
            if free.available_permits() == 0 {
                full.say(|| tracing::warn!(most, "there are as many connections as may be; others wait"));
            }
            // Whoever comes while there is none free waits in the queue of the operating system.
            let permit = Arc::clone(&free).acquire_owned().await;
            (Listener::accept(&mut listener).await, permit)
        };
        let ((stream, address), permit): ((_, SocketAddr), _) = tokio::select! {
            biased;
            () = app.stopping.cancelled() => return,
            next = next => next,
        };
        let peer = address.ip().to_canonical();
        let proxy = app.config.http.trusted_proxies.iter().any(|network| network.contains(&peer));
        let place = (!proxy).then(|| places.take(peer)).transpose();
        let Ok(place) = place else {
            crowded.say(
                || tracing::warn!(%address, "connections are closed: there are too many from this address"),
            );
            continue;
        };
        let routes = routes.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            if !names_host(&request) {
                request.extensions_mut().insert(NoHost);
            }
            routes.call(request)
        });
        let stream = TokioIo::new(Patient::new(stream, patience, (permit, place, Open::new())));
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

    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn serving(app: &App) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        app.spawn(serve(listener, app.clone(), PrometheusBuilder::new().build_recorder().handle()).unwrap());
        address
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        stream
    }

    /// The first words of an answer, all of which is read.
    async fn status(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8_lossy(&answer[..12]).into_owned()
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_not_waited_for_and_stopping_ends_what_idles() {
        let (app, _dir) = open(|config| {
            config.http.header_seconds = 1;
            config.http.body_seconds = 1;
        })
        .await;
        let address = serving(&app).await;
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
        idle.write_all(REQUEST).await.unwrap();
        let mut answer = vec![0; 12];
        idle.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200");
        app.drain().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn the_head_of_a_request_is_bounded_and_a_connection_may_idle_for_so_long() {
        let (app, _dir) = open(|config| config.http.header_seconds = 1).await;
        let address = serving(&app).await;
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
        // What is read at once before it is looked at may be more than the limit.
        let large = status("/healthz", &format!("x: {}\r\n", "x".repeat(8_000_000))).await;
        assert!(["431", ""].contains(&&*large), "{large}");
        app.drain().await;
    }

    #[tokio::test]
    async fn whoever_takes_nothing_of_an_answer_is_cut_off() {
        let (app, _dir) = open(|config| config.http.write_seconds = 1).await;
        let address = serving(&app).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = REQUEST.repeat(1_000);
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

    #[tokio::test]
    async fn so_many_connections_are_taken_and_others_wait() {
        let (app, _dir) = open(|config| config.http.connections = 1).await;
        let address = serving(&app).await;
        let mut first = ask(address).await;
        assert_eq!(status(&mut first).await, "HTTP/1.1 200");
        let mut second = ask(address).await;
        // Both are asked again; whoever is taken answers.
        first.write_all(REQUEST).await.unwrap();
        assert_eq!(status(&mut first).await, "HTTP/1.1 200");
        assert!(futures_util::poll!(pin!(second.read_u8())).is_pending());
        drop(first);
        assert_eq!(status(&mut second).await, "HTTP/1.1 200");
        app.drain().await;
    }

    #[tokio::test]
    async fn an_address_has_so_many_connections_unless_it_is_a_proxys() {
        for proxies in [vec![], vec!["127.0.0.0/8".parse().unwrap()]] {
            let trusted = !proxies.is_empty();
            let (app, _dir) = open(|config| {
                config.http.address_connections = 1;
                config.http.trusted_proxies = proxies;
            })
            .await;
            let address = serving(&app).await;
            let mut first = ask(address).await;
            assert_eq!(status(&mut first).await, "HTTP/1.1 200");
            let mut second = TcpStream::connect(address).await.unwrap();
            if trusted {
                second.write_all(REQUEST).await.unwrap();
                assert_eq!(status(&mut second).await, "HTTP/1.1 200");
            } else {
                assert_eq!(second.read(&mut [0]).await.unwrap(), 0, "it is closed");
                drop(first);
                let whole = Duration::from_secs(60);
                let again = async {
                    // The end of the first is seen in its own time.
                    loop {
                        let mut third = TcpStream::connect(address).await.unwrap();
                        let mut answer = [0; 12];
                        let asked = third.write_all(REQUEST).await.is_ok();
                        if asked && third.read_exact(&mut answer).await.is_ok() {
                            return answer;
                        }
                    }
                };
                assert_eq!(&tokio::time::timeout(whole, again).await.unwrap(), b"HTTP/1.1 200");
            }
            app.drain().await;
        }
    }

    #[tokio::test]
    async fn a_request_names_its_host_once() {
        let (app, _dir) = open(|_| ()).await;
        let address = serving(&app).await;
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
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(expected) && answer.contains("x-request-id: r-1"), "{head} {answer}");
            if expected.ends_with("400") {
                assert!(answer.contains("\"HOST\"") && answer.contains("\"tracking\":\"r-1\""), "{answer}");
                assert_eq!(answer.contains("\"success\":false"), target != "/healthz", "{answer}");
            }
        }
        app.drain().await;
    }
}

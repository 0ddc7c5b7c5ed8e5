//! Tests of the protocol frame by frame, with a minimal schema.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Object, Request, Schema, Subscription};
use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn;
use axum::routing::any;
use futures_util::stream::BoxStream;
use futures_util::{SinkExt, Stream, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use crate::graphql::guard::Limits;
use crate::http::layout::DataLayout;
use crate::http::{EncodedResponse, Parameters};

mod closing;
mod running;

/// State that tests observe and control.
struct Probe {
    /// Receives a permit for each dropped subscription.
    dropped: Semaphore,
    /// A permit lets one slow `init` continue.
    admit: Semaphore,
    produced: AtomicUsize,
    credential: CancellationToken,
}

struct OnDrop(Arc<Probe>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.dropped.add_permits(1);
    }
}

struct Queries;

#[Object]
impl Queries {
    async fn one(&self) -> i32 {
        1
    }
    async fn fails(&self) -> Result<i32, async_graphql::Error> {
        Err(async_graphql::Error::new("no luck"))
    }
    async fn perhaps(&self) -> Option<Result<i32, async_graphql::Error>> {
        Some(Err(async_graphql::Error::new("no luck")))
    }
    async fn tracking(&self) -> String {
        tracking::current()
    }
    async fn panics(&self, message: Option<String>) -> i32 {
        message.map_or_else(|| panic!("test panic"), |_| 1)
    }
}

struct Mutations(Arc<Probe>);

#[Object]
impl Mutations {
    async fn bump(&self) -> usize {
        self.0.produced.fetch_add(1, Ordering::SeqCst) + 1
    }
}

struct Subscriptions(Arc<Probe>);

#[Subscription]
impl Subscriptions {
    async fn count(&self, to: i32) -> impl Stream<Item = i32> {
        futures_util::stream::iter(1..=to)
    }
    /// Sends one item and then waits forever.
    async fn wait(&self) -> impl Stream<Item = i32> {
        let on_drop = OnDrop(Arc::clone(&self.0));
        futures_util::stream::iter([0]).chain(futures_util::stream::pending()).inspect(move |_| {
            let _held = &on_drop;
        })
    }
    async fn flood(&self, bytes: usize) -> impl Stream<Item = String> {
        let probe = Arc::clone(&self.0);
        let on_drop = OnDrop(Arc::clone(&self.0));
        futures_util::stream::repeat_with(move || {
            let _held = &on_drop;
            probe.produced.fetch_add(1, Ordering::SeqCst);
            "x".repeat(bytes)
        })
    }
    async fn refuses(&self) -> Result<futures_util::stream::Empty<i32>, async_graphql::Error> {
        Err(async_graphql::Error::new("not for you"))
    }
}

type TestSchema = Schema<Queries, Mutations, Subscriptions>;

#[derive(Clone)]
struct TestOperations {
    schema: TestSchema,
    probe: Arc<Probe>,
}

impl Operations for TestOperations {
    type Session = ();

    async fn init(&self, payload: Value) -> Result<(), InitRefusal> {
        match payload["as"].as_str() {
            None | Some("ada") => Ok(()),
            Some("slow") => {
                self.probe.admit.acquire().await.map_err(|_| InitRefusal::Internal)?.forget();
                Ok(())
            }
            Some("nobody") => Err(InitRefusal::Forbidden(String::new())),
            Some("down") => Err(InitRefusal::Unavailable("Try again shortly".into())),
            Some("broken") => Err(InitRefusal::Internal),
            Some(other) => Err(InitRefusal::Forbidden(other.repeat(40))),
        }
    }

    fn credential_ended(&self, (): &()) -> impl Future<Output = ()> + Send + 'static {
        self.probe.credential.clone().cancelled_owned()
    }

    fn execute(&self, (): &(), parameters: Parameters) -> BoxStream<'static, EncodedResponse> {
        let mut request = Request::new(parameters.query.unwrap_or_default()).variables(parameters.variables);
        request.operation_name = parameters.operation_name;
        let kind = if request.query.starts_with("subscription") {
            OperationType::Subscription
        } else {
            OperationType::Query
        };
        let written =
            move |answer| EncodedResponse::new(answer, kind, &DataLayout::default(), &Limits::default(), "t");
        self.schema.execute_stream(request).map(written).boxed()
    }
}

struct Server {
    address: SocketAddr,
    probe: Arc<Probe>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

async fn handler(
    upgrade: WebSocketUpgrade,
    State(state): State<(TestOperations, Settings, TaskTracker, CancellationToken)>,
) -> HttpResponse {
    let (operations, settings, tasks, stopping) = state;
    super::upgrade(upgrade, operations, settings, &tasks, stopping)
}

impl Server {
    async fn start(settings: Settings) -> Self {
        settings.check().unwrap();
        let probe = Arc::new(Probe {
            dropped: Semaphore::new(0),
            admit: Semaphore::new(0),
            produced: AtomicUsize::new(0),
            credential: CancellationToken::new(),
        });
        let schema = Schema::new(Queries, Mutations(Arc::clone(&probe)), Subscriptions(Arc::clone(&probe)));
        let operations = TestOperations { schema, probe: Arc::clone(&probe) };
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        let router = Router::new().route("/", any(handler)).with_state((
            operations,
            settings,
            tasks.clone(),
            stopping.clone(),
        ));
        let router = router.layer(from_fn(tracking::track));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Not in `tasks`, because tests wait for the connections in it.
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        Self { address, probe, tasks, stopping }
    }

    async fn handshake(&self, protocol: Option<&'static str>) -> Result<Client, Error> {
        let mut request = format!("ws://{}/", self.address).into_client_request()?;
        if let Some(protocol) = protocol {
            request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol));
        }
        request.headers_mut().insert("X-Request-Id", HeaderValue::from_static("of-the-upgrade"));
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(16_384)?;
        let (client, response) = client_async(request, socket.connect(self.address).await?).await?;
        if protocol.is_some() {
            assert_eq!(response.headers()["Sec-WebSocket-Protocol"], PROTOCOL);
        }
        Ok(Client(client))
    }

    async fn connect(&self) -> Client {
        self.handshake(Some(PROTOCOL)).await.unwrap()
    }

    async fn open(&self) -> Client {
        let mut client = self.connect().await;
        client.send(&json!({"type": "connection_init", "payload": {"as": "ada"}})).await;
        client.expect(&json!({"type": "connection_ack"})).await;
        client
    }

    /// Waits until a subscription of the probe is dropped.
    async fn wait_for_drop(&self) {
        let permit = timeout(TEST_TIMEOUT, self.probe.dropped.acquire()).await.expect("dropped in time");
        permit.unwrap().forget();
    }
}

/// Time limit of every wait in a test.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(&json!({"id": id, "type": "subscribe", "payload": {"query": query}})).await;
    }

    async fn frame(&mut self) -> Message {
        timeout(TEST_TIMEOUT, self.0.next()).await.expect("a frame in time").expect("a frame").unwrap()
    }

    /// Returns the next message that is not a ping.
    async fn message(&mut self) -> Value {
        loop {
            match self.frame().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    async fn expect(&mut self, message: &Value) {
        assert_eq!(self.message().await, *message);
    }

    async fn wait_for_close(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
                Message::Ping(_) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }

    /// Starts an operation that does not end by itself.
    async fn start_waiting(&mut self, id: &str) {
        self.subscribe(id, "subscription { wait }").await;
        self.expect(&next(id, &json!({"wait": 0}))).await;
    }

    async fn assert_works(&mut self) {
        self.subscribe("still", "{ one }").await;
        self.expect(&json!({"id": "still", "type": "next", "payload": {"data": {"one": 1}}})).await;
        self.expect(&json!({"id": "still", "type": "complete"})).await;
    }
}

fn next(id: &str, data: &Value) -> Value {
    json!({"id": id, "type": "next", "payload": {"data": data}})
}

fn complete(id: &str) -> Value {
    json!({"id": id, "type": "complete"})
}

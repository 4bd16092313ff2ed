//! Bodies that are too large, too many, too slow or packed (A43), over real sockets where the socket is the attack.

use super::{INVALID_REQUEST, refused, world};
use crate::database::{Kind, TestDatabase};
use crate::issuer::install_tls;
use crate::node::Node;
use crate::server::{ISSUER, NOW, basic_header};
use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use procura::clock::Clock;
use procura::config::{Config, ConfigSources};
use procura::domain::decision::ReasonCode;
use procura::secrets::SecretsKey;
use procura::server::{Running, start};
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer takes longer, or the test fails.
const AT_MOST: Duration = Duration::from_secs(20);

struct Listening {
    running: Running,
    _database: TestDatabase,
}

impl Listening {
    async fn start() -> Self {
        install_tls();
        let database = TestDatabase::new(Kind::Sqlite).await;
        let key = SecretsKey::generate();
        let encoded = key.to_base64();
        let environment = [
            ("PROCURA_ISSUER", ISSUER),
            ("PROCURA_SECRETS_KEY", encoded.expose_secret()),
            ("PROCURA_LISTEN", "127.0.0.1:0"),
            ("PROCURA_ADMIN_LISTEN", "127.0.0.1:0"),
            ("PROCURA_LIMITS__REQUEST_SECONDS", "2"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let sources = ConfigSources { file: None, environment, database_url: Some(database.url.clone()) };
        let config = Config::load(&sources).unwrap();
        let running = start(config, Clock::set_to(NOW), database.store.clone(), key).await.unwrap();
        Self { running, _database: database }
    }

    fn address(&self) -> SocketAddr {
        self.running.public_addr
    }

    /// What the server says to these bytes, though no more come.
    async fn says(&self, sent: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        stream.write_all(sent).await.unwrap();
        first_line(&mut stream).await
    }

    /// It still answers others.
    async fn is_well(&self) {
        assert_eq!(self.says(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await, "HTTP/1.1 200 OK");
    }
}

async fn first_line(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let read = async {
        while !seen.contains(&b'\n') {
            if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(AT_MOST, read).await.expect("an answer in time");
    String::from_utf8_lossy(&seen).lines().next().unwrap_or_default().to_owned()
}

fn head(length: usize) -> String {
    format!(
        "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// The rest never comes, so the answer shows that the server does not wait for it, nor keep it.
#[tokio::test]
async fn a43_ten_megabytes_are_refused_before_they_are_there() {
    let server = Listening::start().await;
    let sent = format!("{}{}", head(10_000_000), "a".repeat(80_000));
    assert_eq!(server.says(sent.as_bytes()).await, "HTTP/1.1 413 Payload Too Large");
    let chunk = format!("12000\r\n{}\r\n", "a".repeat(0x12000));
    let chunked = head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked") + &chunk;
    assert_eq!(server.says(chunked.as_bytes()).await, "HTTP/1.1 413 Payload Too Large");
    server.is_well().await;
    server.running.shutdown(Duration::ZERO).await;
}

/// Forty peers that send until they are stopped, in a process of its own: what it holds of them is bounded.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a43_memory_stays_flat() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let node = Node::start(&database.url, &SecretsKey::generate(), &[]);
    let flood = async || {
        let mut stream = TcpStream::connect(node.public.address).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let piece = vec![b'a'; 100_000];
        let send = async {
            writer.write_all(head(10_000_000).as_bytes()).await?;
            for _ in 0..100 {
                writer.write_all(&piece).await?;
            }
            std::io::Result::Ok(())
        };
        // It is cut off long before the end; how is a matter of luck.
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(AT_MOST, async { tokio::join!(send, reader.read_to_end(&mut answer)) }).await;
    };
    flood().await;
    let before = node.peak_memory_kilobytes();
    for _ in 0..4 {
        futures_util::future::join_all((0..10).map(|_| flood())).await;
    }
    let grown = node.peak_memory_kilobytes() - before;
    assert!(grown < 10_000, "400 MB were sent, and {grown} KB more were held");
    assert_eq!(node.public.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a43_a_million_parameters() {
    let server = Listening::start().await;
    let million = "a=&".repeat(1_000_000);
    let sent = format!("{}{}", head(million.len()), &million[..80_000]);
    assert_eq!(server.says(sent.as_bytes()).await, "HTTP/1.1 413 Payload Too Large");
    server.running.shutdown(Duration::ZERO).await;
    // As many as fit into the limit of the body.
    let world = world().await;
    let many: Vec<String> = (0..9_000).map(|number| format!("{number}=")).collect();
    let answer = world.server.raw_token(many.join("&"), Some(("assistant", world.secret("assistant")))).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::ParameterTooMany, &[world.secret("assistant")]).await;
    let answer = world.server.raw_token("&".repeat(65_000), Some(("assistant", world.secret("assistant")))).await;
    refused(&world, &answer, (400, "invalid_request"), ReasonCode::ParameterMissing, &[]).await;
}

/// A body that stops in the middle is given up in time, and meanwhile holds up nobody.
#[tokio::test]
async fn a43_a_slow_body() {
    let server = Listening::start().await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(format!("{}grant_type=", head(100)).as_bytes()).await.unwrap();
        slow.push(stream);
    }
    server.is_well().await;
    for stream in &mut slow {
        assert_eq!(first_line(stream).await, "HTTP/1.1 408 Request Timeout");
    }
    server.is_well().await;
    server.running.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a43_a_slow_or_endless_head() {
    let server = Listening::start().await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(b"POST /token HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
        slow.push(stream);
    }
    server.is_well().await;
    let endless = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}", "a".repeat(20_000));
    assert_eq!(server.says(endless.as_bytes()).await, "HTTP/1.1 431 Request Header Fields Too Large");
    let many = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert_eq!(server.says(many.as_bytes()).await, "HTTP/1.1 431 Request Header Fields Too Large");
    drop(slow);
    server.running.shutdown(Duration::ZERO).await;
}

/// `grant_type=client_credentials&x=aaaa...` (60,000 times), packed: unpacked it would be granted.
const BOMB: &str = "H4sIAAAAAAACA+3GQQqAIBRAwdt0C88SH5MQJMJc2O3zGC1mNu+dPa6xj/cuKbda1udejtUa7dlmCgAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAICf+QC6VJ4DgOoAAA==";

#[tokio::test]
async fn a43_a_packed_body_is_not_unpacked() {
    let world = world().await;
    let packed = STANDARD.decode(BOMB).unwrap();
    for encoding in ["gzip", "deflate", "identity"] {
        let request = Request::post("/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("content-encoding", encoding)
            .header("authorization", basic_header("worker", world.secret("worker")));
        let answer = world.server.send(request.body(Body::from(packed.clone())).unwrap()).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        refused(&world, &answer, INVALID_REQUEST, ReasonCode::ParameterInvalid, &[world.secret("worker")]).await;
    }
}

#[tokio::test]
async fn a43_deeply_nested_json() {
    let world = world().await;
    let deep = "[".repeat(60_000);
    let register = async |body: String| {
        let request = Request::post("/register").header("content-type", "application/json").body(Body::from(body));
        world.server.send(request.unwrap()).await.status
    };
    assert_eq!(register(deep.clone()).await, 413);
    assert_eq!(register("[".repeat(16_000)).await, 400);
    assert_eq!(register(r#"{"a":"#.repeat(3_000)).await, 400);
    let request = Request::post("/token").header("content-type", "application/json").body(Body::from(deep));
    let answer = world.server.send(request.unwrap()).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::NotAForm, &[]).await;
}

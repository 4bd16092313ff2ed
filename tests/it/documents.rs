//! A web server on loopback that has documents of clients, or does what a bad one would. It counts connections, so that
//! a test can show that there was none.

use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is answered under a path.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A whole answer, head and body.
    Bytes(Vec<u8>),
    /// A good head, and then a body that goes on and on.
    WithoutEnd,
    /// Nothing at all.
    Silence,
}

/// The server. It stops when it is dropped.
pub(crate) struct DocumentHost {
    pub(crate) port: u16,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    connections: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for DocumentHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DocumentHost {
    pub(crate) async fn start() -> Self {
        crate::issuer::install_tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (replies, connections): (Arc<Mutex<HashMap<String, Reply>>>, Arc<AtomicU64>) = Default::default();
        let (known, counted) = (Arc::clone(&replies), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, Arc::clone(&known)));
            }
        });
        Self { port, replies, connections, task }
    }

    /// Its URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Answers with a status line, header lines and a body.
    pub(crate) fn answer(&self, path: &str, status: &str, headers: &[&str], body: &[u8]) {
        let headers: String = headers.iter().flat_map(|line| [*line, "\r\n"]).collect();
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.reply(path, Reply::Bytes([head.as_bytes(), body].concat()));
    }

    /// A good answer with this document, for an hour.
    pub(crate) fn document(&self, path: &str, document: &Value) {
        let headers = ["Content-Type: application/json", "Cache-Control: max-age=3600"];
        self.answer(path, "200 OK", &headers, document.to_string().as_bytes());
    }
}

async fn answer(mut stream: TcpStream, replies: Arc<Mutex<HashMap<String, Reply>>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    let path = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap_or_default().to_owned();
    let reply = replies.lock().unwrap().get(&path).cloned();
    match reply {
        Some(Reply::Bytes(bytes)) => {
            let _ = stream.write_all(&bytes).await;
        }
        Some(Reply::WithoutEnd) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            // One byte at a time, so that it is the time that ends it.
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
            while stream.write_all(b"1\r\n \r\n").await.is_ok() {
                ticks.tick().await;
            }
        }
        Some(Reply::Silence) => {
            let _ = stream.read(&mut [0; 1]).await;
        }
        None => {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        }
    }
}

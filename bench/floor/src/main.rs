//! A bare axum server, to tell what HTTP alone costs: `POST /token` reads the body and answers a constant of the size of
//! a token, `GET /` answers a constant. The argument is the address to listen on.

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8430".to_owned());
    let router = Router::new().route("/token", post(token)).route("/", get(root));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await
}

async fn token(body: Bytes) -> impl IntoResponse {
    // As long as an answer with a delegation token; the body has been read as a whole.
    (JSON, format!(r#"{{"access_token":"{:a>900}","expires_in":{}}}"#, "", body.len()))
}

async fn root() -> impl IntoResponse {
    (JSON, r#"{"status":"alive"}"#)
}

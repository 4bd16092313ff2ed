//! A backend for health records on axum. It knows two things of Procura: the issuer, and its own URL (the audience).

#![expect(clippy::print_stdout, reason = "its log is what a program like this prints")]

mod records;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use procura::verify::{Caller, CallerExt, Refused, Verifier};
use records::{Record, Records};
use serde::Deserialize;
use serde_json::{Value, json};
use std::error::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const SCOPES: [&str; 2] = ["records.read", "records.write"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = setting("ISSUER", "http://127.0.0.1:8420");
    let url = setting("URL", "http://127.0.0.1:8814/api");
    let records = Records::new(&setting("DATABASE_URL", "postgres://records_app@127.0.0.1:5432/records"))?;

    let uri: Uri = url.parse()?;
    let authority = uri.authority().ok_or("URL has no host")?.as_str();
    let metadata_path = format!("/.well-known/oauth-protected-resource{}", uri.path());
    let verifier = Verifier::builder(&issuer, &url)
        .resource_metadata(&format!("{}://{authority}{metadata_path}", uri.scheme_str().unwrap_or("http")))
        .challenge_scopes(&["records.read"])
        .build()?;
    if let Err(problem) = verifier.prefetch().await {
        eprintln!("tokens are answered 503 until the keys can be had: {problem}");
    }

    // No request comes past the layer without a Caller. Which scopes it needs, each handler says.
    let api = Router::new()
        .route("/records", get(list).post(add))
        .layer(middleware::from_fn(log))
        .layer(verifier.layer())
        .layer(middleware::from_fn(log_refusal))
        .with_state(records.clone());
    let metadata = json!({
        "resource": url,
        "resource_name": "Health records",
        "authorization_servers": [issuer],
        "scopes_supported": SCOPES,
        "bearer_methods_supported": ["header"],
    });
    let app = Router::new().nest(uri.path(), api).route(&metadata_path, get(async move || Json(metadata)));

    records.check().await?;
    let listener = TcpListener::bind(authority).await?;
    println!("listening: {url}");
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async move { terminated.recv().await.unwrap_or_default() })
        .await?;
    Ok(())
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// There is no `WHERE` for the user: the database leaves the others' rows out.
async fn list(State(records): State<Records>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.require(&["records.read"])?;
    let mut transaction = records.of(&caller).await?;
    let rows = transaction.rows("SELECT id, note, written_by FROM health_record ORDER BY id", &[]).await?;
    transaction.commit().await?;
    Ok(shown(&caller, &rows))
}

#[derive(Deserialize)]
struct Note {
    note: String,
}

async fn add(
    State(records): State<Records>,
    caller: Caller,
    note: Result<Json<Note>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.require(&SCOPES)?;
    let Ok(Json(Note { note })) = note else { return Err(Problem::Note) };
    // PostgreSQL has no U+0000 in a text.
    if !(1..=1000).contains(&note.chars().count()) || note.contains('\0') {
        return Err(Problem::Note);
    }
    let mut transaction = records.of(&caller).await?;
    let text = "INSERT INTO health_record (note) VALUES ($1) RETURNING id, note, written_by";
    let rows = transaction.rows(text, &[&note]).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, shown(&caller, &rows)))
}

fn shown(caller: &Caller, rows: &[Record]) -> Json<Value> {
    let by = caller.agent.as_ref().map(|agent| &agent.sub);
    Json(json!({"for": caller.user.sub, "by": by, "records": rows}))
}

/// One line a call: whose token, and for what. Never the token.
async fn log(request: Request, next: Next) -> Response {
    let access = request.caller().map(|caller| {
        json!({
            "method": request.method().as_str(),
            "path": request.uri().path(),
            "jti": caller.token_id,
            "sub": caller.user.sub,
            "act": caller.agent.as_ref().map(|agent| &agent.sub),
            "grant_id": caller.grant_id,
            "txn": caller.txn,
        })
    });
    let response = next.run(request).await;
    println!("{} {}", response.status().as_u16(), access.unwrap_or_default());
    response
}

/// Why the layer let a call not through. The caller does not hear it.
async fn log_refusal(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(refused) = response.extensions().get::<Refused>() {
        println!("{} {refused}", response.status().as_u16());
    }
    response
}

/// Why there are no rows.
enum Problem {
    Refused(Refused),
    Note,
    Database(sqlx::Error),
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Refused(refused) => return refused.into_response(),
            Self::Note => (StatusCode::BAD_REQUEST, "note: 1 to 1000 characters are needed, and U+0000 is none"),
            Self::Database(error) => {
                eprintln!("{error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error")
            }
        };
        (status, Json(json!({"error": error}))).into_response()
    }
}

//! `procura inspect`.

use super::registry::find;
use super::{CliError, Context, output};
use crate::app::Memory;
use crate::clock::Clock;
use crate::grants::inspection::{Against, Finding, Inspection, indented, inspect};
use crate::tokens::offline::Outcome;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The token; `-` reads it from standard input, which keeps it out of the shell's history.
    #[arg(value_name = "TOKEN")]
    token: String,
    /// The issuer that the token should be from; that of the configuration if there is one.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The backend that the token should be for: its audience, or its id if there is a database.
    #[arg(long, value_name = "URI")]
    audience: Option<String>,
    /// A file with the issuer's JWKS; then neither configuration nor database is looked at.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

/// A token in words, with every check a verifier would make, and what to do about each that fails. The token is not sent
/// anywhere.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let token = read_token(&args.token)?;
    let now = Clock::System.now();
    let own = match &args.jwks {
        Some(_) => Own::default(),
        None => own(context, now).await?,
    };
    let jwks = args.jwks.as_deref().map(read_file).transpose()?.or(own.jwks);
    let issuer = args.issuer.or(own.issuer);
    let against = Against { issuer: issuer.as_deref(), audience: args.audience.as_deref(), jwks: jwks.as_deref() };
    let known = own.memory.as_ref().map(Memory::remembered);
    if let (Some(known), Some(audience)) = (known, args.audience.as_deref().filter(|name| !name.contains(':'))) {
        let resources: Vec<_> = known.snapshot.registry.resources().collect();
        find("resource", audience, &resources, |resource| resource.id.as_str())?;
    }
    let inspection = inspect(&token, against, known, now).await;
    if let Some(memory) = own.memory {
        memory.close().await;
    }
    let inspection = inspection.map_err(|problem| CliError::new(problem.to_string()))?;
    if context.json {
        let mut value = json!(inspection);
        if let Some(members) = value.as_object_mut() {
            members.insert("verdict".to_owned(), json!(inspection.verdict()));
        }
        output::json(&value);
    } else {
        print(&inspection);
    }
    if !context.json && inspection.failed().is_empty() {
        output::text("");
        output::text(&inspection.verdict());
    }
    if inspection.failed().is_empty() { Ok(()) } else { Err(CliError::new(inspection.verdict())) }
}

fn read_token(argument: &str) -> Result<String, CliError> {
    if argument != "-" {
        return Ok(argument.trim().to_owned());
    }
    let mut text = String::new();
    std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn read_file(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|problem| CliError::new(format!("{}: {problem}", path.display())))
}

/// What this machine knows.
#[derive(Debug, Default)]
struct Own {
    issuer: Option<String>,
    jwks: Option<String>,
    memory: Option<Memory>,
}

/// Our issuer, published keys and registry, if there are a configuration and a database. Public keys only: nothing is
/// unsealed.
async fn own(context: &Context, now: i64) -> Result<Own, CliError> {
    let sources = &context.sources;
    if sources.file.is_none() && sources.environment.is_empty() && sources.database_url.is_none() {
        return Ok(Own::default());
    }
    let config = context.config_to_read()?;
    // Looking at a token must not make a database.
    let file = config.database_url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
    if file.is_some_and(|path| !Path::new(path.split('?').next().unwrap_or(path)).exists()) {
        return Ok(Own { issuer: Some(config.issuer), ..Own::default() });
    }
    let store = context.store_to_read(&config).await?;
    let keys = store.list_signing_keys().await?;
    let published = keys.iter().filter(|key| key.is_published(now));
    let keys: Vec<Value> = published.filter_map(|key| serde_json::from_str(&key.public_jwk).ok()).collect();
    let memory = Memory::read(store, &config, now).await.map_err(|problem| CliError::new(problem.to_string()))?;
    Ok(Own { issuer: Some(config.issuer), jwks: Some(json!({ "keys": keys }).to_string()), memory: Some(memory) })
}

fn print(inspection: &Inspection) {
    output::text(&inspection.summary);
    output::text("");
    for part in [&inspection.header, &inspection.claims] {
        if !part.is_empty() {
            output::text(&indented(part));
        }
    }
    output::text("");
    let rows: Vec<Vec<String>> = inspection.checks.iter().flat_map(rows).collect();
    output::table(&rows);
    if let Some(who) = &inspection.who {
        output::text("");
        output::text(&format!("who got it, and how: {who}"));
    }
}

fn rows(check: &Finding) -> Vec<Vec<String>> {
    let outcome = match check.outcome {
        Outcome::Pass => "PASS",
        Outcome::Fail => "FAIL",
        Outcome::NotChecked => "not checked",
    };
    let told = vec![outcome.to_owned(), check.name.to_owned(), check.detail.clone()];
    let fix = check.fix.as_ref().map(|fix| vec![String::new(), String::new(), format!("to do: {fix}")]);
    std::iter::once(told).chain(fix).collect()
}

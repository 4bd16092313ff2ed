//! `procura inspect`.

use super::{CliError, Context, output};
use crate::clock::Clock;
use crate::domain::delegation::ActChain;
use crate::tokens::offline::{Check, Examination, Expectations, Outcome, in_words};
use serde_json::{Map, Value, json};
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
    /// The backend that the token should be for.
    #[arg(long, value_name = "URI")]
    audience: Option<String>,
    /// A file with the issuer's JWKS; the keys in the database if there is one.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
}

/// A token in words, with every check a verifier would make. The token is not sent anywhere.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let token = read_token(&args.token)?;
    let now = Clock::System.now();
    let (own_issuer, own_jwks) = match &args.jwks {
        Some(_) => (None, None),
        None => own_keys(context, now).await?,
    };
    let jwks = args.jwks.as_deref().map(read_file).transpose()?.or(own_jwks);
    let issuer = args.issuer.or(own_issuer);
    let expectations =
        Expectations::new(issuer.as_deref(), args.audience.as_deref(), jwks.as_deref()).map_err(CliError::new)?;
    let examination = expectations.examine(&token, now);
    let sentence = sentence(&examination.claims, now);
    if context.json {
        output::json(&json!({
            "summary": sentence,
            "header": examination.header,
            "claims": examination.claims,
            "checks": examination.checks,
        }));
    } else {
        print(&examination, &sentence);
    }
    let failed: Vec<&str> =
        examination.checks.iter().filter(|check| check.outcome == Outcome::Fail).map(|check| check.name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!("a verifier would refuse this token: {}", failed.join(", "))))
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

/// Our issuer and published keys, if there are a configuration and a database. Public keys only: nothing is unsealed.
async fn own_keys(context: &Context, now: i64) -> Result<(Option<String>, Option<String>), CliError> {
    let sources = &context.sources;
    if sources.file.is_none() && sources.environment.is_empty() && sources.database_url.is_none() {
        return Ok((None, None));
    }
    let config = context.config()?;
    // Looking at a token must not make a database.
    let file = config.database_url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
    if file.is_some_and(|path| !Path::new(path.split('?').next().unwrap_or(path)).exists()) {
        return Ok((Some(config.issuer), None));
    }
    let keys = context.store(&config).await?.list_signing_keys().await?;
    let published = keys.iter().filter(|key| key.is_published(now));
    let keys: Vec<Value> = published.filter_map(|key| serde_json::from_str(&key.public_jwk).ok()).collect();
    Ok((Some(config.issuer), Some(json!({ "keys": keys }).to_string())))
}

fn print(examination: &Examination, sentence: &str) {
    output::text(&printable(sentence));
    output::text("");
    for part in [&examination.header, &examination.claims] {
        if !part.is_empty() {
            output::text(&printable(&serde_json::to_string_pretty(part).unwrap_or_default()));
        }
    }
    output::text("");
    let rows: Vec<Vec<String>> = examination.checks.iter().map(row).collect();
    output::table(&rows);
}

fn row(check: &Check) -> Vec<String> {
    let outcome = match check.outcome {
        Outcome::Pass => "PASS",
        Outcome::Fail => "FAIL",
        Outcome::NotChecked => "not checked",
    };
    vec![outcome.to_owned(), check.name.to_owned(), printable(&check.detail)]
}

/// A token is foreign text: what could steer a terminal, or turn the direction of writing, is spelled out.
fn printable(text: &str) -> String {
    let is_plain = |c: char| {
        c == '\n'
            || !(c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            plain.push(c);
        } else {
            plain.extend(c.escape_unicode());
        }
    }
    plain
}

/// `assistant acting for corp|alice at https://records.example.com, may records.read, 4 min left`.
fn sentence(claims: &Map<String, Value>, now: i64) -> String {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let subject = text("sub").unwrap_or("nobody");
    let chain = claims.get("act").and_then(|act| ActChain::parse(act, ActChain::MAX_DEPTH).ok());
    let who = match &chain {
        Some(chain) => {
            let names: Vec<&str> = chain.actors().iter().map(|actor| actor.sub.as_str()).collect();
            format!("{} acting for {subject}", names.join(", asked by "))
        }
        None => format!("{subject} speaking for itself"),
    };
    let place = text("aud").map(|audience| format!(" at {audience}")).unwrap_or_default();
    let scope = match text("scope").filter(|scope| !scope.is_empty()) {
        Some(scope) => format!("may {}", scope.replace(' ', " and ")),
        None => "with no scope".to_owned(),
    };
    let end = match claims.get("exp").and_then(Value::as_i64).map(|expires_at| expires_at.saturating_sub(now)) {
        Some(left) if left > 0 => format!("{} left", in_words(left)),
        Some(left) => format!("ended {} ago", in_words(left.saturating_neg())),
        None => "without an end".to_owned(),
    };
    format!("{who}{place}, {scope}, {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_in_one_sentence() {
        let claims = json!({
            "sub": "corp|alice", "aud": "https://records.example.com/api", "scope": "records.delete records.read", "exp": 1300,
            "act": {"sub": "records-backend", "act": {"sub": "assistant"}},
        });
        assert_eq!(
            sentence(claims.as_object().unwrap(), 1000),
            "records-backend, asked by assistant acting for corp|alice at https://records.example.com/api, may \
             records.delete and records.read, 5 min left",
        );
        assert_eq!(sentence(&Map::new(), 0), "nobody speaking for itself, with no scope, without an end");
    }

    #[test]
    fn a_claim_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31m\u{9b}\u{202e}b\nc"), "a\\u{1b}[31m\\u{9b}\\u{202e}b\nc");
    }
}

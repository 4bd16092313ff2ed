//! `procura audit export`.

use super::evidence::Evidence;
use crate::audit::export::{End, Signing};
use crate::audit::words::count;
use crate::cli::{CliError, Context, output};
use crate::store::EventFilter;
use crate::tokens::checkpoint::{EXPORT_TYP, sign};
use serde_json::Value;
use std::io::BufWriter;

/// Write events with what proves them, to stdout.
pub(super) async fn run(context: &Context, filter: EventFilter) -> Result<(), CliError> {
    let evidence = Evidence::open(context).await?;
    let sign_checkpoint = |checkpoint: &_| evidence.sign(checkpoint);
    let sign_end =
        |end: &End| sign(&evidence.signing, EXPORT_TYP, end, evidence.now()).map_err(|problem| problem.to_string());
    let jwk = |kid: &str| evidence.keys.jwk(kid).cloned().map(Value::Object);
    let signing = Signing { sign: &sign_end, kid: evidence.kid()?, jwk: &jwk };
    let mut out = BufWriter::new(std::io::stdout());
    let exported = evidence.notary(&sign_checkpoint).export(&filter, &signing, evidence.now(), &mut out).await;
    let exported = exported.map_err(|problem| CliError::new(problem.to_string()))?;
    let (events, checkpoints) = (count(exported.events, "event"), count(exported.checkpoints, "checkpoint"));
    output::note(&format!("{events}, proven by {checkpoints}; check it with: procura audit verify FILE"));
    Ok(())
}

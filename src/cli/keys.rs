//! `procura keys`.

use super::{CliError, Context, output};
use crate::audit::words::{distance, length, moment};
use crate::clock::Clock;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};
use crate::domain::resource::SigningAlgorithm;
use crate::domain::signing_key::SigningKeyRecord;
use crate::secrets::random_id;
use crate::tokens::signing_keys::{self, Rotation};
use serde_json::{Value, json};

/// How long backends may keep the JWKS: the `max-age` it is sent with.
const JWKS_MAX_AGE_SECONDS: u64 = 300;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List signing keys with their phases, removed ones too.
    List,
    /// Add a new key; the earlier ones go when no token of theirs can be alive.
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// Only keys of this algorithm: ES256, EdDSA, RS256 or PS256. By default every algorithm that has a key.
    #[arg(long, value_name = "ALG", value_parser = algorithm)]
    algorithm: Option<SigningAlgorithm>,
    /// A key has leaked: the new key signs at once, and earlier ones are removed at once, with every token they signed.
    #[arg(long)]
    emergency: bool,
}

fn algorithm(text: &str) -> Result<SigningAlgorithm, String> {
    SigningAlgorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let names: Vec<&str> = SigningAlgorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// List and rotate signing keys.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    match args.action {
        Action::List => list(context).await,
        Action::Rotate(args) => rotate(context, args).await,
    }
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Published,
    Signing,
    Retiring,
    Removed,
}

impl Phase {
    fn of(record: &SigningKeyRecord, records: &[SigningKeyRecord], now: i64) -> Self {
        let followed = |other: &SigningKeyRecord| {
            other.algorithm == record.algorithm && other.generation > record.generation && other.may_sign(now)
        };
        if record.removed_at.is_some_and(|end| end <= now) {
            Self::Removed
        } else if !record.may_sign(now) {
            Self::Published
        } else if records.iter().any(followed) {
            Self::Retiring
        } else {
            Self::Signing
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Retiring => "retiring",
            Self::Removed => "removed",
        }
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let store = context.store_to_read(&context.config_to_read()?).await?;
    let records = store.list_signing_keys().await?;
    let now = Clock::System.now();
    if context.json {
        let keys: Vec<Value> = records.iter().map(|record| described(record, &records, now)).collect();
        output::json(&keys);
    } else if records.is_empty() {
        output::note("no signing key yet: procura serve makes the first ones");
    } else {
        let head = ["KID", "ALGORITHM", "PHASE", "PUBLISHED", "SIGNS FROM", "REMOVED"];
        let row = |record: &SigningKeyRecord| {
            vec![
                record.kid.clone(),
                record.algorithm.as_str().to_owned(),
                Phase::of(record, &records, now).as_str().to_owned(),
                moment(record.published_at),
                moment(record.signs_from),
                record.removed_at.map_or_else(|| "-".to_owned(), moment),
            ]
        };
        let rows: Vec<Vec<String>> =
            std::iter::once(head.map(str::to_owned).to_vec()).chain(records.iter().map(row)).collect();
        output::table(&rows);
    }
    Ok(())
}

/// A key for machines; nothing of its private half.
fn described(record: &SigningKeyRecord, records: &[SigningKeyRecord], now: i64) -> Value {
    json!({
        "kid": record.kid,
        "algorithm": record.algorithm.as_str(),
        "generation": record.generation,
        "phase": Phase::of(record, records, now).as_str(),
        "published_at": record.published_at,
        "signs_from": record.signs_from,
        "removed_at": record.removed_at,
    })
}

async fn rotate(context: &Context, args: RotateArgs) -> Result<(), CliError> {
    let config = context.config()?;
    let store = context.store(&config).await?;
    let secrets_key = super::secrets_key(&config, &store).await?;
    let records = store.list_signing_keys().await?;
    let now_ms = Clock::System.now_ms();
    let now = now_ms.div_euclid(1000);

    let mut rotations = Vec::new();
    for algorithm in algorithms(args.algorithm, &records, now) {
        let wait = config.keys.publish_before_use_seconds;
        let rotation = signing_keys::rotate(&records, algorithm, wait, args.emergency, &secrets_key, now)
            .map_err(|problem| CliError::new(problem.to_string()))?;
        let event = event(&rotation, args.emergency, now_ms);
        if !store.add_signing_key(&rotation.key, &rotation.removals, event).await? {
            return Err(CliError::new(format!(
                "{} keys were rotated by someone else at the same moment; procura keys list shows what there is now",
                algorithm.as_str()
            )));
        }
        if !context.json {
            output::text(&announcement(&rotation, args.emergency, now));
        }
        rotations.push(rotation);
    }
    if context.json {
        let records = store.list_signing_keys().await?;
        let made: Vec<Value> = records
            .iter()
            .filter(|record| rotations.iter().any(|rotation| concerns(rotation, record)))
            .map(|record| described(record, &records, now))
            .collect();
        output::json(&made);
    }
    Ok(())
}

/// The one asked for, else all that have a live key, else the default.
fn algorithms(asked: Option<SigningAlgorithm>, records: &[SigningKeyRecord], now: i64) -> Vec<SigningAlgorithm> {
    if let Some(algorithm) = asked {
        return vec![algorithm];
    }
    let has_key = |algorithm: &SigningAlgorithm| {
        records.iter().any(|record| record.algorithm == *algorithm && record.is_published(now))
    };
    let in_use: Vec<SigningAlgorithm> = SigningAlgorithm::ALL.into_iter().filter(has_key).collect();
    if in_use.is_empty() { vec![SigningAlgorithm::default()] } else { in_use }
}

fn concerns(rotation: &Rotation, record: &SigningKeyRecord) -> bool {
    rotation.key.kid == record.kid || rotation.removals.iter().any(|(kid, _)| *kid == record.kid)
}

fn event(rotation: &Rotation, emergency: bool, now_ms: i64) -> AuditEvent {
    let reason = if emergency { "signing_key_replaced" } else { "signing_key_rotated" };
    let mut event = AuditEvent::new(now_ms, random_id("adm"), EventKind::Administration, EventOutcome::Done, reason);
    let removals: Vec<String> =
        rotation.removals.iter().map(|(kid, at)| format!("{kid} is removed at {}", moment(*at))).collect();
    let key = &rotation.key;
    event.detail = Some(format!(
        "new {} key, generation {}, signs from {}; {}",
        key.algorithm.as_str(),
        key.generation,
        moment(key.signs_from),
        if removals.is_empty() { "no earlier key".to_owned() } else { removals.join(", ") }
    ));
    event.kid = Some(key.kid.clone());
    event
}

/// What was done, and in an emergency what it breaks and for how long.
fn announcement(rotation: &Rotation, emergency: bool, now: i64) -> String {
    let key = &rotation.key;
    let mut lines = vec![format!(
        "new {} key {}: published now, signs from {} ({})",
        key.algorithm.as_str(),
        key.kid,
        moment(key.signs_from),
        distance(key.signs_from, now)
    )];
    for (kid, at) in &rotation.removals {
        lines.push(format!("earlier key {kid}: removed at {} ({})", moment(*at), distance(*at, now)));
    }
    if emergency && !rotation.removals.is_empty() {
        let cache = length(JWKS_MAX_AGE_SECONDS);
        lines.extend([
            String::new(),
            "What breaks, and for how long:".to_owned(),
            "- Every token signed by a removed key is dead. This server refuses it as a subject or actor token within \
             seconds; clients must get new ones."
                .to_owned(),
            format!(
                "- A backend accepts such tokens until it fetches the JWKS again: {cache} at most, if it keeps to the \
                 max-age the JWKS is sent with, and never beyond the end of the token. To be sure sooner, restart the \
                 backends or empty their key caches."
            ),
            format!(
                "- A backend that does not fetch the JWKS when it meets an unknown kid refuses new tokens for as long: \
                 {cache} at most."
            ),
        ]);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

    fn key(kid: &str, generation: i64, signs_from: i64, removed_at: Option<i64>) -> SigningKeyRecord {
        SigningKeyRecord {
            kid: kid.to_owned(),
            algorithm: SigningAlgorithm::ES256,
            generation,
            public_jwk: "{}".to_owned(),
            sealed_private_jwk: "sealed".to_owned(),
            published_at: signs_from - 900,
            signs_from,
            removed_at,
        }
    }

    #[test]
    fn a_key_is_in_the_phase_that_its_times_and_its_successors_say() {
        let records = [
            key("gone", 1, NOW - 9_000, Some(NOW)),
            key("old", 2, NOW - 6_000, Some(NOW + 60)),
            key("current", 3, NOW, None),
            key("next", 4, NOW + 60, None),
        ];
        let phases: Vec<_> = records.iter().map(|record| Phase::of(record, &records, NOW).as_str()).collect();
        assert_eq!(phases, ["removed", "retiring", "signing", "published"]);
    }

    #[test]
    fn a_key_of_another_algorithm_does_not_retire_this_one() {
        let mut other = key("other", 2, NOW, None);
        other.algorithm = SigningAlgorithm::EdDSA;
        let records = [key("mine", 1, NOW, None), other];
        assert_eq!(Phase::of(&records[0], &records, NOW), Phase::Signing);
    }

    #[test]
    fn without_an_algorithm_every_one_that_has_a_live_key_is_rotated() {
        let mut dead = key("dead", 1, NOW - 9_000, Some(NOW - 1));
        dead.algorithm = SigningAlgorithm::RS256;
        assert_eq!(algorithms(None, &[key("k", 1, NOW, None), dead], NOW), [SigningAlgorithm::ES256]);
        assert_eq!(algorithms(None, &[], NOW), [SigningAlgorithm::ES256]);
        assert_eq!(algorithms(Some(SigningAlgorithm::PS256), &[], NOW), [SigningAlgorithm::PS256]);
    }

    #[test]
    fn an_emergency_says_what_breaks_and_for_how_long() {
        let rotation = Rotation { key: key("new", 2, NOW, None), removals: vec![("leaked".to_owned(), NOW)] };
        let text = announcement(&rotation, true, NOW);
        assert!(text.contains("earlier key leaked: removed at 2026-01-01T00:00:00Z (now)"), "{text}");
        assert!(text.contains("What breaks") && text.contains("5 minutes at most"), "{text}");
        assert!(!announcement(&rotation, false, NOW).contains("What breaks"));
        let event = event(&rotation, true, NOW * 1000);
        assert_eq!((event.reason.as_str(), event.kid.as_deref()), ("signing_key_replaced", Some("new")));
        assert!(!serde_json::to_string(&event).unwrap().contains("sealed"));
    }
}

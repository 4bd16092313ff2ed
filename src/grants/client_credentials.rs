//! Client credentials (RFC 6749 §4.4): a client's token of its own. No user, no `act`.

use super::event::{Asked as AskedEvent, party};
use super::request::ClientCredentialsRequest;
use super::{Caller, Failure, Issued, Received, footing, unproven};
use crate::app::App;
use crate::domain::client::GrantType;
use crate::domain::decision::{Asked, GrantedSubject, Question, decide};
use crate::domain::event::EventKind;
use crate::tokens::mint::mint;

/// Issues the token, or says why not. Either way the event is durable before this returns.
pub async fn issue(
    app: &App,
    received: &Received,
    caller: &Caller,
    request: ClientCredentialsRequest,
) -> Result<Issued, Failure> {
    let snapshot = app.snapshot();
    let keys = app.signing_keys();
    let decision = decide(&Question {
        registry: &snapshot.registry,
        policies: &snapshot.policies,
        issuer: &app.config.issuer,
        max_chain_depth: app.config.tokens.max_chain_depth,
        own_token_lifetime_seconds: app.config.tokens.own_token_lifetime_seconds,
        now: received.now(),
        client: &caller.client,
        other_clients: &[],
        targets: &request.targets,
        scopes: request.scopes.as_ref(),
        asked: Asked::ClientCredentials,
    });
    let asked = AskedEvent {
        received,
        caller,
        kind: EventKind::ClientCredentials,
        scopes: request.scopes.as_ref(),
        subject: None,
        subject_party: Some(party(&GrantedSubject::Client(caller.client.client.id.clone()))),
        subject_issuer: None,
        target: request.targets.resolve(&snapshot.registry, &app.config.issuer).ok().flatten(),
        policy_hash: snapshot.policies.hash(),
    };
    let trace = decision.trace.into_lines();
    match decision.outcome {
        Ok(granted) => {
            let entry = footing::entry(app, &granted, None, received.now()).await?;
            let minted = mint(&granted, &app.config.issuer, &keys, entry.as_ref().map(|entry| entry.index))?;
            footing::record(app, asked.granted(&granted, &minted, trace), None, entry.as_ref()).await?;
            Ok(Issued {
                access_token: minted.token,
                grant: GrantType::ClientCredentials,
                issued_type: None,
                expires_in: granted.expires_at.saturating_sub(granted.issued_at),
                scope: granted.scopes,
                refresh_token: None,
                id_token: None,
            })
        }
        Err(refusal) => {
            unproven(app, received, caller)?;
            app.audit.record(asked.refused(&refusal, trace), None).await?;
            Err(Failure::Refused { refusal, consent: None })
        }
    }
}

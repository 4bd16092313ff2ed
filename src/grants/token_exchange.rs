//! Token exchange (RFC 8693): a user's token and a client's credentials for a delegation token.

use super::event::{Asked as AskedEvent, learned};
use super::request::ExchangeRequest;
use super::{Caller, ConsentLink, Failure, Issued, Received, unproven};
use super::{facts, footing};
use crate::app::{App, Snapshot};
use crate::domain::client::GrantType;
use crate::domain::decision::{
    Asked, ConsentNeeded, Decision, Delegation, Granted, Question, ReasonCode, Refusal, decide,
};
use crate::domain::event::{EventKind, EventSubject};
use crate::domain::limits::LimitState;
use crate::domain::subject::{Subject, SubjectIssuer};
use crate::store::{ConsentRequest, StoreError};
use crate::tokens::mint::mint;

/// How long a `consent_uri` leads to its page at least, in seconds.
const CONSENT_LINK_SECONDS: i64 = 600;

/// Exchanges the subject token, or says why not. Either way the event is durable before this returns.
pub async fn exchange(
    app: &App,
    received: &Received,
    caller: &Caller,
    request: ExchangeRequest,
) -> Result<Issued, Failure> {
    let now = received.now();
    let snapshot = app.snapshot();
    let keys = app.signing_keys();

    // RFC 8693 §2.1: the subject token, and the actor token if there is one.
    let verifier = app.verifier(&snapshot, &keys, now);
    let subject = verifier.subject(&request.subject_token, &request.subject_token_type).await;
    let actor = match &request.actor {
        Some((token, _)) if *token == request.subject_token => Some(Err(Refusal::new(
            ReasonCode::ActorTokenIsSubjectToken,
            "the same token was sent as subject_token and as actor_token",
        ))),
        Some((token, token_type)) => Some(verifier.actor(token, token_type).await),
        None => None,
    };

    // The decision: may this client act for this user, there, and how?
    let facts = match &subject {
        Ok(subject) => facts::about(app, &snapshot, subject, now).await?,
        Err(_) => facts::Facts::default(),
    };
    let question = |limits| Question {
        registry: &snapshot.registry,
        policies: &snapshot.policies,
        issuer: &app.config.issuer,
        max_chain_depth: app.config.tokens.max_chain_depth,
        own_token_lifetime_seconds: app.config.tokens.own_token_lifetime_seconds,
        now,
        client: &caller.client,
        other_clients: &facts.other_clients,
        targets: &request.targets,
        scopes: request.scopes.as_ref(),
        asked: Asked::Delegation(Delegation {
            grant: GrantType::TokenExchange,
            subject: subject.as_ref(),
            actor: actor.as_ref().map(Result::as_ref),
            known_user: facts.known_user.as_deref(),
            consents: &facts.consents,
            session_ended: facts.session_ended.as_deref(),
            is_ended_in_list: facts.is_ended_in_list,
            limits,
        }),
    };
    let mut decision = decide(&question(LimitState::Within));
    // Only what would be granted counts against the limits, so that a refused client can't use up a user's budget.
    if let Ok(granted) = &decision.outcome {
        let limits = app.limits.count(granted);
        if limits != LimitState::Within {
            decision = decide(&question(limits));
        }
    }
    let ends_at = subject.as_ref().map_or(now, |subject| subject.expires_at);
    let decision = refuse_second_use(app, caller, decision, ends_at).await?;

    // The token, and its event: no answer before the event is durable.
    let asked = asked_event(app, &snapshot, received, caller, &request, subject.as_ref().ok());
    let trace = decision.trace.into_lines();
    match decision.outcome {
        Ok(granted) => {
            let entry = footing::entry(app, &granted, subject.as_ref().ok(), now).await?;
            let minted = mint(&granted, &app.config.issuer, &keys, entry.as_ref().map(|entry| entry.index))?;
            let user = subject.as_ref().ok().and_then(|subject| learned(&granted, subject));
            let user = user.filter(|user| app.users.is_news(user));
            footing::record(app, asked.granted(&granted, &minted, trace), user.clone(), entry.as_ref()).await?;
            if let Some(user) = &user {
                app.users.told(user);
            }
            app.uses.count(granted.grant_id.as_deref(), now);
            Ok(Issued {
                access_token: minted.token,
                grant: GrantType::TokenExchange,
                issued_type: Some(request.requested_type),
                expires_in: granted.expires_at.saturating_sub(granted.issued_at),
                scope: granted.scopes,
                refresh_token: None,
                id_token: None,
            })
        }
        Err(refusal) => {
            let consent = if let Some(needed) = &refusal.consent {
                Some(consent_link(app, needed, now).await?)
            } else {
                unproven(app, received, caller)?;
                None
            };
            app.audit.record(asked.refused(&refusal, trace), None).await?;
            Err(Failure::Refused { refusal, consent })
        }
    }
}

/// A rule can let each subject token be exchanged once only (rule TX-42); the database decides which request was first.
async fn refuse_second_use(
    app: &App,
    caller: &Caller,
    mut decision: Decision,
    ends_at: i64,
) -> Result<Decision, StoreError> {
    let Ok(Granted { single_use: Some((idp, jti)), .. }) = &decision.outcome else {
        return Ok(decision);
    };
    let client = &caller.client.client.id;
    if !app.store.use_subject_token(idp, client, jti, ends_at).await? {
        let detail = format!("client {client} exchanged this subject token before, and its rule says single_use");
        decision.refuse_after_all(Refusal::new(ReasonCode::SubjectTokenReplayed, detail));
    }
    Ok(decision)
}

fn asked_event<'a>(
    app: &App,
    snapshot: &'a Snapshot,
    received: &'a Received,
    caller: &'a Caller,
    request: &'a ExchangeRequest,
    subject: Option<&'a Subject>,
) -> AskedEvent<'a> {
    let idp = |subject: &Subject| match &subject.issuer {
        SubjectIssuer::Idp(idp) => snapshot.registry.idp(idp).cloned(),
        SubjectIssuer::Own(_) | SubjectIssuer::SignIn(_) => None,
    };
    let party = subject.map(|subject| match idp(subject) {
        Some(idp) => EventSubject {
            sub: format!("{}{}", idp.prefix(), subject.sub),
            idp: Some(idp.id.clone()),
            idp_sub: Some(subject.sub.clone()),
            idp_session: subject.sid.clone(),
        },
        None => EventSubject::named(&subject.sub),
    });
    let issuer =
        subject.map(|subject| idp(subject).map_or_else(|| app.config.issuer.clone(), |idp| idp.issuer.clone()));
    AskedEvent {
        received,
        caller,
        kind: EventKind::TokenExchange,
        scopes: request.scopes.as_ref(),
        subject,
        subject_party: party,
        subject_issuer: issuer,
        target: request.targets.resolve(&snapshot.registry, &app.config.issuer).ok().flatten(),
        policy_hash: snapshot.policies.hash(),
    }
}

/// The page where the user can agree. The same need within a window of five minutes leads to the same page, so that a
/// client that polls does not fill the database.
async fn consent_link(app: &App, needed: &ConsentNeeded, now: i64) -> Result<ConsentLink, StoreError> {
    const WINDOW_SECONDS: i64 = 300;
    let window = now.div_euclid(WINDOW_SECONDS);
    let request = ConsentRequest {
        user: needed.user.clone(),
        client: needed.client.clone(),
        resource: needed.resource.clone(),
        scopes: needed.scopes.clone(),
        behind: needed.behind.clone(),
        created_at: now,
        expires_at: window.saturating_add(1).saturating_mul(WINDOW_SECONDS).saturating_add(CONSENT_LINK_SECONDS),
        answer: None,
    };
    let handle = app.consent_handles.issue(&app.store, &request, window).await?;
    Ok(ConsentLink { uri: format!("{}/consent/{handle}", app.config.issuer), expires_in: CONSENT_LINK_SECONDS })
}

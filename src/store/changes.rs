//! What each change by an administrator does to the tables, as steps of one transaction.

use super::grant_families::{REVOKE_OF_CLIENT, REVOKE_OF_CONSENT, REVOKE_OF_PROVIDER, REVOKE_OF_RESOURCE};
use super::revoke_all::revoke_all;
use super::sessions::END_OF_PROVIDER;
use super::sql::{Step, Value, document};
use super::token_status::{end_removed, note_removed, revoke_step};
use super::users::SUSPEND_USER;
use super::{UNSEEN_IDP, Versions};
use crate::domain::change::{Change, StoredSecret};
use crate::domain::client::{Assurance, Client};
use crate::domain::consent::{Consent, ConsentingUser};
use crate::domain::names::{ClientId, ResourceId};
use crate::domain::token_status::Support;

const PUT_IDENTITY_PROVIDER: &str = "INSERT INTO identity_provider (id, document) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET document = excluded.document";
const REMOVE_IDENTITY_PROVIDER: &str = "DELETE FROM identity_provider WHERE id = $1";

const PUT_RESOURCE: &str = "INSERT INTO resource (id, document) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET document = excluded.document";
const REMOVE_RESOURCE: &str = "DELETE FROM resource WHERE id = $1";
const REVOKE_CONSENTS_OF_RESOURCE: &str =
    "UPDATE consent SET revoked_at = $2 WHERE resource_id = $1 AND revoked_at IS NULL";

const PUT_CLIENT: &str = "INSERT INTO client (id, document, assurance) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET document = excluded.document, assurance = excluded.assurance";
// Commands speak of both kinds of clients; the row of versions is locked already.
const IS_A_CLIENT: &str = "UPDATE version SET registry = registry WHERE id = 1
    AND (EXISTS (SELECT 1 FROM client WHERE id = $1) OR EXISTS (SELECT 1 FROM dynamic_client WHERE id = $1))";
const REMOVE_DYNAMIC_CLIENT: &str = "DELETE FROM dynamic_client WHERE id = $1";
const SUSPEND_DYNAMIC_CLIENT: &str =
    "UPDATE dynamic_client SET suspended_at = COALESCE(suspended_at, $2) WHERE id = $1";
const RESUME_DYNAMIC_CLIENT: &str = "UPDATE dynamic_client SET suspended_at = NULL WHERE id = $1";
const REMOVE_CLIENT: &str = "DELETE FROM client WHERE id = $1";
const REMOVE_SECRETS: &str = "DELETE FROM client_secret WHERE client_id = $1";
const REVOKE_CONSENTS_OF_CLIENT: &str =
    "UPDATE consent SET revoked_at = $2 WHERE client_id = $1 AND revoked_at IS NULL";
const SUSPEND_CLIENT: &str = "UPDATE client SET suspended_at = COALESCE(suspended_at, $2) WHERE id = $1";
const RESUME_CLIENT: &str = "UPDATE client SET suspended_at = NULL WHERE id = $1";

const PUT_POLICY: &str = "INSERT INTO policy (id, cedar) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET cedar = excluded.cedar";
const REMOVE_POLICY: &str = "DELETE FROM policy WHERE id = $1";

const ADD_SECRET: &str = "INSERT INTO client_secret (id, client_id, place, hash, created_at, last_used_at)
    SELECT $1, id, (SELECT COALESCE(MAX(place), 0) + 1 FROM client_secret WHERE client_id = $2), $3, $4, $5
    FROM client WHERE id = $2";
const KEEP_NEWEST_SECRETS: &str = "DELETE FROM client_secret WHERE client_id = $1 AND place <=
    (SELECT MAX(place) FROM client_secret WHERE client_id = $1) - 2";

const RESUME_USER: &str = "UPDATE known_user SET suspended_at = NULL WHERE id = $1";

// Two texts, for one with both conditions would not look the consent up by its user.
const REVOKE_EARLIER_OF_USER: &str = "UPDATE consent SET revoked_at = $4
    WHERE user_id = $1 AND client_id = $2 AND resource_id = $3
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $4)";
const REVOKE_EARLIER_FOR_EVERYONE: &str = "UPDATE consent SET revoked_at = $3
    WHERE user_id IS NULL AND client_id = $1 AND resource_id = $2
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)";
const GRANT_CONSENT: &str = "INSERT INTO consent
    (id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at, paused_at, fingerprint,
    redirect_uri)
    SELECT $1, $2, known.id, resource.id, $5, $6, $7, $8, $9, $10, $11, $12
    FROM (SELECT id FROM client WHERE id = $3 UNION SELECT id FROM dynamic_client WHERE id = $3) AS known, resource
    WHERE resource.id = $4";
const NARROW_CONSENT: &str = "UPDATE consent SET scopes = $3 WHERE id = $1 AND scopes = $2 AND revoked_at IS NULL";
const SHORTEN_CONSENT: &str = "UPDATE consent SET expires_at = $2 WHERE id = $1 AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > $2)";
const PAUSE_CONSENT: &str =
    "UPDATE consent SET paused_at = COALESCE(paused_at, $2) WHERE id = $1 AND revoked_at IS NULL";
const RESUME_CONSENT: &str = "UPDATE consent SET paused_at = NULL WHERE id = $1 AND revoked_at IS NULL";
const ANSWER_REQUEST: &str = "UPDATE consent_request SET outcome = $2, decided_at = $3 WHERE handle_digest = $1";
const REVOKE_CONSENT: &str = "UPDATE consent SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1";

/// Which versions a change touches: 1 for each.
pub(super) fn touched_by(changes: &[Change]) -> Versions {
    let mut touched = Versions::default();
    for change in changes {
        match change {
            Change::PutIdentityProvider(_)
            | Change::PutResource(_)
            | Change::SuspendClient(_)
            | Change::ResumeClient(_)
            | Change::PutPolicy(_)
            | Change::RemovePolicy(_)
            | Change::AddSecret(_)
            | Change::SuspendUser(_)
            | Change::ResumeUser(_) => touched.registry = 1,
            // What a removed client held can end with the next one of its name; what rested on the others ends at once.
            Change::RemoveIdentityProvider(_)
            | Change::RemoveResource(_)
            | Change::PutClient(..)
            | Change::RemoveClient(_) => {
                touched.registry = 1;
                touched.consents = 1;
            }
            Change::GrantConsent(_)
            | Change::RevokeConsent(_)
            | Change::NarrowConsent { .. }
            | Change::ShortenConsent { .. }
            | Change::PauseConsent(_)
            | Change::ResumeConsent(_)
            | Change::RevokeAll { .. } => touched.consents = 1,
            Change::AnswerConsentRequest { .. } => {}
        }
    }
    touched
}

/// The steps of a change at `now`. What it names must be there; to suspend, resume or revoke twice does nothing more.
pub(super) fn steps_of(change: &Change, now: i64) -> Vec<Step> {
    match change {
        Change::PutIdentityProvider(idp) => {
            vec![Step::new(PUT_IDENTITY_PROVIDER, [idp.id.as_str().into(), document(idp).into()])]
        }
        Change::RemoveIdentityProvider(id) => vec![
            Step::new(REMOVE_IDENTITY_PROVIDER, [id.as_str().into()])
                .or_reject(format!("there is no identity provider {id}")),
            // Nobody vouches for its users any more. Another provider of this name would vouch for others.
            revoke_step(&Support::Provider(id.clone()), now),
            Step::new(REVOKE_OF_PROVIDER, [id.as_str().into(), now.into(), "provider_removed".into()]),
            Step::new(END_OF_PROVIDER, [id.as_str().into()]),
        ],
        Change::PutResource(resource) => {
            vec![Step::new(PUT_RESOURCE, [resource.id.as_str().into(), document(resource).into()])]
        }
        Change::RemoveResource(id) => remove_resource(id, now),
        Change::PutClient(client, assurance) => {
            end_removed(&client.id).into_iter().chain([put_client(client, *assurance)]).collect()
        }
        Change::RemoveClient(id) => remove_client(id, now),
        Change::SuspendClient(id) => vec![
            is_a_client(id),
            Step::new(SUSPEND_CLIENT, [id.as_str().into(), now.into()]),
            Step::new(SUSPEND_DYNAMIC_CLIENT, [id.as_str().into(), now.into()]),
        ],
        Change::ResumeClient(id) => vec![
            is_a_client(id),
            Step::new(RESUME_CLIENT, [id.as_str().into()]),
            Step::new(RESUME_DYNAMIC_CLIENT, [id.as_str().into()]),
        ],
        Change::PutPolicy(policy) => {
            vec![Step::new(PUT_POLICY, [policy.id.as_str().into(), policy.cedar.as_str().into()])]
        }
        Change::RemovePolicy(id) => {
            vec![Step::new(REMOVE_POLICY, [id.as_str().into()]).or_reject(format!("there is no policy {id}"))]
        }
        Change::AddSecret(secret) => add_secret(secret),
        Change::SuspendUser(id) => {
            vec![Step::new(SUSPEND_USER, [id.as_str().into(), UNSEEN_IDP.into(), now.into()])]
        }
        Change::ResumeUser(id) => {
            vec![Step::new(RESUME_USER, [id.as_str().into()]).or_reject(format!("there is no user {id}"))]
        }
        Change::GrantConsent(consent) => grant_consent(consent, now),
        Change::RevokeConsent(id) => vec![
            Step::new(REVOKE_CONSENT, [id.as_str().into(), now.into()]).or_reject(format!("there is no consent {id}")),
            // What rested on it does not come to life again by a later agreement.
            Step::new(REVOKE_OF_CONSENT, [id.as_str().into(), now.into()]),
        ],
        Change::NarrowConsent { id, before, scopes } => {
            let values = [id.as_str().into(), before.to_string().into(), scopes.to_string().into()];
            vec![
                Step::new(NARROW_CONSENT, values).or_reject(no_such_consent(id)),
                // A status list cannot say that a token is good for less.
                revoke_step(&Support::Consent(id.clone()), now),
            ]
        }
        Change::ShortenConsent { id, expires_at } => {
            let values = [id.as_str().into(), (*expires_at).into()];
            vec![Step::new(SHORTEN_CONSENT, values).or_reject(no_such_consent(id))]
        }
        Change::PauseConsent(id) => {
            vec![Step::new(PAUSE_CONSENT, [id.as_str().into(), now.into()]).or_reject(no_such_consent(id))]
        }
        Change::ResumeConsent(id) => {
            vec![Step::new(RESUME_CONSENT, [id.as_str().into()]).or_reject(no_such_consent(id))]
        }
        Change::RevokeAll { target, consents } => revoke_all(target, *consents, now),
        Change::AnswerConsentRequest { handle_digest, answer } => {
            let values = [handle_digest.as_str().into(), answer.as_str().into(), now.into()];
            vec![Step::new(ANSWER_REQUEST, values).or_reject("there is no such consent request any more")]
        }
    }
}

fn remove_resource(id: &ResourceId, now: i64) -> Vec<Step> {
    vec![
        Step::new(REVOKE_CONSENTS_OF_RESOURCE, [id.as_str().into(), now.into()]),
        Step::new(REVOKE_OF_RESOURCE, [id.as_str().into(), now.into()]),
        revoke_step(&Support::Resource(id.clone()), now),
        Step::new(REMOVE_RESOURCE, [id.as_str().into()]).or_reject(format!("there is no resource {id}")),
    ]
}

fn put_client(client: &Client, assurance: Assurance) -> Step {
    Step::new(PUT_CLIENT, [client.id.as_str().into(), document(client).into(), assurance.as_str().into()])
}

fn remove_client(id: &ClientId, now: i64) -> Vec<Step> {
    vec![
        is_a_client(id),
        Step::new(REVOKE_CONSENTS_OF_CLIENT, [id.as_str().into(), now.into()]),
        Step::new(REVOKE_OF_CLIENT, [id.as_str().into(), now.into()]),
        Step::new(REMOVE_SECRETS, [id.as_str().into()]),
        Step::new(REMOVE_CLIENT, [id.as_str().into()]),
        Step::new(REMOVE_DYNAMIC_CLIENT, [id.as_str().into()]),
        note_removed(id, now),
    ]
}

fn add_secret(secret: &StoredSecret) -> Vec<Step> {
    let client = secret.client.as_str();
    let values = [
        secret.id.as_str().into(),
        client.into(),
        secret.hash.as_str().into(),
        secret.created_at.into(),
        secret.last_used_at.into(),
    ];
    vec![
        Step::new(ADD_SECRET, values).or_reject(no_client(&secret.client)),
        Step::new(KEEP_NEWEST_SECRETS, [client.into()]),
    ]
}

fn grant_consent(consent: &Consent, now: i64) -> Vec<Step> {
    let (client, resource) = (consent.client.as_str(), consent.resource.as_str());
    let (user, revoke_earlier) = match &consent.user {
        ConsentingUser::One(id) => {
            let values = [id.as_str().into(), client.into(), resource.into(), now.into()];
            (Value::from(id.as_str()), Step::new(REVOKE_EARLIER_OF_USER, values))
        }
        ConsentingUser::Everyone => {
            let values = [client.into(), resource.into(), now.into()];
            (Value::Text(None), Step::new(REVOKE_EARLIER_FOR_EVERYONE, values))
        }
    };
    let values = [
        consent.id.as_str().into(),
        user,
        client.into(),
        resource.into(),
        consent.scopes.to_string().into(),
        super::consents::source_name(consent.source).into(),
        consent.granted_at.into(),
        consent.expires_at.into(),
        consent.revoked_at.into(),
        consent.paused_at.into(),
        consent.fingerprint.clone().into(),
        consent.redirect_uri.clone().into(),
    ];
    vec![
        revoke_earlier,
        Step::new(GRANT_CONSENT, values)
            .or_reject(format!("there is no client {client} or no resource {resource} to consent to")),
    ]
}

/// Registered by an administrator, by itself, or known by its document.
fn is_a_client(id: &ClientId) -> Step {
    Step::new(IS_A_CLIENT, [id.as_str().into()]).or_reject(no_client(id))
}

fn no_client(id: &ClientId) -> String {
    format!("there is no client {id}")
}

fn no_such_consent(id: &str) -> String {
    format!("consent {id} is not there, or not as it was")
}

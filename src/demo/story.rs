//! The story: who is calling, and for whom. Every line of it is something that was just done over HTTP, and every
//! sentence is checked before it is printed.

mod refusals;

use super::assistant::exchange_form;
use super::http::{Answer, Credentials, parameter};
use super::people::{ALICE, BOB, Person};
use super::registry::ASSISTANT;
use super::screen::{Look, TokenView};
use super::stage::Stage;
use super::{DemoFailure, Screen};
use crate::audit::explain;
use crate::domain::decision::{GateResult, TraceLine};
use crate::domain::event::AuditEvent;
use crate::tokens::jose;
use serde_json::{Map, Value, json};

/// What the story leaves behind to try.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) id_token: String,
    pub(super) consent_uri: String,
    pub(super) refused_request: String,
    pub(super) jti: String,
}

/// Tells it.
///
/// # Errors
/// At the first answer that is not as the story says.
pub(super) async fn tell(stage: &Stage, screen: &mut Screen) -> Result<Told, DemoFailure> {
    let mut story = Story { stage, screen };
    story.introduce();
    let id_token = story.alice_signs_in().await?;
    story.consent_is_missing(&id_token).await?;
    let token = story.consent_is_given(&id_token).await?;
    story.alice_sees_her_rows(&token).await?;
    let bobs_id_token = story.bob_sees_his_rows().await?;
    let refused_request = story.only_doctors(&id_token, &bobs_id_token).await?;
    let jti = story.the_backend_calls_on(&token).await?;
    story.what_is_refused(&id_token, &token).await?;
    story.afterwards(&jti).await?;
    let consent_uri = story.a_question_stays_open(&id_token).await?;
    Ok(Told { id_token, consent_uri, refused_request, jti })
}

/// The claims of a token, decoded and nothing more.
pub(super) fn claims(token: &str) -> Result<Map<String, Value>, DemoFailure> {
    jose::parse(token).map(|parts| parts.claims).map_err(|problem| DemoFailure(format!("a token is no JWT: {problem}")))
}

/// The story goes on only if this is true.
fn must(is_so: bool, what: &str, answer: &Answer) -> Result<(), DemoFailure> {
    if is_so { Ok(()) } else { Err(DemoFailure(format!("{what}, but the answer was {}", answer.in_short()))) }
}

struct Story<'a> {
    stage: &'a Stage,
    screen: &'a mut Screen,
}

impl Story<'_> {
    fn introduce(&mut self) {
        let at = &self.stage.addresses;
        self.screen.loud(Look::Bold, "Procura: who is calling, and for whom");
        self.screen.loud(Look::Loud, "DEMO, NOT FOR PRODUCTION: no passwords, plain HTTP, this machine only.");
        self.screen.line("");
        self.screen.list(&[
            ("Identity provider", &at.identity_provider, "Alice (a doctor) and Bob (a patient) sign in here"),
            ("Assistant", &at.assistant, "the LLM app that both of them use"),
            ("Procura", &at.procura, "issues tokens that say who acts for whom"),
            ("Records backend", &at.records, "3 rows of Alice, 4 rows of Bob"),
            ("Models backend", &at.models, "a general and a medical model"),
        ]);
        self.screen.line("");
        self.screen.say(
            "Below, > is a request, < its answer, = what it shows, and $ a command with its result, carried out inside \
             the demo. All of it really happens.",
        );
    }

    async fn alice_signs_in(&mut self) -> Result<String, DemoFailure> {
        self.screen.step(1, "Alice signs in");
        self.screen.say(
            "Alice opens Assistant, her LLM app. Assistant sends her browser to the identity provider, and gets back a \
             signed note that she is there: an ID token.",
        );
        let id_token = self.sign_in(&ALICE, true).await?;
        self.screen.point(
            "Assistant knows who its user is. The backends do not: this token is for Assistant (aud), not for them.",
        );
        Ok(id_token)
    }

    /// The code flow of OpenID Connect, with this program in the place of the browser.
    async fn sign_in(&mut self, person: &Person, is_shown: bool) -> Result<String, DemoFailure> {
        let stage = self.stage;
        let idp = &stage.addresses.identity_provider;
        let sign_in = stage.assistant.begin_sign_in();
        let page = stage.http.get(&sign_in.url, Credentials::Nothing).await?;
        must(page.status == 200, "the identity provider shows its login page", &page)?;
        let handle = page.body.split_once("name=\"login\" value=\"").and_then(|(_, rest)| rest.split_once('"'));
        let handle = handle.map(|(handle, _)| handle).ok_or_else(|| DemoFailure::new("the login page has no form"))?;
        let form = [("login", handle), ("user", person.sub)];
        let chosen = stage.http.post(&format!("{idp}/login"), Credentials::Nothing, &form).await?;
        let location = chosen.location.clone().unwrap_or_default();
        let back = location.strip_prefix(&format!("{}?", stage.assistant.redirect_uri()));
        let back = back.ok_or_else(|| DemoFailure(format!("{} is not sent back to Assistant", person.name)))?;
        let id_token = stage.assistant.finish_sign_in(&sign_in, back).await?;
        if is_shown {
            let query: Vec<(&str, &str)> = sign_in.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            self.screen.request("GET", &sign_in.url, &query);
            self.screen.answer(page.status, "a page that asks: who are you?");
            self.screen.request("POST", &format!("{idp}/login"), &form);
            self.screen.answer(chosen.status, "back to Assistant, with a code that works once");
            let code = parameter(back, "code").unwrap_or_default();
            let trade =
                [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", &sign_in.code_verifier)];
            self.screen.request("POST", &format!("{idp}/token"), &trade);
            self.screen.answer(200, "an ID token: Alice signed in, for Assistant");
        }
        Ok(id_token)
    }

    /// Assistant asks for more than Alice agreed to; whoever watches can answer for her.
    async fn a_question_stays_open(&mut self, id_token: &str) -> Result<String, DemoFailure> {
        let records = &self.stage.addresses.records;
        let answer = self.stage.assistant.exchange(id_token, records, "appointments.book").await?;
        must(answer.text("error") == "consent_required", "Alice agreed to less, so consent is required", &answer)?;
        Ok(answer.text("consent_uri"))
    }

    async fn consent_is_missing(&mut self, id_token: &str) -> Result<(), DemoFailure> {
        self.screen.step(2, "Assistant asks for a token, and Alice has not agreed yet");
        self.screen.say(
            "To read Alice's health records for her, Assistant shows Procura two things: Alice's ID token, and its own \
             secret. This is a token exchange (RFC 8693).",
        );
        let answer = self.exchange(id_token, &self.stage.addresses.records, "records.read").await?;
        must(answer.text("error") == "consent_required", "Alice has not agreed, so consent is required", &answer)?;
        let consent_uri = answer.text("consent_uri");
        must(!consent_uri.is_empty(), "the answer has a consent_uri", &answer)?;
        self.screen.answer(answer.status, &format!("consent_required, consent_uri={consent_uri}"));
        self.screen.point("No consent, no token. Assistant would now show Alice the link.");
        Ok(())
    }

    async fn consent_is_given(&mut self, id_token: &str) -> Result<String, DemoFailure> {
        self.screen.step(3, "Alice agrees, and Assistant gets a token to act for her");
        self.screen.say(
            "So that the story tells itself, the administrator records here that Alice agreed, and the audit trail says \
             so. At the end you can agree yourself, in a browser.",
        );
        self.record_consent(&ALICE, "records", "records.read").await?;
        let answer = self.exchange(id_token, &self.stage.addresses.records, "records.read").await?;
        must(answer.status == 200, "Alice agreed, so Assistant gets a token", &answer)?;
        let token = answer.text("access_token");
        let lifetime = answer.json().get("expires_in").and_then(Value::as_i64).unwrap_or(0);
        self.screen.answer(answer.status, &format!("a delegation token, good for {} minutes", lifetime / 60));
        let left = view("ID token: Alice signed in", id_token)?;
        let right = view("Delegation token: Assistant acts for Alice", &token)?;
        let act = right.claims.get("act").and_then(|act| act.get("sub")).and_then(Value::as_str);
        let is_for =
            |view: &TokenView, name: &str, value: &str| view.claims.get(name).and_then(Value::as_str) == Some(value);
        must(
            is_for(&left, "sub", ALICE.sub) && is_for(&right, "sub", ALICE.sub),
            "both tokens are about Alice",
            &answer,
        )?;
        must(act == Some(ASSISTANT), "the token says that Assistant acts", &answer)?;
        must(is_for(&right, "aud", &self.stage.addresses.records), "the token is for the records backend", &answer)?;
        self.screen.tokens(&left, &right);
        self.screen.point(
            "Both are about Alice (sub). The second also says who acts for her (act), at which one backend (aud), and \
             what she agreed to (scope).",
        );
        Ok(token)
    }

    async fn alice_sees_her_rows(&mut self, token: &str) -> Result<(), DemoFailure> {
        self.screen.step(4, "The records backend serves Alice, and nobody else");
        self.screen.say(
            "The backend fetched Procura's public keys once, when it started. It checks each token by itself, and \
             answers with the rows of the user in the token (sub).",
        );
        let records = &self.stage.addresses.records;
        self.screen.request("GET", records, &[("Authorization: Bearer", token)]);
        let answer = self.stage.http.get(records, Credentials::Bearer(token)).await?;
        self.show_rows(&answer, &ALICE)?;
        self.screen.point("Alice sees her 3 rows, not Bob's 4.");
        self.screen.line("");
        self.screen.say("Many backends believe a header that names the user. Here is a forged one:");
        self.screen.request("GET", records, &[("Authorization: Bearer", token), ("X-User-Id:", BOB.sub)]);
        let forged = [("X-User-Id", BOB.sub)];
        let answer = self.stage.http.get_with(records, Credentials::Bearer(token), &forged).await?;
        must(rows_of(&answer, &ALICE), "a forged X-User-Id changes nothing", &answer)?;
        self.screen.answer(answer.status, "3 rows of alice");
        self.screen.point("A forged X-User-Id header changes nothing. The user is in the signed token.");
        Ok(())
    }

    fn show_rows(&mut self, answer: &Answer, person: &Person) -> Result<(), DemoFailure> {
        let count = person.records.len();
        must(rows_of(answer, person), &format!("{} sees exactly {count} rows", person.name), answer)?;
        self.screen.answer(answer.status, &format!("{count} rows of {}", person.sub));
        for (day, text) in person.records {
            self.screen.line(&format!("       {day}  {text}"));
        }
        Ok(())
    }

    async fn bob_sees_his_rows(&mut self) -> Result<String, DemoFailure> {
        self.screen.step(5, "The same app, another user");
        self.screen.say("Bob signs in the same way, and his consent is recorded the same way.");
        let id_token = self.sign_in(&BOB, false).await?;
        self.record_consent(&BOB, "records", "records.read").await?;
        let records = &self.stage.addresses.records;
        let answer = self.exchange(&id_token, records, "records.read").await?;
        must(answer.status == 200, "Bob agreed, so Assistant gets a token", &answer)?;
        self.screen.answer(answer.status, "a delegation token: Assistant acts for Bob");
        let token = answer.text("access_token");
        self.screen.request("GET", records, &[("Authorization: Bearer", &token)]);
        let answer = self.stage.http.get(records, Credentials::Bearer(&token)).await?;
        self.show_rows(&answer, &BOB)?;
        self.screen.point("Bob sees his 4 rows, not Alice's 3.");
        Ok(id_token)
    }

    async fn only_doctors(&mut self, alices: &str, bobs: &str) -> Result<String, DemoFailure> {
        self.screen.step(6, "Only doctors use the medical model");
        self.screen
            .say("Both agree that Assistant may ask the models for them. Whether it may is also a matter of policy.");
        self.record_consent(&ALICE, "models", "model.general model.medical").await?;
        self.record_consent(&BOB, "models", "model.general model.medical").await?;
        let models = &self.stage.addresses.models;
        let answer = self.exchange(alices, models, "model.medical").await?;
        must(answer.status == 200, "Alice is a doctor and may use the medical model", &answer)?;
        self.screen.answer(answer.status, "a delegation token with scope model.medical");
        let url = format!("{models}/medical");
        let token = answer.text("access_token");
        self.screen.request("POST", &url, &[("Authorization: Bearer", &token)]);
        let answer = self.stage.http.post(&url, Credentials::Bearer(&token), &[]).await?;
        must(answer.status == 200 && answer.text("for") == ALICE.sub, "the medical model answers for Alice", &answer)?;
        self.screen.answer(answer.status, &format!("for alice: {}", answer.text("answer")));
        self.screen.point("Alice is a doctor. She may use the medical model.");
        self.screen.line("");
        let answer = self.exchange(bobs, models, "model.medical").await?;
        must(answer.text("error") == "access_denied", "Bob may not use the medical model", &answer)?;
        self.screen.answer(answer.status, &format!("access_denied: {}", answer.text("error_description")));
        let (request_id, event) = self.explain(&answer).await?;
        let reason = refused_line(&event).map(|line| line.note.clone()).unwrap_or_default();
        must(reason.contains("doctor"), "the reason names the role doctor", &answer)?;
        self.screen.point(&format!("Bob may not use the medical model, because {reason}."));
        Ok(request_id)
    }

    async fn the_backend_calls_on(&mut self, token: &str) -> Result<String, DemoFailure> {
        self.screen.step(7, "A backend calls another backend for Alice");
        self.screen.say(
            "Assistant asks the records backend for a summary, and that needs a model. The token is good at the records \
             backend only, so the backend trades it at Procura for one of its own, and calls on.",
        );
        let url = format!("{}/summary", self.stage.addresses.records);
        self.screen.request("POST", &url, &[("Authorization: Bearer", token)]);
        let answer = self.stage.http.post(&url, Credentials::Bearer(token), &[]).await?;
        must(answer.status == 200, "the records backend reaches the models backend", &answer)?;
        let seen = answer.json().get("models_backend").cloned().unwrap_or_default();
        let is_chain = seen.get("through") == Some(&json!(["records-backend", ASSISTANT]));
        let is_alice = seen.get("for") == Some(&json!(ALICE.sub));
        must(is_alice && is_chain, "the models backend sees Alice and the whole chain", &answer)?;
        let said = seen.get("answer").and_then(Value::as_str).unwrap_or_default();
        self.screen.answer(answer.status, &format!("for alice: {said}"));
        self.screen.say("The models backend was shown a token with this in it:");
        self.screen.json(&json!({ "sub": seen.get("for"), "act": seen.get("act") }));
        self.screen
            .point("Two hops, one user: records-backend acts, asked by assistant, for alice. Nobody is left out.");
        Ok(answer.text("jti"))
    }

    /// Asks as Assistant, and shows the request.
    async fn exchange(&mut self, id_token: &str, resource: &str, scope: &str) -> Result<Answer, DemoFailure> {
        self.show_exchange(
            &self.stage.assistant.token_endpoint(),
            ASSISTANT,
            &exchange_form(id_token, resource, scope),
        );
        self.stage.assistant.exchange(id_token, resource, scope).await
    }

    fn show_exchange(&mut self, url: &str, client: &str, form: &[(&str, &str)]) {
        let basic = format!("{client}:...");
        let mut carries = vec![("Authorization: Basic", basic.as_str())];
        carries.extend(form);
        self.screen.request("POST", url, &carries);
    }

    /// Records a consent as the command that is shown.
    async fn record_consent(&mut self, person: &Person, resource: &str, scopes: &str) -> Result<(), DemoFailure> {
        let consent = self.stage.record_consent(person, resource, scopes).await?;
        let scopes = scopes.replace(' ', " --scope ");
        let command = format!(
            "procura consent grant --user {} --client {ASSISTANT} --resource {resource} --scope {scopes}",
            person.sub
        );
        self.screen.command(&command, &consent);
        Ok(())
    }

    /// What `procura explain` says of the request of this answer.
    async fn explain(&mut self, answer: &Answer) -> Result<(String, AuditEvent), DemoFailure> {
        let (request_id, event) = self.event_of(answer).await?;
        self.screen.command(&format!("procura explain {request_id}"), &explain::explain(&event));
        Ok((request_id, event))
    }

    async fn event_of(&self, answer: &Answer) -> Result<(String, AuditEvent), DemoFailure> {
        let request_id = answer.request_id.clone().ok_or_else(|| DemoFailure::new("an answer has no X-Request-Id"))?;
        let event = self.stage.event_of_request(&request_id).await?;
        Ok((request_id, event))
    }
}

fn refused_line(event: &AuditEvent) -> Option<&TraceLine> {
    event.trace.iter().find(|line| line.result == GateResult::Refused)
}

/// True if the answer is exactly the rows of this person.
fn rows_of(answer: &Answer, person: &Person) -> bool {
    answer.status == 200 && answer.json().get("rows") == Some(&Value::Array(person.rows()))
}

fn view(title: &str, token: &str) -> Result<TokenView, DemoFailure> {
    let parts = jose::parse(token).map_err(|problem| DemoFailure(format!("a token is no JWT: {problem}")))?;
    let text = |name: &str| parts.header.get(name).and_then(Value::as_str).unwrap_or("none").to_owned();
    let kind = format!("typ {}, signed with {}", text("typ"), text("alg"));
    Ok(TokenView { title: title.to_owned(), kind, claims: parts.claims })
}

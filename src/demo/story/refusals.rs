//! The end of the story: what is refused, and what can be found out afterwards.

use super::{Story, must};
use crate::audit::{explain, verify};
use crate::demo::DemoFailure;
use crate::demo::assistant::exchange_form;
use crate::demo::http::{Answer, Credentials};
use crate::demo::people::ALICE;
use crate::demo::registry::{ASSISTANT, STRANGER};
use crate::tokens::checkpoint::EvidenceKeys;
use std::collections::BTreeMap;

/// How far the clock of the records backend is set ahead, in seconds: past the five minutes of a token.
const AHEAD_SECONDS: i64 = 600;

impl Story<'_> {
    pub(super) async fn what_is_refused(&mut self, id_token: &str, token: &str) -> Result<(), DemoFailure> {
        self.screen.step(8, "What is refused, and why");
        let (records, models) = (&self.stage.addresses.records, format!("{}/general", self.stage.addresses.models));

        self.screen.say("Wrong audience: the token for the records backend, at the models backend.");
        self.screen.request("POST", &models, &[("Authorization: Bearer", token)]);
        let answer = self.stage.http.post(&models, Credentials::Bearer(token), &[]).await?;
        self.refused_by_backend(&answer, "a token for another audience is refused")?;
        self.screen.point("Wrong audience: refused. A stolen or passed-on token opens one door only.");

        self.screen.line("");
        self.screen.say("Passed through: Alice's own ID token, at the records backend.");
        self.screen.request("GET", records, &[("Authorization: Bearer", id_token)]);
        let answer = self.stage.http.get(records, Credentials::Bearer(id_token)).await?;
        self.refused_by_backend(&answer, "an ID token is refused")?;
        self.screen.point("Passed through: refused. An ID token does not say who acts for Alice.");

        self.screen.line("");
        self.screen.say(
            "Expired: the token of step 3. Nobody wants to wait five minutes, so the clock of the records backend is \
             set ten minutes ahead for this one call. The token is not touched.",
        );
        self.screen.request("GET", records, &[("Authorization: Bearer", token)]);
        self.stage.records_clock.set_ahead(AHEAD_SECONDS);
        let answer = self.stage.http.get(records, Credentials::Bearer(token)).await;
        self.stage.records_clock.set_ahead(0);
        self.refused_by_backend(&answer?, "an expired token is refused")?;
        self.screen.point("Expired: refused. What was allowed once is not allowed for ever.");

        self.screen.line("");
        self.screen.say("A stranger: another registered app, with a secret of its own, got hold of Alice's ID token.");
        let form = exchange_form(id_token, records, "records.read");
        let url = self.stage.assistant.token_endpoint();
        self.show_exchange(&url, STRANGER, &form);
        let credentials = Credentials::Basic(STRANGER, &self.stage.stranger_secret);
        let answer = self.stage.http.post(&url, credentials, &form).await?;
        must(answer.text("error") == "invalid_request", "a stranger cannot use Alice's ID token", &answer)?;
        self.screen.answer(answer.status, &format!("invalid_request: {}", answer.text("error_description")));
        let (request_id, event) = self.event_of(&answer).await?;
        let text = explain::explain(&event);
        let refused: Vec<&str> = text.lines().filter(|line| line.contains("refused")).collect();
        self.screen.command(&format!("procura explain {request_id} | grep refused"), &refused.join("\n"));
        must(event.reason == "subject_token_audience_foreign", "the reason is the foreign audience", &answer)?;
        self.screen.point("Stranger client: refused. An ID token works only in the hands of the app it was made for.");
        Ok(())
    }

    fn refused_by_backend(&mut self, answer: &Answer, what: &str) -> Result<(), DemoFailure> {
        must(answer.status == 401 && answer.text("error") == "invalid_token", what, answer)?;
        self.screen.answer(answer.status, answer.challenge.as_deref().unwrap_or_default());
        Ok(())
    }

    pub(super) async fn afterwards(&mut self, jti: &str) -> Result<(), DemoFailure> {
        self.screen.step(9, "Afterwards: who did what");
        self.screen.say("A token names itself (jti). From that, an auditor finds everybody who had a hand in it:");
        let store = &self.stage.store;
        let trail = |problem: crate::store::StoreError| DemoFailure(format!("the audit trail: {problem}"));
        let event = store.event_of_token(jti).await.map_err(trail)?;
        let event = event.ok_or_else(|| DemoFailure(format!("token {jti} is not in the audit trail")))?;
        let transaction = match &event.txn {
            Some(txn) => store.events_of_transaction(txn).await.map_err(trail)?,
            None => Vec::new(),
        };
        let beside = explain::Beside { transaction: &transaction, ..explain::Beside::default() };
        let text = explain::who(&event, &beside, self.stage.clock.now_ms());
        if !text.contains(ALICE.sub) || !text.contains(ASSISTANT) {
            return Err(DemoFailure::new("who does not name Alice and Assistant"));
        }
        self.screen.command(&format!("procura who {jti}"), &text);
        self.screen.line("");
        let keys = EvidenceKeys::of_records(&store.list_signing_keys().await.map_err(trail)?, None);
        let report = verify::verify(store, &keys, &BTreeMap::new()).await.map_err(trail)?;
        if let Some(fault) = report.faults.first() {
            return Err(DemoFailure(format!("the audit trail is not whole: {}", fault.problem)));
        }
        let result = format!("whole: {} chains with {} events", report.chains.len(), report.events);
        self.screen.command("procura audit verify", &result);
        self.screen.point(
            "Every answer above, granted or refused, is in the audit trail, each event chained to the one before.",
        );
        Ok(())
    }
}

//! What the user is asked on the way, and what they answer.

use super::super::consent_choice::{agreed_before, offered, read_choice};
use super::super::consent_view::{Again, View, page_for};
use super::super::error::{failed, unavailable};
use super::super::form;
use super::super::leave::Said;
use super::super::posted::Posted;
use super::{About, DECIDE, Way, too_late};
use crate::domain::decision::{Granted, ReasonCode, Refusal};
use crate::domain::sign_in::SignIn;
use crate::domain::target::Target;
use crate::grants::Failure;
use crate::grants::authorization_request::AuthorizationRequest;
use crate::grants::authorize::{Authorizing, Outlook};
use crate::grants::consent::{Parties, give, refuse};
use axum::response::Response;

impl Way<'_> {
    /// The consent page.
    pub(super) async fn ask(
        &self,
        request: &AuthorizationRequest,
        user: &SignIn,
        granted: &Granted,
        again: Option<Again<'_>>,
    ) -> Result<Response, Response> {
        let Target::Resource(resource) = &granted.target else {
            return Err(unavailable(self.app, "an authorization for no backend"));
        };
        let consents = self.app.consents.of(&self.app.store, &user.user).await;
        let consents = consents.map_err(|cause| unavailable(self.app, &cause.to_string()))?;
        let agreed = agreed_before(&consents, &request.client.client, resource, self.received.now());
        let offered = offered(&granted.scopes, agreed);
        let about = About { ticket: self.ticket.clone(), user: user.user.clone(), offered: offered.clone() };
        let form = form::seal(self.app, self.browser, DECIDE, &about).await?;
        let view = View {
            client: &request.client,
            resource,
            user,
            scopes: &offered,
            agreed,
            identity: &request.identity,
            behind: &[],
            redirect_uri: Some(&request.redirect_uri),
            action: "/authorize/decision",
            other_account: &self.other_account(request),
            form: &form,
            again,
        };
        Ok(page_for(self.app, &view))
    }

    /// The same request once more, with the choice of an account.
    pub(super) fn other_account(&self, request: &AuthorizationRequest) -> String {
        let pairs = url::form_urlencoded::parse(self.ticket.form.as_bytes()).filter(|(name, _)| name != "prompt");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        let prompt = if request.prompt.consent { "select_account consent" } else { "select_account" };
        query.append_pair("prompt", prompt);
        format!("/authorize?{}", query.finish())
    }

    pub(super) async fn decided(&self, about: &About, posted: &Posted) -> Result<Response, Response> {
        let request = self.request().await?;
        let user = match self.browser.signed_in(self.app).await? {
            Some(user) if user.user == about.user => user,
            Some(_) | None => return Err(too_late(self.app)),
        };
        let authorizing = Authorizing::new(self.app, self.received, &request, &user);
        let granted = match authorizing.outlook().await.map_err(|failure| failed(self.app, &failure))? {
            // Whoever agreed meanwhile, on another page, means what they say here all the same: it may be less.
            Outlook::Ask(granted) | Outlook::Agreed(granted) => granted,
            Outlook::Refused(decision) => return self.refused(&request, &authorizing, *decision).await,
        };
        let Target::Resource(resource) = &granted.target else {
            return Err(unavailable(self.app, "an authorization for no backend"));
        };
        let consents = self.app.consents.of(&self.app.store, &user.user).await;
        let consents = consents.map_err(|cause| unavailable(self.app, &cause.to_string()))?;
        let agreed = agreed_before(&consents, &request.client.client, resource, self.received.now());
        let choice = match read_choice(posted, &about.offered, agreed) {
            Ok(choice) => choice,
            Err(problem) => {
                let again = Again { problem, posted, seen: &about.offered };
                return self.ask(&request, &user, &granted, Some(again)).await;
            }
        };
        let parties = Parties {
            user: &user,
            client: &request.client,
            resource,
            redirect_uri: Some(&request.redirect_uri),
            handle: None,
        };
        let failed = |failure: Failure| failed(self.app, &failure);
        if !choice.allow {
            refuse(self.app, self.received, &parties, granted.scopes.clone()).await.map_err(failed)?;
            let refusal = Refusal::new(ReasonCode::ConsentDenied, "the user said no");
            return Ok(self.denied(&request, &refusal, agreed.is_some()));
        }
        give(self.app, self.received, &parties, choice.scopes, choice.lasts).await.map_err(failed)?;
        let target = self.code(&request, &authorizing).await?;
        Ok(self.leave(&request.client, &target, Some(Said::Allowed)))
    }
}

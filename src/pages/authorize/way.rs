//! The way of a request: what is known, who is signed in, what would be granted, and where that leads.

use super::super::error::{failed, unavailable};
use super::super::layout::see_other;
use super::super::leave::{Said, leave};
use super::super::who::Who;
use super::Way;
use crate::domain::client::ClientEntry;
use crate::domain::decision::{Decision, ReasonCode, Refusal};
use crate::domain::sign_in::SignIn;
use crate::grants::Failure;
use crate::grants::authorization_request::{AuthorizationRequest, read};
use crate::grants::authorize::{Authorizing, Outlook};
use axum::response::Response;

impl Way<'_> {
    pub(super) async fn go(&self) -> Response {
        self.walk().await.unwrap_or_else(|page| page)
    }

    pub(super) async fn walk(&self) -> Result<Response, Response> {
        let request = self.request().await?;
        let user = self.browser.signed_in(self.app).await?;
        let user = match user {
            Some(user) if self.is_good_enough(&request, &user) => user,
            _ => return self.sign_in_first(&request, None).await,
        };
        let authorizing = Authorizing::new(self.app, self.received, &request, &user);
        match authorizing.outlook().await.map_err(|failure| failed(self.app, &failure))? {
            Outlook::Agreed(_) => {
                let target = self.code(&request, &authorizing).await?;
                Ok(see_other(&target))
            }
            Outlook::Refused(decision) => self.refused(&request, &authorizing, *decision).await,
            Outlook::Ask(_) if request.prompt.none => {
                let refusal = Refusal::new(ReasonCode::PageRequired, "the user would have to be asked");
                self.refuse(&request, &authorizing, Decision::refused_early(refusal)).await
            }
            Outlook::Ask(granted) => self.ask(&request, &user, &granted, None).await,
        }
    }

    /// The client's request, or a page; or, once it is known where to, an answer to the client.
    pub(super) async fn request(&self) -> Result<AuthorizationRequest, Response> {
        let form = self.ticket.form.as_bytes();
        let address = self.address(form).await?;
        let read = read(&address, form, &self.app.snapshot().registry, &self.app.config.issuer);
        match read {
            Ok(request) => Ok(request),
            Err(refusal) => Err(self.answer_early(&address, refusal).await),
        }
    }

    pub(super) fn is_good_enough(&self, request: &AuthorizationRequest, user: &SignIn) -> bool {
        // The sign-in that the request led to is the answer to it, unless the provider says that it only knew the user from
        // before.
        if self.is_answered {
            let begun_at = self.ticket.begun_at.saturating_sub(i64::from(self.app.config.tokens.clock_skew_seconds));
            let is_new = !request.prompt.login || user.auth_time.is_none_or(|at| at >= begun_at);
            let oldest = request.max_age.map(|max_age| begun_at.saturating_sub(i64::from(max_age)));
            return is_new && oldest.is_none_or(|oldest| user.auth_time.is_some_and(|at| at >= oldest));
        }
        let age = user.auth_time.map(|at| self.received.now().saturating_sub(at));
        let is_recent = request.max_age.is_none_or(|max_age| age.is_some_and(|age| age <= i64::from(max_age)));
        is_recent && !request.prompt.login && !request.prompt.select_account
    }

    /// The redirect URI with a code.
    pub(super) async fn code(
        &self,
        request: &AuthorizationRequest,
        authorizing: &Authorizing<'_>,
    ) -> Result<String, Response> {
        let address = request.return_address();
        match authorizing.code().await {
            Ok(code) => Ok(address.with(&self.app.config.issuer, &[("code", &code)])),
            Err(Failure::Refused { refusal, .. }) => Err(self.back_with_error(&address, &refusal)),
            Err(failure @ (Failure::Unavailable(_) | Failure::TooMany(_))) => Err(failed(self.app, &failure)),
        }
    }

    /// Nothing would be granted. If a stronger sign-in would help, the user is led to it, once.
    pub(super) async fn refused(
        &self,
        request: &AuthorizationRequest,
        authorizing: &Authorizing<'_>,
        decision: Decision,
    ) -> Result<Response, Response> {
        let needed = decision.outcome.as_ref().err().and_then(|refusal| refusal.sign_in.clone());
        match needed {
            Some(needed) if !self.ticket.stepped_up => self.sign_in_first(request, Some(&needed)).await,
            Some(_) => {
                let mut decision = decision;
                let detail = "the user signed in again, and still not as the backend wants it";
                decision.refuse_after_all(Refusal::new(ReasonCode::SignInInsufficient, detail));
                self.refuse(request, authorizing, decision).await
            }
            None => self.refuse(request, authorizing, decision).await,
        }
    }

    pub(super) async fn refuse(
        &self,
        request: &AuthorizationRequest,
        authorizing: &Authorizing<'_>,
        decision: Decision,
    ) -> Result<Response, Response> {
        let Err(refusal) = decision.outcome.clone() else {
            return Err(unavailable(self.app, "a refusal without a reason"));
        };
        authorizing.refuse(decision, &refusal).await.map_err(|failure| failed(self.app, &failure))?;
        Ok(self.back_with_error(&request.return_address(), &refusal))
    }

    /// The user said no on a page of ours, so they may go back to the client, whoever it is.
    /// `keeps`: the client goes on with what it was allowed before.
    pub(super) fn denied(&self, request: &AuthorizationRequest, refusal: &Refusal, keeps: bool) -> Response {
        let parameters = [("error", refusal.error().as_str()), ("error_description", refusal.description())];
        let target = request.return_address().with(&self.app.config.issuer, &parameters);
        self.leave(&request.client, &target, Some(Said::Denied { keeps }))
    }

    pub(super) fn leave(&self, client: &ClientEntry, target: &str, said: Option<Said>) -> Response {
        leave(self.app, target, &self.who(client), said)
    }

    /// What the client is called, in the middle of a sentence.
    pub(super) fn who(&self, client: &ClientEntry) -> String {
        Who::of(client, &self.app.snapshot().registry, &self.app.config.organisation.name).in_text()
    }
}

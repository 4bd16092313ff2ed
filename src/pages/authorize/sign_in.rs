//! To the provider; first past a page that says who wants it, if nobody here vouches for the client (rule MC-10).

use super::super::connect::{Connect, connect_page};
use super::super::error::failed;
use super::super::{form, login};
use super::{AboutConnect, CONNECT, Ticket, Way};
use crate::domain::client::Assurance;
use crate::domain::decision::{ReasonCode, Refusal, SignInNeeded};
use crate::domain::resource::{Resource, ResourceScope};
use crate::domain::target::{Target, meant};
use crate::grants::authorization_request::AuthorizationRequest;
use crate::grants::authorize::refused_before_sign_in;
use axum::response::Response;

impl Way<'_> {
    /// To the provider; first past a page that says who wants it, if nobody here vouches for the client (rule MC-10).
    pub(super) async fn sign_in_first(
        &self,
        request: &AuthorizationRequest,
        needed: Option<&SignInNeeded>,
    ) -> Result<Response, Response> {
        if request.prompt.none {
            let refusal = Refusal::new(ReasonCode::SignInRequired, "prompt=none, and the user would have to sign in");
            return Ok(self.answer_early(&request.return_address(), refusal).await);
        }
        if request.client.assurance == Assurance::Vetted {
            return Ok(self.to_provider(request, needed).await);
        }
        let about = AboutConnect { ticket: self.ticket.clone(), needed: needed.cloned() };
        let form = form::seal(self.app, self.browser, CONNECT, &about).await?;
        let snapshot = self.app.snapshot();
        let mut providers = snapshot.registry.identity_providers().filter(|idp| idp.login.is_some());
        let only = providers.next().filter(|_| providers.next().is_none());
        let resource = match request.targets.resolve(&snapshot.registry, &self.app.config.issuer).ok().flatten() {
            Some(Target::Resource(resource)) => Some(resource),
            Some(Target::Issuer) => None,
            None => {
                let reachable: Vec<_> = request.client.client.resources.keys().collect();
                let reachable: Vec<_> = reachable.into_iter().filter_map(|id| snapshot.registry.resource(id)).collect();
                meant(&request.client.client, &reachable).cloned()
            }
        };
        let scopes = resource.iter().flat_map(|resource| asked_there(request, resource)).collect::<Vec<_>>();
        let page = Connect {
            client: &request.client,
            resource: resource.as_deref(),
            scopes: &scopes,
            redirect_uri: &request.redirect_uri,
            provider: only.map(|idp| idp.name.as_str()),
            action: "/authorize/connect",
            form: &form,
        };
        Ok(connect_page(self.app, &page))
    }

    /// What the sign-in is for. A stronger or newer one is by the same provider, for it is about the same account.
    async fn wish(
        &self,
        request: &AuthorizationRequest,
        needed: Option<&SignInNeeded>,
    ) -> Result<login::LoginWish, Response> {
        let idp = match needed {
            Some(_) => self.browser.signed_in(self.app).await?.map(|user| user.idp),
            None => None,
        };
        let ticket = Ticket { stepped_up: self.ticket.stepped_up || needed.is_some(), ..self.ticket.clone() };
        let max_age = [request.max_age, needed.and_then(|needed| needed.max_age)].into_iter().flatten().min();
        let wanted = needed.map(|needed| needed.acr_values.join(" ")).filter(|values| !values.is_empty());
        Ok(login::LoginWish {
            return_to: ticket.continue_path(self.app),
            idp,
            again: request.prompt.login || needed.is_some(),
            choose_account: request.prompt.select_account,
            max_age,
            acr_values: wanted.or_else(|| request.acr_values.clone()),
            login_hint: request.login_hint.clone(),
            app: Some(self.who(&request.client)),
        })
    }

    pub(super) async fn connected(&self, allowed: bool, needed: Option<&SignInNeeded>) -> Result<Response, Response> {
        let request = self.request().await?;
        if !allowed {
            let refusal = Refusal::new(ReasonCode::ConsentDenied, "the user did not want to sign in for this app");
            let client = &request.client.client.id;
            refused_before_sign_in(self.app, self.received, Some(client), &refusal)
                .await
                .map_err(|failure| failed(self.app, &failure))?;
            return Ok(self.denied(&request, &refusal, false));
        }
        Ok(self.to_provider(&request, needed).await)
    }

    /// Nobody signed in, and the app hears so.
    pub(super) async fn stopped(&self) -> Result<Response, Response> {
        let request = self.request().await?;
        let refusal = Refusal::new(ReasonCode::ConsentDenied, "the user did not sign in, and went back to the app");
        Ok(self.answer_early(&request.return_address(), refusal).await)
    }

    pub(super) async fn to_provider(&self, request: &AuthorizationRequest, needed: Option<&SignInNeeded>) -> Response {
        let wish = match self.wish(request, needed).await {
            Ok(wish) => wish,
            Err(page) => return page,
        };
        if self.after_form {
            login::begin_after_form(self.app, self.browser, wish).await
        } else {
            login::begin(self.app, self.browser, wish).await
        }
    }
}

/// What the client will ask for at the backend: what it named, or everything that it may have.
fn asked_there<'r>(request: &AuthorizationRequest, resource: &'r Resource) -> Vec<&'r ResourceScope> {
    let may = request.client.client.resources.get(&resource.id).map(Vec::as_slice).unwrap_or_default();
    let is_asked = |scope: &&ResourceScope| {
        may.contains(&scope.name) && request.scopes.as_ref().is_none_or(|asked| asked.contains(&scope.name))
    };
    resource.scopes.iter().filter(is_asked).collect()
}

//! A browser that signs in: it keeps the cookie, and its user is whoever the test says at the provider.

use crate::database::Kind;
use crate::issuer::{Prepared, TestIssuer};
use crate::server::{Answer, ISSUER, TestServer};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use procura::app::App;
use procura::server::public_router;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceExt;
use url::Url;

/// The access token that comes with every ID token.
pub(crate) const ACCESS_TOKEN: &str = "an-opaque-access-token-of-the-provider";

/// A browser with one cookie at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct Browser {
    pub(crate) cookie: Option<String>,
}

impl Browser {
    /// Sends a request with the cookie, and takes what the answer sets.
    pub(crate) async fn send(&mut self, router: &Router, mut request: Request<Body>) -> Answer {
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
        }
        request.extensions_mut().insert(ConnectInfo("192.0.2.1:40000".parse::<SocketAddr>().unwrap()));
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        for set in parts.headers.get_all(header::SET_COOKIE) {
            let set = set.to_str().unwrap();
            let cookie = set.split(';').next().unwrap();
            self.cookie = (!set.contains("Max-Age=0")).then(|| cookie.to_owned());
        }
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&mut self, router: &Router, path: &str) -> Answer {
        self.send(router, Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a form as a browser does from a page of ours.
    pub(crate) async fn post(&mut self, router: &Router, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_from(router, path, form, &[("sec-fetch-site", "same-origin"), ("origin", "null")]).await
    }

    /// Sends a form from wherever these headers say.
    pub(crate) async fn post_from(
        &mut self,
        router: &Router,
        path: &str,
        form: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(router, request.body(Body::from(body)).unwrap()).await
    }
}

/// The value of a hidden field of a page.
pub(crate) fn field(page: &Answer, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let rest = page.text.split_once(&start).unwrap_or_else(|| panic!("no field {name} in {}", page.text)).1;
    rest.split_once('"').unwrap().0.to_owned()
}

/// Where a page that goes on by itself leads.
pub(crate) fn leads_to(page: &Answer) -> Url {
    let rest = page.text.split_once("0;url=").unwrap_or_else(|| panic!("leads nowhere: {}", page.text)).1;
    rest.split_once('"').unwrap().0.replace("&amp;", "&").replace("&#38;", "&").parse().unwrap()
}

/// Where a redirect leads.
pub(crate) fn location(answer: &Answer) -> Url {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.header("location").parse().unwrap()
}

/// The parameters of a URL, each once.
pub(crate) fn query(url: &Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// A server where users sign in at one provider, "corp".
pub(crate) struct FrontDoor {
    pub(crate) server: TestServer,
    pub(crate) idp: TestIssuer,
}

/// The provider as a registry file has it: `login` is put in as it is.
pub(crate) fn provider(id: &str, idp: &TestIssuer, login: &str, claims: &str) -> String {
    format!(
        "[[identity_provider]]\nid = \"{id}\"\nissuer = \"{}\"\nname = \"The {id}\"\nalgorithms = [\"ES256\", \"RS256\"]\n\
         allow_private_addresses = true\nclaims = {{ {claims} }}\nlogin = {{ {login} }}\n",
        idp.issuer()
    )
}

/// Our registration at most providers of the tests: a public client.
pub(crate) const LOGIN: &str = "client_id = \"procura-there\", scopes = [\"openid\", \"email\"]";
pub(crate) const CLAIMS: &str = "roles = \"/roles\", email = \"/email\", name = \"/name\"";

impl FrontDoor {
    pub(crate) async fn open(kind: Kind) -> Self {
        let idp = TestIssuer::start().await;
        let server = TestServer::start(kind).await;
        server.apply(&provider("corp", &idp, LOGIN, CLAIMS)).await;
        Self { server, idp }
    }

    pub(crate) fn router(&self) -> &Router {
        &self.server.router
    }

    /// Another server on the same database, with memory of its own.
    pub(crate) async fn twin(&self) -> (Arc<App>, Router) {
        let (app, store) = (&self.server.app, self.server.database.another_store().await);
        let twin = App::start(app.config.clone(), app.clock.clone(), store, app.secrets_key.clone()).await.unwrap();
        let router = public_router(&twin);
        (twin, router)
    }

    /// Looks at a page for users; gives where the provider asks who it is.
    pub(crate) async fn begin(&self, browser: &mut Browser) -> Url {
        location(&browser.get(self.router(), "/account").await)
    }

    /// Alice, as the provider says it in an ID token for us; a null takes a claim away.
    pub(crate) fn alice(&self, asked: &Url, mut changes: Value) -> String {
        let now = self.server.clock.now();
        let mut claims = json!({
            "sub": "alice", "aud": "procura-there", "nonce": query(asked)["nonce"], "iat": now, "exp": now + 300,
            "sid": "session-1", "email": "alice@example.com", "name": "Alice", "roles": ["doctor"],
        });
        for (name, value) in changes.as_object_mut().unwrap() {
            claims[name] = value.take();
        }
        self.idp.id_token(now, claims)
    }

    /// The path with which the browser comes back, for an ID token; `more` is put behind.
    pub(crate) fn way_back(&self, asked: &Url, id_token: &str, more: &str) -> String {
        let parameters = query(asked);
        let code = format!("code-{}", parameters["state"]);
        let prepared = Prepared {
            id_token: id_token.to_owned(),
            access_token: ACCESS_TOKEN.to_owned(),
            challenge: parameters["code_challenge"].clone(),
        };
        self.idp.prepare_code(&code, prepared);
        let redirect: Url = parameters["redirect_uri"].parse().unwrap();
        format!("{}?code={code}&state={}{more}", redirect.path(), parameters["state"])
    }

    /// Signs Alice in.
    pub(crate) async fn sign_in(&self, browser: &mut Browser) -> Answer {
        self.sign_in_as(browser, json!({})).await
    }

    /// Signs in with changed claims; gives the answer to the way back.
    pub(crate) async fn sign_in_as(&self, browser: &mut Browser, changes: Value) -> Answer {
        let asked = self.begin(browser).await;
        let back = self.way_back(&asked, &self.alice(&asked, changes), "");
        browser.get(self.router(), &back).await
    }

    /// Asserts that a sign-in failed with this status, that the event says why, and that nobody is signed in.
    pub(crate) async fn assert_failed(&self, browser: &mut Browser, answer: &Answer, status: u16, why: &str) {
        assert_eq!(answer.status.as_u16(), status, "{why}: {}", answer.text);
        let event = self.server.event(answer).await;
        assert_eq!(event.reason, "sign_in_failed", "{why}");
        let detail = event.detail.unwrap_or_default();
        assert!(detail.contains(why), "{detail:?} does not say {why:?}");
        assert_eq!(answer.header("location"), "");
        let page = browser.get(self.router(), "/account").await;
        assert_eq!(page.status, 303, "nobody is signed in: {why}");
        assert!(!page.header("location").starts_with(ISSUER));
    }

    /// Asserts that Alice is signed in.
    pub(crate) async fn assert_signed_in(&self, browser: &mut Browser, account: &str) {
        let page = browser.get(self.router(), "/account").await;
        assert_eq!(page.status, 200, "{}", page.header("location"));
        assert!(page.text.contains(account), "{}", page.text);
    }
}

//! What clients say of themselves, well and badly.

use super::*;

const CURSOR: &str = "cursor://anysphere.cursor-mcp/oauth/callback";

fn register(body: &Value) -> Result<Described, MetadataProblem> {
    registration("dcr_1".parse().unwrap(), body.as_object().unwrap(), &[CURSOR.to_owned()])
}

fn read(id: &str, body: &Value) -> Result<Described, MetadataProblem> {
    document(&id.parse().unwrap(), body.as_object().unwrap(), &[CURSOR.to_owned()])
}

fn refused(result: &Result<Described, MetadataProblem>, error: &str) {
    assert_eq!(result.as_ref().map_err(MetadataProblem::error).unwrap_err(), error, "{result:?}");
}

#[test]
fn what_is_left_out_of_a_registration_has_its_default() {
    let described = register(&json!({"redirect_uris": ["https://a.example/cb"]})).unwrap();
    assert_eq!(described.client.authentication, ClientAuthentication::ClientSecretBasic);
    assert_eq!(described.client.grants, [GrantType::AuthorizationCode]);
    assert_eq!(
        Value::Object(described.metadata),
        json!({
            "redirect_uris": ["https://a.example/cb"], "grant_types": ["authorization_code"],
            "response_types": ["code"], "token_endpoint_auth_method": "client_secret_basic", "application_type": "web",
        })
    );
}

#[test]
fn what_a_client_may_not_say_of_itself_is_ignored() {
    let described = register(&json!({
        "redirect_uris": ["https://a.example/cb"], "client_id": "assistant", "client_secret": "pcs_x",
        "resources": {"records": ["records.read"]}, "consent": "admin", "may_act_for": ["assistant"],
        "grant_types": ["authorization_code", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:ietf:params:oauth:grant-type:jwt-bearer", "implicit"],
    }))
    .unwrap();
    assert_eq!(described.client.id.as_str(), "dcr_1");
    assert_eq!(described.client.grants, [GrantType::AuthorizationCode]);
    assert!(described.client.resources.is_empty() && described.client.may_act_for.is_empty());
    assert_eq!(described.client.consent, ConsentMode::User);
    assert!(!described.metadata.contains_key("client_secret") && !described.metadata.contains_key("resources"));
}

#[test]
fn a30_dangerous_redirect_uris_are_refused_whoever_names_them() {
    for uri in [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "evil://callback",
        "cursor://anysphere.cursor-mcp/oauth/callback/",
        "cursor://anysphere.cursor-mcp/oauth/callback?x",
        "http://a.example/cb",
        "https://a.example/cb#x",
        "https://u@a.example/cb",
    ] {
        refused(&register(&json!({"redirect_uris": ["https://a.example/cb", uri]})), "invalid_redirect_uri");
        let id = "https://a.example/client.json";
        let body = json!({"client_id": id, "client_name": "A", "redirect_uris": [uri]});
        refused(&read(id, &body), "invalid_redirect_uri");
    }
    for uris in [json!([]), json!("https://a.example/"), json!([1]), json!(null), json!(vec!["https://a.example/"; 33])]
    {
        refused(&register(&json!({"redirect_uris": uris})), "invalid_redirect_uri");
    }
    refused(&register(&json!({})), "invalid_redirect_uri");
}

#[test]
fn an_application_of_the_web_has_no_redirect_uri_on_a_device() {
    for uri in ["http://localhost/cb", CURSOR] {
        refused(&register(&json!({"application_type": "web", "redirect_uris": [uri]})), "invalid_redirect_uri");
        assert!(register(&json!({"application_type": "native", "redirect_uris": [uri]})).is_ok());
        let described = register(&json!({"redirect_uris": [uri, "https://a.example/"]})).unwrap();
        assert_eq!(described.metadata["application_type"], "native");
    }
    refused(
        &register(&json!({"application_type": "service", "redirect_uris": ["https://a.example/"]})),
        "invalid_client_metadata",
    );
}

#[test]
fn a_registration_that_contradicts_itself_is_refused() {
    let jwks = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}]});
    for changes in [
        json!({"token_endpoint_auth_method": "private_key_jwt"}),
        json!({"token_endpoint_auth_method": "none", "jwks": jwks}),
        json!({"token_endpoint_auth_method": "tls_client_auth"}),
        json!({"token_endpoint_auth_method": 1}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks, "jwks_uri": "https://a.example/jwks"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "EC", "d": "x"}]}}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "file:///etc/passwd"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://u:p@a.example/"}),
        json!({"grant_types": ["refresh_token"]}),
        json!({"grant_types": "authorization_code"}),
        json!({"response_types": ["token"]}),
        json!({"client_name": "a".repeat(101)}),
        json!({"client_name": "  "}),
        json!({"client_name": "Cl\u{202e}aude"}),
        json!({"client_name": "a\nb"}),
        json!({"client_name": {"en": "a"}}),
        json!({"logo_uri": "javascript:alert(1)"}),
        json!({"client_uri": "nowhere"}),
        json!({"scope": "a\u{7}b"}),
        json!({"contacts": ["a\u{200b}"]}),
        json!({"software_id": "a".repeat(101)}),
    ] {
        let mut body = json!({"redirect_uris": ["https://a.example/cb"]});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        refused(&register(&body), "invalid_client_metadata");
    }
}

#[test]
fn a_document_says_exactly_where_it_is_and_holds_no_secret() {
    let id = "https://client.example/oauth/client.json";
    let good = json!({"client_id": id, "client_name": "A", "redirect_uris": ["https://client.example/cb"]});
    let described = read(id, &good).unwrap();
    assert_eq!(described.client.authentication, ClientAuthentication::None);
    for changes in [
        json!({"client_id": "https://client.example/oauth/client.json/"}),
        json!({"client_id": "https://Client.example/oauth/client.json"}),
        json!({"client_id": null}),
        json!({"client_name": null}),
        json!({"client_secret": "x"}),
        json!({"client_secret_expires_at": 0}),
        json!({"token_endpoint_auth_method": "client_secret_basic"}),
        json!({"token_endpoint_auth_method": "client_secret_jwt"}),
        json!({"token_endpoint_auth_methods_supported": ["none", "client_secret_post"]}),
        json!({"token_endpoint_auth_method": "private_key_jwt"}),
        json!({"token_endpoint_auth_method": "tls_client_auth"}),
        json!({"token_endpoint_auth_methods_supported": []}),
    ] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        refused(&read(id, &body), "invalid_client_metadata");
    }
}

#[test]
fn of_several_ways_to_authenticate_those_that_we_have_are_taken() {
    use ClientAuthentication::{None as Public, PrivateKeyJwt};
    let methods = |one: Value, several: Value, has_keys: bool| {
        let id = "https://client.example/client.json";
        let mut body = json!({
            "client_id": id, "client_name": "A", "redirect_uris": ["https://client.example/cb"],
            "token_endpoint_auth_method": one, "token_endpoint_auth_methods_supported": several,
        });
        if has_keys {
            body["jwks_uri"] = json!("https://client.example/jwks");
        }
        let described = read(id, &body).unwrap();
        let has_uri = described.client.jwks_uri.is_some();
        let all: Vec<_> =
            std::iter::once(described.client.authentication).chain(described.other_authentication).collect();
        assert_eq!(has_uri, all.contains(&PrivateKeyJwt), "keys are kept while they are used");
        all
    };
    // ChatGPT.
    assert_eq!(methods(json!("private_key_jwt"), json!(["none", "private_key_jwt"]), true), [PrivateKeyJwt, Public]);
    assert_eq!(methods(json!("none"), json!(["none", "private_key_jwt"]), true), [Public, PrivateKeyJwt]);
    assert_eq!(methods(json!("tls_client_auth"), json!(["none", "tls_client_auth"]), false), [Public]);
    assert_eq!(methods(json!("private_key_jwt"), json!(["none", "private_key_jwt"]), false), [Public]);
    assert_eq!(methods(json!("private_key_jwt"), json!(null), true), [PrivateKeyJwt]);
    assert_eq!(methods(json!(null), json!(null), true), [Public]);
}

/// The clients of STANDARDS section 6, as they register themselves.
#[test]
fn the_registrations_of_known_clients_are_taken_with_every_redirect_uri() {
    let public = |name: &str, uris: Value| {
        json!({
            "client_name": name, "redirect_uris": uris, "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        })
    };
    for body in [
        public("ChatGPT", json!(["https://chatgpt.com/connector_platform_oauth_redirect"])),
        public("Codex", json!(["http://127.0.0.1:5555/callback/abc"])),
        public("Claude", json!(["https://claude.ai/api/mcp/auth_callback"])),
        public("Claude Code (records)", json!(["http://localhost:54321/callback"])),
        public(
            "Visual Studio Code",
            json!([
                "https://insiders.vscode.dev/redirect",
                "https://vscode.dev/redirect",
                "http://127.0.0.1/",
                "http://127.0.0.1:33418/"
            ]),
        ),
        public(
            "Cursor",
            json!([CURSOR, "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback"]),
        ),
        public(
            "MCP Inspector",
            json!(["http://localhost:6274/oauth/callback", "http://localhost:6274/oauth/callback/debug"]),
        ),
        public("Gemini CLI MCP Client", json!(["http://localhost:7777/oauth/callback"])),
    ] {
        let described = register(&body).unwrap();
        assert_eq!(json!(described.client.redirect_uris), body["redirect_uris"]);
        assert_eq!(described.client.grants, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
        assert_eq!(described.client.authentication, ClientAuthentication::None);
    }
}

/// The clients of STANDARDS section 6, as their documents describe them.
#[test]
fn the_documents_of_known_clients_are_taken_as_they_are() {
    let public = |id: &str, name: &str, uris: Value| {
        json!({
            "client_id": id, "client_name": name, "redirect_uris": uris, "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        })
    };
    let chatgpt = |id: &str, uri: &str| {
        let mut document = public(id, "ChatGPT", json!([uri]));
        document["token_endpoint_auth_method"] = json!("private_key_jwt");
        document["token_endpoint_auth_signing_alg"] = json!("RS256");
        document["token_endpoint_auth_methods_supported"] = json!(["none", "private_key_jwt"]);
        document["jwks_uri"] = json!("https://chatgpt.com/oauth/jwks.json");
        document
    };
    let mut claude = public(
        "https://claude.ai/oauth/mcp-oauth-client-metadata",
        "Claude",
        json!(["https://claude.ai/api/mcp/auth_callback"]),
    );
    claude["grant_types"] =
        json!(["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"]);
    for body in [
        chatgpt("https://chatgpt.com/oauth/client.json", "https://chatgpt.com/connector_platform_oauth_redirect"),
        chatgpt("https://chatgpt.com/oauth/abc/client.json", "https://chatgpt.com/connector/oauth/abc"),
        claude,
        public(
            "https://chatgpt.com/oauth/codex/client.json",
            "Codex",
            json!(["http://127.0.0.1/callback", "http://localhost/callback"]),
        ),
        public(
            "https://claude.ai/oauth/claude-code-client-metadata",
            "Claude Code",
            json!(["http://localhost/callback", "http://127.0.0.1/callback"]),
        ),
        public(
            "https://vscode.dev/oauth/client-metadata.json",
            "Visual Studio Code",
            json!(["http://127.0.0.1:33418/", "https://vscode.dev/redirect"]),
        ),
        public("https://zed.dev/oauth/client-metadata.json", "Zed", json!(["http://127.0.0.1/callback"])),
        public("https://opencode.ai/oauth/opencode/client.json", "OpenCode", json!(["http://127.0.0.1/callback"])),
    ] {
        let described = read(body["client_id"].as_str().unwrap(), &body).unwrap();
        assert_eq!(json!(described.client.redirect_uris), body["redirect_uris"]);
        assert_eq!(described.client.grants, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
        let all = std::iter::once(&described.client.authentication).chain(&described.other_authentication);
        assert!(all.into_iter().any(|method| *method == ClientAuthentication::None), "none is always taken: {body}");
        if let Some(pinned) = crate::domain::presets::pinned(body["client_id"].as_str().unwrap()) {
            let is_pinned = |uri: &String| pinned.redirect_uris.contains(uri);
            assert!(described.client.redirect_uris.iter().all(is_pinned), "the pinned copy has them too: {body}");
        }
    }
}

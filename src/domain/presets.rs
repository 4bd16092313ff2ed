//! Well-known clients, each as it was on a date: what administrators register by name (`procura client add --preset`),
//! and what stands in for a client metadata document that cannot be fetched (rule CM-18).

use super::client::ClientAuthentication;

/// A well-known client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// What `--preset` calls it.
    pub name: &'static str,
    /// Name for people to read.
    pub client_name: &'static str,
    /// The URL of its metadata document; none if it has none and registers itself.
    pub client_id: Option<&'static str>,
    /// Where it lets a code be sent.
    pub redirect_uris: &'static [&'static str],
    /// How it authenticates, what it prefers first.
    pub authentication: &'static [ClientAuthentication],
    /// Where its keys are.
    pub jwks_uri: Option<&'static str>,
    /// When this was last compared with what the client publishes or sends: year and month.
    pub as_of: &'static str,
    /// What an administrator should know.
    pub note: &'static str,
}

/// All of them.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "chatgpt",
        client_name: "ChatGPT",
        client_id: Some("https://chatgpt.com/oauth/client.json"),
        redirect_uris: &["https://chatgpt.com/connector_platform_oauth_redirect"],
        authentication: &[ClientAuthentication::PrivateKeyJwt, ClientAuthentication::None],
        jwks_uri: Some("https://chatgpt.com/oauth/jwks.json"),
        as_of: "2026-08",
        note: "Used while the metadata announces `iss`. Otherwise each connector has an id and a redirect URI of its own.",
    },
    Preset {
        name: "codex",
        client_name: "Codex",
        client_id: Some("https://chatgpt.com/oauth/codex/client.json"),
        redirect_uris: &["http://127.0.0.1/callback", "http://localhost/callback"],
        authentication: &[ClientAuthentication::None],
        jwks_uri: None,
        as_of: "2026-08",
        note: "A program on the user's computer: its id proves nothing, so users are always asked.",
    },
    Preset {
        name: "claude",
        client_name: "Claude",
        client_id: Some("https://claude.ai/oauth/mcp-oauth-client-metadata"),
        redirect_uris: &["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"],
        authentication: &[ClientAuthentication::None],
        jwks_uri: None,
        as_of: "2026-08",
        note: "Claude on the web, Desktop, mobile and Cowork.",
    },
    Preset {
        name: "claude-code",
        client_name: "Claude Code",
        client_id: Some("https://claude.ai/oauth/claude-code-client-metadata"),
        redirect_uris: &["http://localhost/callback", "http://127.0.0.1/callback"],
        authentication: &[ClientAuthentication::None],
        jwks_uri: None,
        as_of: "2026-08",
        note: "A program on the user's computer: its id proves nothing, so users are always asked.",
    },
    Preset {
        name: "vscode",
        client_name: "Visual Studio Code",
        client_id: Some("https://vscode.dev/oauth/client-metadata.json"),
        redirect_uris: &[
            "http://127.0.0.1:33418/",
            "http://127.0.0.1/",
            "https://vscode.dev/redirect",
            "https://insiders.vscode.dev/redirect",
        ],
        authentication: &[ClientAuthentication::None],
        jwks_uri: None,
        as_of: "2026-08",
        note: "A program on the user's computer: its id proves nothing, so users are always asked.",
    },
    Preset {
        name: "cursor",
        client_name: "Cursor",
        client_id: None,
        redirect_uris: &[
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ],
        authentication: &[ClientAuthentication::None],
        jwks_uri: None,
        as_of: "2026-08",
        note: "It has no metadata document: put the printed client_id into its mcp.json, or let it register itself.",
    },
];

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// What is pinned of the document under a URL: what a well-known client published there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The client.
    pub preset: &'static Preset,
    /// Where it lets a code be sent; differs from the preset's if the URL is that of one connector.
    pub redirect_uris: Vec<String>,
}

/// The pinned copy of the document under this URL, if it is one of a well-known client.
///
/// ChatGPT and Codex have a document for each connector too, whose id is in its path and in its redirect URI.
pub fn pinned(client_id: &str) -> Option<Pinned> {
    let owned = |preset: &'static Preset| preset.redirect_uris.iter().map(|uri| (*uri).to_owned()).collect();
    if let Some(preset) = PRESETS.iter().find(|preset| preset.client_id == Some(client_id)) {
        return Some(Pinned { preset, redirect_uris: owned(preset) });
    }
    let path = client_id.strip_prefix("https://chatgpt.com/oauth/")?.strip_suffix("/client.json")?;
    let is_id = |id: &str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    match path.strip_prefix("codex/") {
        Some(id) if is_id(id) => {
            let redirect_uris = ["127.0.0.1", "localhost"].map(|host| format!("http://{host}/callback/{id}")).into();
            Some(Pinned { preset: preset("codex")?, redirect_uris })
        }
        None if is_id(path) => {
            let redirect_uris = vec![format!("https://chatgpt.com/connector/oauth/{path}")];
            Some(Pinned { preset: preset("chatgpt")?, redirect_uris })
        }
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::redirect_uri::{check, matches};

    #[test]
    fn every_preset_can_be_registered() {
        for preset in PRESETS {
            assert!(preset.redirect_uris.iter().all(|uri| check(uri).is_ok()), "{}", preset.name);
            assert!(!preset.authentication.is_empty() && preset.as_of.len() == 7, "{}", preset.name);
            let has_keys = preset.authentication.contains(&ClientAuthentication::PrivateKeyJwt);
            assert_eq!(preset.jwks_uri.is_some(), has_keys, "{}", preset.name);
            assert_eq!(super::preset(preset.name), Some(preset));
        }
    }

    /// What a preset lets through, and what looks like it.
    #[test]
    fn a_preset_takes_the_redirect_uris_of_its_client_and_no_look_alikes() {
        let takes = |name: &str, uri: &str| preset(name).unwrap().redirect_uris.iter().any(|own| matches(own, uri));
        for (name, uri) in [
            ("chatgpt", "https://chatgpt.com/connector_platform_oauth_redirect"),
            ("codex", "http://127.0.0.1:5555/callback"),
            ("claude", "https://claude.ai/api/mcp/auth_callback"),
            ("claude", "https://claude.com/api/mcp/auth_callback"),
            ("claude-code", "http://localhost:54321/callback"),
            ("vscode", "http://127.0.0.1:33418/"),
            ("vscode", "http://127.0.0.1:61001/"),
            ("cursor", "cursor://anysphere.cursor-mcp/oauth/callback"),
        ] {
            assert!(takes(name, uri), "{name} {uri}");
        }
        for (name, uri) in [
            ("chatgpt", "https://chatgpt.com.evil.example/connector_platform_oauth_redirect"),
            ("chatgpt", "https://chatgpt.com/connector_platform_oauth_redirect/"),
            ("chatgpt", "https://chatgpt.com%2fconnector_platform_oauth_redirect"),
            ("claude", "https://claude.ai@evil.example/api/mcp/auth_callback"),
            ("claude", "https://claude.ai/api/mcp/auth_callback?next=//evil.example"),
            ("claude-code", "http://127.0.0.1:1/callback/x"),
            ("claude-code", "http://127.0.0.2:1/callback"),
            ("vscode", "http://127.0.0.1:33418"),
            ("vscode", "https://evil.vscode.dev/redirect"),
            ("cursor", "cursor://evil/oauth/callback"),
        ] {
            assert!(!takes(name, uri), "{name} {uri}");
        }
    }

    #[test]
    fn the_documents_of_well_known_clients_are_pinned_those_of_connectors_too() {
        assert_eq!(pinned("https://claude.ai/oauth/claude-code-client-metadata").unwrap().preset.name, "claude-code");
        let one = pinned("https://chatgpt.com/oauth/conn_1-a/client.json").unwrap();
        assert_eq!(one.redirect_uris, ["https://chatgpt.com/connector/oauth/conn_1-a"]);
        let codex = pinned("https://chatgpt.com/oauth/codex/abc/client.json").unwrap();
        assert_eq!(codex.redirect_uris[0], "http://127.0.0.1/callback/abc");
        for other in [
            "https://chatgpt.com/oauth/../x/client.json",
            "https://chatgpt.com/oauth/a/b/client.json",
            "https://chatgpt.com/oauth//client.json",
            "https://chatgpt.com/oauth/a%2fb/client.json",
            "https://chatgpt.com.evil.example/oauth/a/client.json",
            "https://chatgpt.com/oauth/client.json?x",
            "http://chatgpt.com/oauth/client.json",
        ] {
            assert_eq!(pinned(other), None, "{other}");
        }
    }
}

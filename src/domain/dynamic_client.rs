//! A client that no administrator registered: it registered itself, or it is known by a document under its own domain.

use super::client::{Assurance, Client, ClientAuthentication, ClientEntry};
use super::names::ClientId;
use super::resource::Resource;
use std::sync::Arc;

/// How ids begin of clients that register themselves.
pub const OWN_ID_START: &str = "dcr_";
/// How ids begin of all clients that nobody here named. No user's `sub` may begin so (STANDARDS SB-14).
pub const OWN_ID_STARTS: [&str; 3] = [OWN_ID_START, "https://", "http://"];

/// True if this is the form of an id that this server makes up for a client (rule CM-14).
pub fn is_own_id(id: &str) -> bool {
    id.starts_with(OWN_ID_START)
}

/// True if this is the form of the id of a client with a metadata document. Whether the URL may be fetched from is
/// another question.
pub fn is_document_id(id: &str) -> bool {
    id.starts_with("https://") || id.starts_with("http://")
}

/// Such a client as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicClient {
    /// The client, without any backend.
    pub client: Client,
    /// `Domain` or `SelfAsserted`.
    pub assurance: Assurance,
    /// Ways to authenticate besides that of `client`.
    pub other_authentication: Vec<ClientAuthentication>,
    /// What was registered or read, as JSON.
    pub metadata: String,
    /// argon2id in PHC form, of the client's secret if it has one.
    pub secret_hash: Option<String>,
    /// The digest of its `registration_access_token` (RFC 7592 §3); none for a document.
    pub registration_token_digest: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// When it was last seen at `/authorize` or `/token`, Unix seconds; none if never.
    pub last_used_at: Option<i64>,
    /// When its document was fetched, Unix seconds; none if it has none, or if a pinned copy stands in for it.
    pub fetched_at: Option<i64>,
    /// Until when its document need not be fetched again, Unix seconds.
    pub fresh_until: Option<i64>,
    /// Unix seconds; set while an administrator keeps it from acting.
    pub suspended_at: Option<i64>,
}

impl DynamicClient {
    /// The client with its ceiling: what every backend that is open to its kind gives to its kind.
    pub fn entry<'a>(&self, resources: impl Iterator<Item = &'a Arc<Resource>>) -> ClientEntry {
        let open = |resource: &Arc<Resource>| Some((resource.id.clone(), resource.ceiling_of(self.assurance)?));
        let mut client = self.client.clone();
        client.resources = resources.filter_map(open).collect();
        ClientEntry {
            client,
            assurance: self.assurance,
            suspended_at: self.suspended_at,
            other_authentication: self.other_authentication.clone(),
        }
    }

    /// Its id.
    pub fn id(&self) -> &ClientId {
        &self.client.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_nobody_vouches_for_gets_what_is_open_to_its_kind_and_nothing_else() {
        let resource = |open_to: &str| -> Arc<Resource> {
            let text = format!(
                r#"
                id = "records"
                audience = "https://records.example.com/api"
                name = "Records"
                open_to = [{open_to}]
                [[scope]]
                name = "read"
                description = "See"
                access = "read"
                [[scope]]
                name = "delete"
                description = "Delete"
                access = "destructive"
                vetted_only = true
                "#
            );
            Arc::new(toml::from_str(&text).unwrap())
        };
        let ceiling = |open_to: &str, assurance| {
            let client = serde_json::from_value(serde_json::json!({
                "id": "dcr_1", "name": "", "authentication": "none", "grants": ["authorization_code"],
                "resources": {"models": ["everything"]},
            }));
            let dynamic = DynamicClient {
                client: client.unwrap(),
                assurance,
                other_authentication: Vec::new(),
                metadata: "{}".to_owned(),
                secret_hash: None,
                registration_token_digest: None,
                created_at: 0,
                last_used_at: None,
                fetched_at: None,
                fresh_until: None,
                suspended_at: None,
            };
            let entry = dynamic.entry([resource(open_to)].iter());
            serde_json::to_value(entry.client.resources).unwrap()
        };
        let read_only = serde_json::json!({"records": ["read"]});
        let nothing = serde_json::json!({});
        assert_eq!(ceiling("", Assurance::Domain), nothing);
        assert_eq!(ceiling(r#""domain""#, Assurance::Domain), read_only);
        assert_eq!(ceiling(r#""domain""#, Assurance::SelfAsserted), nothing);
        assert_eq!(ceiling(r#""domain", "self_asserted""#, Assurance::SelfAsserted), read_only);
    }
}

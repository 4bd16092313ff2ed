//! What a `consent_uri` ends with: the name of a question that a client has for a user.

use crate::domain::names::ClientId;
use crate::secrets::{SecretsKey, digest, mac};
use crate::store::{ConsentRequest, Store, StoreError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Handles of consent pages: unguessable, and the same for the same need within a window, until it is answered.
#[derive(Debug)]
pub struct ConsentHandles {
    key: [u8; 32],
}

impl ConsentHandles {
    pub(super) fn new(key: &SecretsKey) -> Self {
        Self { key: key.derive("consent handle") }
    }

    /// The handle for a need in this window; its request is stored before it is given out. Who asks after an answer asks
    /// anew, so that nobody takes the earlier answer for one to this question.
    pub async fn issue(&self, store: &Store, request: &ConsentRequest, window: i64) -> Result<String, StoreError> {
        // More answers than anybody gives to one question in a window. The last link is given out again after that.
        const QUESTIONS: u8 = 32;
        let mut handle = String::new();
        for question in 0..QUESTIONS {
            handle = self.handle(request, window, question);
            let stored_as = digest(&handle);
            match store.find_consent_request(&stored_as).await? {
                Some(stored) if stored.answer.is_some() => {}
                Some(_) => break,
                None => {
                    store.insert_consent_request(&stored_as, request).await?;
                    break;
                }
            }
        }
        Ok(handle)
    }

    fn handle(&self, request: &ConsentRequest, window: i64, question: u8) -> String {
        let scopes = request.scopes.to_string();
        let behind = request.behind.iter().map(ClientId::as_str).collect::<Vec<_>>().join(" ");
        let parts = [request.user.as_str(), request.client.as_str(), request.resource.as_str(), &scopes, &behind];
        let mut parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let window = window.to_be_bytes();
        parts.push(&window);
        let question = [question];
        parts.push(&question);
        URL_SAFE_NO_PAD.encode(mac(&self.key, &parts))
    }
}

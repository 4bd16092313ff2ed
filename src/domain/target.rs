//! The target: for which backend a token is asked (RFC 8693 §2.1, RFC 8707).

use super::client::Client;
use super::decision::ReasonCode;
use super::registry::Registry;
use super::resource::{InvalidAudience, Resource, canonical_uri};
use super::sent::repeatable;
use std::sync::Arc;

/// The `resource` and `audience` parameters, as sent. Both may repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestedTargets {
    /// Absolute URIs (RFC 8707).
    pub resources: Vec<String>,
    /// Names agreed with this server: a registry id or an identifier.
    pub audiences: Vec<String>,
}

/// A backend, or this server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A backend.
    Resource(Arc<Resource>),
    /// This server: the default audience of a client's own token.
    Issuer,
}

/// Why the parameters name no single target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// A `resource` that is not an absolute URI without fragment.
    #[error("resource {0}")]
    Malformed(InvalidAudience),
    /// Not a registered backend.
    #[error("{} is not a registered resource", repeatable(.0))]
    Unknown(String),
    /// More than one backend (rule TX-07).
    #[error("{0} different targets")]
    Several(usize),
}

/// With none named, the backend that a client means, of those that can be meant: the only one (rule TX-08); of several its
/// own default, or that of all clients (rule RI-04).
pub fn meant<'a>(client: &Client, candidates: &[&'a Arc<Resource>]) -> Option<&'a Arc<Resource>> {
    match candidates {
        [only] => Some(*only),
        several => several.iter().copied().find(|resource| match &client.default_resource {
            Some(default) => resource.id == *default,
            None => resource.is_default,
        }),
    }
}

impl TargetProblem {
    /// The reason of a refusal.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Malformed(_) => ReasonCode::TargetMalformed,
            Self::Unknown(_) => ReasonCode::TargetUnknown,
            Self::Several(_) => ReasonCode::TargetSeveral,
        }
    }
}

impl RequestedTargets {
    /// True if no target was named.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.audiences.is_empty()
    }

    /// The one target that is named, or none if none is.
    ///
    /// # Errors
    /// [`TargetProblem`]; several spellings of one backend are one target.
    pub fn resolve(&self, registry: &Registry, issuer: &str) -> Result<Option<Target>, TargetProblem> {
        let mut found: Vec<Target> = Vec::new();
        let by_uri = self.resources.iter().map(|uri| (uri, canonical_uri(uri).map_err(TargetProblem::Malformed)));
        let by_name =
            self.audiences.iter().map(|name| (name, Ok(canonical_uri(name).unwrap_or_else(|_| name.clone()))));
        for (sent, canonical) in by_uri.chain(by_name) {
            let target = registry
                .resource_by_audience(&canonical?)
                .or_else(|| self.audiences.contains(sent).then(|| registry.resource_by_name(sent)).flatten())
                .map(|resource| Target::Resource(Arc::clone(resource)))
                .or_else(|| (sent == issuer).then_some(Target::Issuer))
                .ok_or_else(|| TargetProblem::Unknown(sent.clone()))?;
            if !found.contains(&target) {
                found.push(target);
            }
        }
        if found.len() > 1 { Err(TargetProblem::Several(found.len())) } else { Ok(found.pop()) }
    }
}

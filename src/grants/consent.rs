//! What a user agrees to, takes back or changes, each with its event.

use super::{Failure, Received};
use crate::app::App;
use crate::domain::client::ClientEntry;
use crate::domain::consent::Consent;
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use crate::domain::sign_in::SignIn;

/// For how long a user agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// One hour.
    Hour,
    /// One day.
    Day,
    /// Thirty days.
    Month,
    /// Until it is taken back.
    UntilRevoked,
}

/// Records that the user agrees, and has this server go by it at once. An earlier agreement for the same client and
/// backend is replaced.
pub async fn give(
    app: &App,
    received: &Received,
    user: &SignIn,
    client: &ClientEntry,
    resource: &Resource,
    scopes: ScopeSet,
    lasts: Lasts,
) -> Result<Consent, Failure> {
    todo!()
}

/// Records that the user said no to what was asked.
pub async fn refuse(
    app: &App,
    received: &Received,
    user: &SignIn,
    client: &ClientEntry,
    resource: &Resource,
    scopes: ScopeSet,
) -> Result<(), Failure> {
    todo!()
}

//! What a decision needs to know of a subject beyond its token: the remembered user, and the consents.

use crate::app::App;
use crate::domain::consent::Consent;
use crate::domain::names::UserId;
use crate::domain::registry::Registry;
use crate::domain::subject::{Subject, SubjectIssuer};
use crate::domain::user::User;
use crate::store::StoreError;
use std::sync::Arc;

/// The facts. Empty for a subject that is not a user.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) known_user: Option<Arc<User>>,
    pub(super) consents: Arc<[Consent]>,
}

/// Looks the facts up, from the caches where they are there.
pub(super) async fn about(app: &App, registry: &Registry, subject: &Subject) -> Result<Facts, StoreError> {
    let Some(user) = user_of(registry, subject) else {
        return Ok(Facts::default());
    };
    let known_user = match subject.issuer {
        SubjectIssuer::Own(_) => app.users.find(&app.store, &user).await?,
        SubjectIssuer::Idp(_) => None,
    };
    Ok(Facts { known_user, consents: app.consents.of(&app.store, &user).await? })
}

/// The `sub` of our tokens for this subject, if it is a user: `decide` makes the same of it.
pub(super) fn user_of(registry: &Registry, subject: &Subject) -> Option<UserId> {
    match &subject.issuer {
        SubjectIssuer::Idp(idp) => format!("{}{}", registry.idp(idp)?.prefix(), subject.sub).parse().ok(),
        SubjectIssuer::Own(own) => own.grant_id.as_ref().and_then(|_| subject.sub.parse().ok()),
    }
}

//! The grant family: all that comes of one time that a user let a client have something in the browser. Its code, its
//! refresh tokens and the access tokens they gave begin together and can be ended together (RFC 9700 §4.14).

use super::names::{ClientId, IdpId, ResourceId, UserId};
use super::scope::ScopeSet;
use serde::{Deserialize, Serialize};

/// How far the times of two requests at once may be apart, in seconds: by waiting, and by the clocks of two servers.
const APART_SECONDS: i64 = 5;

/// How long a code is good for, in seconds (rule OA-10).
pub const CODE_SECONDS: i64 = 60;

/// What was agreed on, and what the code is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// To do what at the backend.
    pub scopes: ScopeSet,
    /// Which of `openid`, `profile` and `email`: what the client is told of the user.
    #[serde(default)]
    pub identity: ScopeSet,
    /// Whether there are refresh tokens.
    pub renewable: bool,
    /// Where the code was sent to.
    pub redirect_uri: String,
    /// `code_challenge` (RFC 7636), S256.
    pub code_challenge: String,
    /// `nonce`, for the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// When the user last proved who they are, Unix seconds, if the provider said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// How well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// By what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
}

/// One family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFamily {
    /// Its id, the `sid` of its tokens.
    pub id: String,
    /// For whom.
    pub user: UserId,
    /// To whom.
    pub client: ClientId,
    /// At which backend.
    pub resource: ResourceId,
    /// Where the user signed in.
    pub idp: IdpId,
    /// The `sub` there.
    pub idp_sub: String,
    /// The provider's session, if it says.
    pub idp_session: Option<String>,
    /// What was agreed on.
    pub terms: Terms,
    /// Unix seconds.
    pub created_at: i64,
    /// The end of the code, Unix seconds.
    pub code_ends_at: i64,
    /// When the code was used, Unix seconds.
    pub redeemed_at: Option<i64>,
    /// Which refresh token is the newest; 0 for the first.
    pub generation: i64,
    /// Which generations were replaced lately, and when.
    pub rotations: Rotations,
    /// When a token was last got, Unix seconds.
    pub used_at: i64,
    /// The end of it all unless it is used again, Unix seconds.
    pub ends_at: i64,
    /// Unix seconds; set once it was ended.
    pub revoked_at: Option<i64>,
    /// Why it was ended: a word for operators.
    pub revoked_because: Option<String>,
}

/// What it means that a refresh token is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// It is the newest: it is replaced.
    Newest,
    /// It was replaced a moment ago, and the answer may have been lost: the newest is given again (rule CL-30).
    Late,
    /// It was replaced long ago: somebody has a copy (OAuth 2.1 §4.3.1).
    Reused,
}

impl GrantFamily {
    /// True if it was neither ended nor has come to its end.
    pub fn is_live(&self, now: i64) -> bool {
        self.revoked_at.is_none() && now < self.ends_at
    }

    /// What a refresh token of this generation is at `now`, if lost answers are forgiven for `grace` seconds.
    pub fn presented(&self, generation: i64, now: i64, grace: i64) -> Presented {
        if generation == self.generation {
            return Presented::Newest;
        }
        let replaced_at = self.rotations.0.iter().find(|rotation| rotation.0 == generation).map(|rotation| rotation.1);
        match replaced_at {
            // A request that came a moment earlier, or to a server whose clock is behind, may be decided a moment later. A
            // clock that was set back must not make the time longer.
            Some(at) if (-APART_SECONDS..=grace).contains(&now.saturating_sub(at)) => Presented::Late,
            Some(_) | None => Presented::Reused,
        }
    }
}

/// Generations that were replaced, each with the Unix second; only those that may still be forgiven are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotations(Vec<(i64, i64)>);

impl Rotations {
    /// More would be no lost answers but a client in a loop.
    const MOST: usize = 64;

    /// With one more, without those older than `grace` seconds.
    #[must_use]
    pub fn with(&self, generation: i64, now: i64, grace: i64) -> Self {
        let kept = self.0.iter().copied().filter(|(_, at)| now.saturating_sub(*at) <= grace);
        let mut all: Vec<(i64, i64)> = kept.chain([(generation, now)]).collect();
        let surplus = all.len().saturating_sub(Self::MOST);
        all.drain(..surplus);
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn family(generation: i64, rotations: Rotations) -> GrantFamily {
        GrantFamily {
            id: "fam_1".to_owned(),
            user: "corp|alice".parse().unwrap(),
            client: "desk".parse().unwrap(),
            resource: "records".parse().unwrap(),
            idp: "corp".parse().unwrap(),
            idp_sub: "alice".to_owned(),
            idp_session: None,
            terms: Terms {
                scopes: "records.read".parse().unwrap(),
                identity: ScopeSet::default(),
                renewable: true,
                redirect_uri: "https://desk.example.com/callback".to_owned(),
                code_challenge: "c".repeat(43),
                nonce: None,
                auth_time: Some(NOW),
                acr: None,
                amr: Vec::new(),
            },
            created_at: NOW,
            code_ends_at: NOW + CODE_SECONDS,
            redeemed_at: Some(NOW),
            generation,
            rotations,
            used_at: NOW,
            ends_at: NOW + 86_400,
            revoked_at: None,
            revoked_because: None,
        }
    }

    #[test]
    fn a_replaced_refresh_token_is_forgiven_for_a_while_and_then_is_a_reuse() {
        let family = family(2, Rotations::default().with(0, NOW - 61, 60).with(1, NOW - 60, 60));
        assert_eq!(family.presented(2, NOW, 60), Presented::Newest);
        assert_eq!(family.presented(1, NOW, 60), Presented::Late);
        assert_eq!(family.presented(1, NOW + 1, 60), Presented::Reused);
        assert_eq!(family.presented(0, NOW, 60), Presented::Reused);
        assert_eq!(family.presented(3, NOW, 60), Presented::Reused);
        assert_eq!(family.presented(1, NOW - 61, 60), Presented::Late, "it came a second before the other was decided");
        assert_eq!(family.presented(1, NOW - 66, 60), Presented::Reused, "the clock was set back");
    }

    #[test]
    fn without_grace_every_second_use_is_a_reuse_but_in_the_same_second() {
        let family = family(1, Rotations::default().with(0, NOW, 0));
        assert_eq!(family.presented(0, NOW + 1, 0), Presented::Reused);
    }

    #[test]
    fn only_so_many_rotations_are_remembered() {
        let rotations =
            (0..100).fold(Rotations::default(), |rotations, generation| rotations.with(generation, NOW, 60));
        assert_eq!(rotations.0.len(), Rotations::MOST);
        assert_eq!(rotations.0.last(), Some(&(99, NOW)));
    }
}

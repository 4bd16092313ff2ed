//! Reason codes: every way a request can be refused, each with its gate, its answer on the wire and its cure.
//!
//! The wire says no more than the standard allows; the meaning and the cure are for `explain` and the reference page.

use serde::{Deserialize, Serialize};

/// The `error` of an OAuth error response (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 400.
    InvalidRequest,
    /// 401.
    InvalidClient,
    /// 400: the code or the refresh token is not good, or no longer.
    InvalidGrant,
    /// 400.
    UnauthorizedClient,
    /// 400.
    UnsupportedGrantType,
    /// 400.
    InvalidScope,
    /// 400.
    InvalidTarget,
    /// 400, with `consent_uri`.
    ConsentRequired,
    /// 400: policy, or the user, said no.
    AccessDenied,
    /// 400, with `acr_values` or `max_age`: the user signed in too weakly or too long ago (RFC 9470).
    InsufficientUserAuthentication,
    /// Only at `/authorize`: another `response_type` than `code`.
    UnsupportedResponseType,
    /// Only at `/authorize`, with `prompt=none`: the user is not signed in (OpenID Connect Core §3.1.2.6).
    LoginRequired,
    /// Only at `/authorize`, with `prompt=none`: a page would have to be shown (OpenID Connect Core §3.1.2.6).
    InteractionRequired,
    /// Only at `/authorize`: the provider did not sign the user in as was asked (RFC 9470 §5).
    UnmetAuthenticationRequirements,
    /// 429, with `Retry-After`.
    SlowDown,
    /// 503, with `Retry-After`.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The text on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::ConsentRequired => "consent_required",
            Self::AccessDenied => "access_denied",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::LoginRequired => "login_required",
            Self::InteractionRequired => "interaction_required",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::SlowDown => "slow_down",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// The gates of a decision, in order. `Request` comes before them: a request too broken to decide about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The request can be read.
    Request,
    /// The client is known, active and authenticated.
    Client,
    /// The grant is allowed to it.
    Grant,
    /// The subject token is valid.
    SubjectToken,
    /// The subject token belongs to this client.
    SubjectOwner,
    /// The actor is this client, or one it may present.
    Actor,
    /// The chain stays within its depth, without a cycle, earlier actors kept.
    Chain,
    /// The target is known and can be reached by this client and this hop.
    Target,
    /// The scopes fit every ceiling.
    Scope,
    /// The user agreed.
    Consent,
    /// Policy permits.
    Policy,
    /// Limits are kept.
    Limits,
    /// There is lifetime left.
    Lifetime,
}

impl Gate {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Request,
        Self::Client,
        Self::Grant,
        Self::SubjectToken,
        Self::SubjectOwner,
        Self::Actor,
        Self::Chain,
        Self::Target,
        Self::Scope,
        Self::Consent,
        Self::Policy,
        Self::Limits,
        Self::Lifetime,
    ];

    /// 0 for the request, 1 to 12 for the gates.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The gate in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Request => "request can be read",
            Self::Client => "client known, active, authenticated",
            Self::Grant => "grant allowed to the client",
            Self::SubjectToken => "subject token valid",
            Self::SubjectOwner => "subject token belongs to this client",
            Self::Actor => "actor is this client, or one it may present",
            Self::Chain => "delegation chain",
            Self::Target => "target known and reachable",
            Self::Scope => "scopes within every ceiling",
            Self::Consent => "consent of the user",
            Self::Policy => "policy",
            Self::Limits => "limits",
            Self::Lifetime => "lifetime",
        }
    }
}

macro_rules! reasons {
    ($($variant:ident = $code:literal, $gate:ident, $error:ident, $public:literal, $meaning:literal, $fix:literal;)*) => {
        /// Why a request was refused, or a scope cut: a stable code for logs, metrics, audit and `explain`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode { $(#[doc = $meaning] $variant,)* }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as text.
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $code,)* } }

            /// The gate that gives it.
            pub fn gate(self) -> Gate { match self { $(Self::$variant => Gate::$gate,)* } }

            /// The `error` on the wire.
            pub fn error(self) -> ErrorCode { match self { $(Self::$variant => ErrorCode::$error,)* } }

            /// The `error_description` on the wire: a fixed sentence, never with input in it.
            pub fn public_description(self) -> &'static str { match self { $(Self::$variant => $public,)* } }

            /// What it means, for operators.
            pub fn meaning(self) -> &'static str { match self { $(Self::$variant => $meaning,)* } }

            /// What to do about it.
            pub fn fix(self) -> &'static str { match self { $(Self::$variant => $fix,)* } }

            /// The code of this text.
            pub fn from_code(code: &str) -> Option<Self> { match code { $($code => Some(Self::$variant),)* _ => None } }
        }
    };
}

reasons! {
    // 0: the request
    ParameterMissing = "parameter_missing", Request, InvalidRequest,
        "A required parameter is missing.",
        "A parameter that the grant needs is missing or empty.",
        "Send the parameter that the detail names; an empty value counts as missing.";
    ParameterRepeated = "parameter_repeated", Request, InvalidRequest,
        "A parameter is repeated.",
        "A parameter was sent more than once; only resource and audience may repeat.",
        "Send it once.";
    ParameterInvalid = "parameter_invalid", Request, InvalidRequest,
        "The request is malformed.",
        "A parameter, the form or a header cannot be read.",
        "Send the value that the detail asks for.";
    NotAForm = "not_a_form", Request, InvalidRequest,
        "The request must be application/x-www-form-urlencoded, in the body and not in the URL.",
        "The Content-Type names something else or nothing, or parameters were sent in the URL, where logs keep them.",
        "Send Content-Type: application/x-www-form-urlencoded, once, and all parameters in the body.";
    UseReportUnreadable = "use_report_unreadable", Request, InvalidRequest,
        "A report is a form or one JSON object without repeated members, as its Content-Type says, and not in the URL.",
        "The body of a report at /audit/use is neither of the two, or parameters were sent in the URL.",
        "Send Content-Type: application/json and one object, or application/x-www-form-urlencoded and a form.";
    UseReportInvalid = "use_report_invalid", Request, InvalidRequest,
        "A report has jti, for, used_at and request_id; for has at most 4096 bytes and request_id 256, without control characters; used_at is Unix seconds since the token was issued, within a day, not in the future, and there if the token has ended.",
        "A member of a report at /audit/use is out of its bounds; the detail says which.",
        "Send it within its bounds: a long statement by its name, and used_at as a whole number.";
    ParameterTooMany = "parameter_too_many", Request, InvalidRequest,
        "The request has too many parameters.",
        "More parameters, or more resource and audience values, than any client needs.",
        "Send fewer.";
    GrantTypeUnsupported = "grant_type_unsupported", Request, UnsupportedGrantType,
        "The grant_type is not supported.",
        "This server does not offer the grant type, or not yet.",
        "Use a grant type that the metadata document lists.";
    RequestedTokenTypeUnsupported = "requested_token_type_unsupported", Request, InvalidRequest,
        "The requested_token_type is not supported.",
        "Only access tokens are issued.",
        "Leave requested_token_type out, or ask for the access_token or jwt type.";
    ScopeMalformed = "scope_malformed", Request, InvalidScope,
        "The scope parameter is malformed.",
        "The scope parameter is not a list of scope tokens with single spaces between.",
        "Correct the parameter (RFC 6749 section 3.3).";
    ResponseTypeUnsupported = "response_type_unsupported", Request, UnsupportedResponseType,
        "The response_type is not supported.",
        "Another response_type than code was asked for.",
        "Use response_type=code with PKCE.";
    RedirectUriInvalid = "redirect_uri_invalid", Request, InvalidRequest,
        "The redirect_uri is not one of this client.",
        "The redirect_uri is missing, or not exactly one that the client registered; only the port of a loopback one may differ.",
        "Register the redirect URI, or send the registered one.";
    PkceMissing = "pkce_missing", Request, InvalidRequest,
        "A code_challenge with the method S256 is required.",
        "The request has no code_challenge, or one of another method than S256, or of another length than 43 characters.",
        "Use PKCE with S256 (RFC 7636).";
    RequestUriInvalid = "request_uri_invalid", Request, InvalidRequest,
        "The request_uri is not acceptable.",
        "The request_uri is none of ours, has ended, was used before, or is another client's (RFC 9126).",
        "Push the request again and use its request_uri once.";

    // 1: the client
    ClientCredentialsMissing = "client_credentials_missing", Client, InvalidClient,
        "Client authentication failed.",
        "The request has no client credentials.",
        "Authenticate with the method that the client is registered with.";
    ClientAuthenticationTwice = "client_authentication_twice", Client, InvalidClient,
        "Client authentication failed.",
        "The request authenticates the client by two methods, or names two clients.",
        "Use one method (OAuth 2.1 section 2.4).";
    ClientUnknown = "client_unknown", Client, InvalidClient,
        "Client authentication failed.",
        "No client of this id is registered.",
        "Register the client, or correct its client_id.";
    ClientSuspended = "client_suspended", Client, InvalidClient,
        "Client authentication failed.",
        "An administrator suspended the client.",
        "procura client resume ID.";
    ClientAuthenticationMethod = "client_authentication_method", Client, InvalidClient,
        "Client authentication failed.",
        "The client used another method than the one it is registered with.",
        "Use the registered method, or change the registration.";
    ClientHasNoSecret = "client_has_no_secret", Client, InvalidClient,
        "Client authentication failed.",
        "The client has no secret yet.",
        "procura client rotate-secret ID.";
    ClientSecretWrong = "client_secret_wrong", Client, InvalidClient,
        "Client authentication failed.",
        "The secret is not one of the client's two live ones.",
        "Check which secret is deployed; procura client rotate-secret ID makes a new one.";
    ClientAssertionInvalid = "client_assertion_invalid", Client, InvalidClient,
        "Client authentication failed.",
        "The client assertion does not verify: its form, signature, issuer, subject, audience or times.",
        "See the detail; the audience must be the issuer or the token endpoint, as one value.";
    ClientAssertionReplayed = "client_assertion_replayed", Client, InvalidClient,
        "Client authentication failed.",
        "A client assertion with this jti was used before.",
        "Sign a new assertion with a new jti for every request.";
    ClientDocumentInvalid = "client_document_invalid", Client, InvalidClient,
        "The client is not known by a metadata document that can be used.",
        "The `client_id` is a URL under which there can be no client metadata document, or the document there does not say what it must.",
        "The detail names the member. The document is its client's: tell whoever runs the client, or register the client yourself (`procura client add`).";
    ClientDocumentUnavailable = "client_document_unavailable", Client, InvalidClient,
        "The client is not known by a metadata document that can be used.",
        "The client's metadata document could not be fetched, there is no copy of it that is new enough, and none is pinned.",
        "Try the URL from this server's network. A bot check in front of it, a redirect, or an address that is not public counts as a failure.";
    ClientNotLetIn = "client_not_let_in", Client, InvalidClient,
        "The client is not known by a metadata document that can be used.",
        "The client is not in `registration.allow` of the configuration, or is in `registration.deny`.",
        "If it should be let in, add its URL or its host to the list, or register it (`procura client add`).";
    RegistrationsTooMany = "registrations_too_many", Client, SlowDown,
        "Too many new clients from this address; try again later.",
        "Too many clients registered themselves, or came with a metadata document for the first time, from one address within a minute.",
        "Wait. If many users share the address, raise `registration.per_minute`, or check `trusted_proxies`.";
    ClientCheckBusy = "client_check_busy", Client, TemporarilyUnavailable,
        "The server is busy; try again.",
        "Too many client secrets are being checked for the first time at once.",
        "The request may be sent again; a secret that was checked once is answered at once.";
    ClientKeysUnavailable = "client_keys_unavailable", Client, TemporarilyUnavailable,
        "The keys of the client cannot be fetched at the moment.",
        "The client's jwks_uri does not answer and no earlier copy is at hand.",
        "Check the jwks_uri; the request may be sent again.";

    // 2: the grant
    GrantNotAllowed = "grant_not_allowed", Grant, UnauthorizedClient,
        "The client may not use this grant type.",
        "The grant type is not among the client's grants.",
        "Add the grant to the client in the registry file.";
    ClientIsPublic = "client_is_public", Grant, UnauthorizedClient,
        "The client may not use this grant type.",
        "A client without authentication may neither exchange tokens nor use client credentials.",
        "Register an authentication method for the client.";

    // 3: the subject token
    SubjectTokenTypeUnsupported = "subject_token_type_unsupported", SubjectToken, InvalidRequest,
        "The subject_token_type is not supported.",
        "The declared type is not one that can be a subject here (refresh tokens and SAML are not).",
        "Send an id_token, access_token or jwt.";
    SubjectTokenOpaque = "subject_token_opaque", SubjectToken, InvalidRequest,
        "The subject_token is not a JWT; opaque tokens cannot be exchanged.",
        "The subject token is not in JWS compact form, so it cannot be verified here.",
        "Have the provider issue JWT access tokens, or send the ID token.";
    SubjectTokenMalformed = "subject_token_malformed", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The subject token has three parts but is not a well-formed JWT.",
        "See the detail.";
    SubjectTokenTooLarge = "subject_token_too_large", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The subject token is larger than 16 KiB.",
        "Have the provider put fewer claims into it.";
    SubjectTokenHeaderRefused = "subject_token_header_refused", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The JOSE header asks for something that is never accepted: crit, or a key of its own.",
        "See the detail.";
    SubjectTokenIssuerUnknown = "subject_token_issuer_unknown", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The iss of the subject token is not a trusted identity provider, byte for byte.",
        "Register the provider, or correct its issuer; a trailing slash matters.";
    SubjectTokenAlgorithmRefused = "subject_token_algorithm_refused", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The algorithm is not on the provider's list, or not the one its key is for.",
        "Add it to the provider's algorithms if the provider really signs with it.";
    SubjectTokenKeyUnknown = "subject_token_key_unknown", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The provider publishes no usable key of this kid; keys were refreshed at most 30 seconds ago.",
        "Check the provider's JWKS; weak and foreign keys in it are left out.";
    SubjectTokenSignatureInvalid = "subject_token_signature_invalid", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The signature does not verify.",
        "The token was altered, or is not from this provider.";
    IssuerKeysUnavailable = "issuer_keys_unavailable", SubjectToken, TemporarilyUnavailable,
        "The keys of the identity provider cannot be fetched at the moment.",
        "The provider's discovery document or JWKS does not answer and no earlier copy is at hand.",
        "Check the connection to the provider; the request may be sent again.";
    SubjectTokenClaimsInvalid = "subject_token_claims_invalid", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "A claim is missing, of the wrong kind, or repeated.",
        "See the detail.";
    SubjectTokenExpired = "subject_token_expired", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The subject token has ended (exp).",
        "Get a fresh token from the provider.";
    SubjectTokenNotYetValid = "subject_token_not_yet_valid", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "nbf or iat lies in the future by more than the allowed skew.",
        "Compare the clocks of the provider and of this server.";
    SubjectTokenTypeMismatch = "subject_token_type_mismatch", SubjectToken, InvalidRequest,
        "The subject_token is not of the declared subject_token_type.",
        "The token's typ and claims are not those of the declared type.",
        "Declare what the token is.";
    SubjectRevoked = "subject_revoked", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The consent that our own token rests on, or that of an earlier hop, was taken back or has ended.",
        "Ask the user to agree again.";
    SubjectSessionEnded = "subject_session_ended", SubjectToken, InvalidRequest,
        "The subject token is not acceptable.",
        "The session that the token is of, or the token itself, was ended: by a logout at the identity provider, by the user, by its client or an administrator, because a code or refresh token was used twice, or because its identity provider was removed.",
        "Let the user sign in again.";
    CodeInvalid = "code_invalid", SubjectToken, InvalidGrant,
        "The code is not acceptable.",
        "The code is none of ours, is another client's, or its redirect_uri or code_verifier is not the one it was asked for with.",
        "Send the code to the token endpoint as it came, with the same redirect_uri and the code_verifier of its code_challenge.";
    CodeExpired = "code_expired", SubjectToken, InvalidGrant,
        "The code is not acceptable.",
        "The code is older than a minute.",
        "Exchange the code at once; start again at /authorize.";
    CodeReplayed = "code_replayed", SubjectToken, InvalidGrant,
        "The code is not acceptable.",
        "The code was used before. Whoever used it first may have stolen it, so all that came of it was ended (RFC 6749 section 4.1.2).",
        "Start again at /authorize; use each code once.";
    RefreshTokenInvalid = "refresh_token_invalid", SubjectToken, InvalidGrant,
        "The refresh token is not acceptable.",
        "The refresh token is none of ours, or is another client's.",
        "Start again at /authorize.";
    RefreshTokenExpired = "refresh_token_expired", SubjectToken, InvalidGrant,
        "The refresh token is not acceptable.",
        "The refresh token was not used for too long, or the grant has reached its end.",
        "Start again at /authorize; `tokens.refresh_idle_days` and `tokens.refresh_lifetime_days` say how long.";
    RefreshTokenReused = "refresh_token_reused", SubjectToken, InvalidGrant,
        "The refresh token is not acceptable.",
        "A refresh token that was replaced before was used again, after the time that is left for lost answers. It may have been stolen, so the whole family was ended (RFC 9700 section 4.14).",
        "Start again at /authorize. If a client does this often, it runs several processes on one token: see `tokens.refresh_grace_seconds`.";
    UseTokenUnknown = "use_token_unknown", SubjectToken, InvalidRequest,
        "There is no such token for this backend.",
        "A use was reported at /audit/use of a jti that no token has, or whose token is not for a backend that has the client in its clients.",
        "Report the jti of the token that was verified: was its iss checked? The client must be in the clients of the backend that the token is for.";
    SubjectActorStopped = "subject_actor_stopped", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "A client that acted earlier in the chain was suspended or removed.",
        "procura client resume ID, if it should act again.";
    UserSuspended = "user_suspended", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "An administrator suspended the user.",
        "procura user resume SUB.";
    UserUnknown = "user_unknown", SubjectToken, InvalidRequest,
        "The subject_token is not valid.",
        "The sub cannot be a user here: it is not text of at most 255 bytes, or it is the id of a client.",
        "Give the provider a subject_prefix.";

    // 4: whose subject token it is
    SubjectTokenTypeNotAccepted = "subject_token_type_not_accepted", SubjectOwner, InvalidRequest,
        "The subject_token is not accepted from this client.",
        "The provider has no subject_token rule for this type of token.",
        "Add [[identity_provider.subject_token]] with this type.";
    SubjectTokenAudienceForeign = "subject_token_audience_foreign", SubjectOwner, InvalidRequest,
        "The subject_token is not accepted from this client.",
        "The subject token was issued to another application: its aud is not accepted from this client.",
        "Add the aud to audiences and the client to clients of one rule, if they belong together.";
    SubjectTokenAzpForeign = "subject_token_azp_foreign", SubjectOwner, InvalidRequest,
        "The subject_token is not accepted from this client.",
        "The azp of the subject token names another application.",
        "Add it to the rule's audiences, if it belongs to this client.";
    SubjectTokenClaimForeign = "subject_token_claim_foreign", SubjectOwner, InvalidRequest,
        "The subject_token is not accepted from this client.",
        "A claim that the rule requires is missing or different.",
        "See required_claims of the rule; a single_use rule requires jti.";
    SubjectTokenReplayed = "subject_token_replayed", SubjectOwner, InvalidRequest,
        "The subject_token is not accepted from this client.",
        "The rule says single_use, and this client exchanged a token of this jti before.",
        "Get a fresh token, or take single_use out of the rule.";
    SubjectTokenTooOld = "subject_token_too_old", SubjectOwner, InvalidRequest,
        "The subject_token is not accepted from this client.",
        "iat is missing or further back than the provider's max_age_seconds.",
        "Get a fresh token, or raise max_age_seconds.";
    SubjectTokenNotAddressed = "subject_token_not_addressed", SubjectOwner, InvalidRequest,
        "The subject_token is not accepted from this client.",
        "Our own token was presented by a client that is neither its audience nor its actor.",
        "Add the client to the clients of the backend that the token is for.";
    WorkloadNotPermitted = "workload_not_permitted", SubjectOwner, InvalidRequest,
        "The subject_token is not accepted from this client.",
        "The subject is a client's own token, and this client may not act for that client.",
        "Add the subject to may_act_for of the client.";

    // 5: the actor
    ActorTokenTypeUnsupported = "actor_token_type_unsupported", Actor, InvalidRequest,
        "The actor_token_type is not supported.",
        "An actor token is an access_token or jwt issued by this server.",
        "Send the actor's own token from the client_credentials grant.";
    ActorTokenInvalid = "actor_token_invalid", Actor, InvalidRequest,
        "The actor_token is not valid.",
        "The actor token does not verify: form, issuer, signature, audience or times.",
        "See the detail; only tokens of this server are accepted as actor tokens.";
    ActorTokenIsSubjectToken = "actor_token_is_subject_token", Actor, InvalidRequest,
        "The actor_token is not valid.",
        "The same token was sent as subject and as actor.",
        "Send the actor's own token.";
    ActorTokenDelegated = "actor_token_delegated", Actor, InvalidRequest,
        "The actor_token is not valid.",
        "The actor token is itself a delegation, so it speaks for somebody else.",
        "Send the actor's own token from the client_credentials grant.";
    ActorStopped = "actor_stopped", Actor, InvalidRequest,
        "The actor_token is not valid.",
        "The actor is not a registered, active client.",
        "procura client resume ID, if it should act again.";
    ActorNotPermitted = "actor_not_permitted", Actor, InvalidRequest,
        "The actor_token is not accepted from this client.",
        "The actor token is another client's, which this client may not present.",
        "Add the actor to may_present of the client.";
    MayActMismatch = "may_act_mismatch", Actor, InvalidRequest,
        "The subject_token does not allow this actor.",
        "The may_act claim of the subject token names another actor.",
        "The actor that may_act names must make the exchange.";

    // 6: the chain
    ChainTooDeep = "chain_too_deep", Chain, InvalidRequest,
        "The delegation chain is too long.",
        "One more actor would pass the configured depth.",
        "Exchange nearer to the start of the chain, or raise tokens.max_chain_depth.";
    ChainCycle = "chain_cycle", Chain, InvalidRequest,
        "The delegation chain has a cycle.",
        "The actor already acted earlier in the chain.",
        "An earlier actor should use the token it was given.";

    // 7: the target
    TargetMissing = "target_missing", Target, InvalidTarget,
        "The target of the token must be named.",
        "No resource or audience was sent, and the client can reach none, or several of which none is its default.",
        "Send resource or audience; or declare default_resource of the client, or default of a resource.";
    TargetSeveral = "target_several", Target, InvalidTarget,
        "A token is for one target only.",
        "The request names several backends; a delegation token has one audience.",
        "Make one exchange per backend.";
    TargetMalformed = "target_malformed", Target, InvalidTarget,
        "The target is not acceptable.",
        "A resource is not an absolute URI without fragment (RFC 8707).",
        "Correct the parameter.";
    TargetUnknown = "target_unknown", Target, InvalidTarget,
        "The target is not acceptable.",
        "No such backend is registered.",
        "Register the backend, or correct the parameter; the detail names the nearest one.";
    TargetNotAllowed = "target_not_allowed", Target, InvalidTarget,
        "The target is not acceptable.",
        "The backend is not in the client's resources.",
        "Add it under [client.resources].";
    TargetNotReachable = "target_not_reachable", Target, InvalidTarget,
        "The target is not acceptable.",
        "No audience edge leads from the backend of the subject token to this one.",
        "Add it to may_exchange_to of the backend that the subject token is for.";

    // 8: scopes
    ScopeUnknown = "scope_unknown", Scope, InvalidScope,
        "None of the requested scopes can be granted.",
        "The backend does not have the scope.",
        "Correct the scope, or add it to the resource.";
    ScopeBeyondClient = "scope_beyond_client", Scope, InvalidScope,
        "None of the requested scopes can be granted.",
        "The scope is beyond the client's ceiling at this backend.",
        "Add it under [client.resources], if the client should ever have it.";
    ScopeBeyondSubject = "scope_beyond_subject", Scope, InvalidScope,
        "None of the requested scopes can be granted.",
        "The subject token itself does not have the scope.",
        "Get a subject token with it; if the provider's scopes mean something else, set scope = \"ignored\" in its rule.";

    // 9: consent
    ConsentMissing = "consent_missing", Consent, ConsentRequired,
        "The user has to agree first; show them the consent_uri.",
        "The user has not agreed that this client may have these scopes at this backend.",
        "Show the user the consent_uri, or procura consent grant.";
    ConsentExpired = "consent_expired", Consent, ConsentRequired,
        "The user has to agree first; show them the consent_uri.",
        "The user's consent has ended.",
        "Show the user the consent_uri.";
    ConsentRevoked = "consent_revoked", Consent, ConsentRequired,
        "The user has to agree first; show them the consent_uri.",
        "The consent was taken back.",
        "Show the user the consent_uri.";
    ConsentDenied = "consent_denied", Consent, AccessDenied,
        "The user said no.",
        "The user chose not to allow it on the consent page.",
        "Nothing: it was their choice.";
    SignInRequired = "sign_in_required", Consent, LoginRequired,
        "The user is not signed in.",
        "prompt=none was sent, and nobody is signed in in this browser.",
        "Ask again without prompt=none.";
    PageRequired = "page_required", Consent, InteractionRequired,
        "The user has to be asked.",
        "prompt=none was sent, and the user would have to be shown a page.",
        "Ask again without prompt=none.";
    SignInInsufficient = "sign_in_insufficient", Consent, UnmetAuthenticationRequirements,
        "The identity provider did not sign the user in as was asked.",
        "After a new sign-in the acr or the auth_time still is not what the request or the backend wants.",
        "See what the identity provider can do, and what the client asks for in acr_values and max_age.";
    ConsentPaused = "consent_paused", Consent, AccessDenied,
        "The user does not let this client act for now.",
        "The user paused the client on their account page.",
        "Wait until the user lets it go on, at /account; there is nothing to agree to.";

    // 10: policy
    PolicyNotPermitted = "policy_not_permitted", Policy, AccessDenied,
        "Policy does not permit this.",
        "No policy permits the scope to this user; a role may be missing.",
        "procura check shows which role or policy the scope needs.";
    PolicyForbidden = "policy_forbidden", Policy, AccessDenied,
        "Policy does not permit this.",
        "A policy forbids it; forbid always wins.",
        "The trace names the policy.";
    SignInTooWeak = "sign_in_too_weak", Policy, InsufficientUserAuthentication,
        "The user has to sign in more strongly for this resource.",
        "The backend wants one of its `acr_values`, and the user did not sign in so.",
        "Let the user sign in with one of the acr_values of the answer (RFC 9470).";
    SignInTooOld = "sign_in_too_old", Policy, InsufficientUserAuthentication,
        "The user has to sign in again for this resource.",
        "The backend wants a sign-in that is not older than its `max_auth_age_seconds`.",
        "Let the user sign in again, with the max_age of the answer (RFC 9470).";

    // 11: limits
    UserLimit = "user_limit", Limits, SlowDown,
        "Too many requests; try again later.",
        "The user was acted for too often in this minute.",
        "Wait for Retry-After; limits.user_exchanges_per_minute sets the limit.";
    GrantLimit = "grant_limit", Limits, SlowDown,
        "Too many requests; try again later.",
        "The client acted for this user too often in this minute.",
        "Wait for Retry-After; limits.grant_exchanges_per_minute sets the limit.";

    UsesTooMany = "uses_too_many", Limits, SlowDown,
        "Too many reports; try again later.",
        "A client reported too many uses in this minute, or too many of one token. This has no event: reports could fill the disk.",
        "Wait for Retry-After; audit.uses_per_minute sets the limit of a client, and one token has 60 in a minute.";
    UseTokenFull = "use_token_full", Limits, InvalidRequest,
        "As many uses of this token as are kept are on record.",
        "So many uses of the token were reported that no more are kept.",
        "Report one use for a request, not for each row; audit.uses_per_token sets the limit.";

    // 12: lifetime
    LifetimeExhausted = "lifetime_exhausted", Lifetime, InvalidRequest,
        "The subject_token is about to expire.",
        "Less than a second is left of the subject token or of the consent.",
        "Get a fresh subject token.";
}

impl Serialize for ReasonCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ReasonCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| serde::de::Error::custom("unknown reason code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_read_back() {
        let codes: HashSet<_> = ReasonCode::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(codes.len(), ReasonCode::ALL.len());
        assert!(ReasonCode::ALL.iter().all(|reason| ReasonCode::from_code(reason.as_str()) == Some(*reason)));
    }

    #[test]
    fn a_public_description_is_what_rfc_6749_allows() {
        for reason in ReasonCode::ALL {
            let text = reason.public_description();
            assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'), "{text}");
        }
    }

    #[test]
    fn gates_are_numbered_in_order() {
        assert_eq!(Gate::ALL.map(Gate::number), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }
}

//! How each vector is made: from a good token, with one thing changed.

use super::keys::{Key, Keys};
use super::{AUDIENCE, ISSUER};
use crate::issuer::with;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// What general JWT libraries do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stock {
    /// At least one lets it pass: it does not look at what is wrong.
    Accept,
    /// Each refuses it.
    Refuse,
}

/// A token, and what is to be made of it.
pub(super) struct Vector {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    /// The algorithm that the backend is registered with.
    pub(super) algorithm: &'static str,
    /// Somebody acts for a user.
    pub(super) delegated: bool,
    pub(super) token: String,
    /// The check that refuses it; none if it is good.
    pub(super) check: Option<&'static str>,
    pub(super) stock: Stock,
}

impl Vector {
    pub(super) fn to_json(&self) -> Value {
        let stock = match self.stock {
            Stock::Accept => "accept",
            Stock::Refuse => "refuse",
        };
        json!({
            "name": self.name, "why": self.why, "algorithm": self.algorithm, "delegated": self.delegated,
            "accept": self.check.is_none(), "check": self.check, "stock": stock, "token": self.token,
        })
    }
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    URL_SAFE_NO_PAD.decode(text)
}

/// Every vector, as of `now`.
pub(super) fn vectors(keys: &Keys, now: i64) -> Vec<Vector> {
    let mut book = Book { keys, now, vectors: Vec::new() };
    book.good();
    book.audiences();
    book.issuers();
    book.types();
    book.times();
    book.algorithms();
    book.keys();
    book.headers();
    book.spellings();
    book.signatures();
    book.actors();
    book.names_and_scope();
    book.statuses();
    book.vectors
}

struct Book<'a> {
    keys: &'a Keys,
    now: i64,
    vectors: Vec<Vector>,
}

impl Book<'_> {
    // --- Making tokens.

    fn claims(&self) -> Value {
        json!({
            "iss": ISSUER, "sub": "corp|alice", "aud": AUDIENCE, "iat": self.now, "exp": self.now + 300,
            "jti": "dtk_4vQZk1", "client_id": "assistant", "act": {"iss": ISSUER, "sub": "assistant"},
            "scope": "records.read records.write", "auth_time": self.now - 3600, "grant_id": "gnt_2mX8",
            "txn": "txn_7Kp1", "client_assurance": "vetted", "policy": "p1",
        })
    }

    fn header(key: &Key) -> Value {
        json!({"alg": key.algorithm, "kid": key.kid, "typ": "at+jwt"})
    }

    /// A good token with changed claims; a null takes one away.
    fn claiming(&self, change: Value) -> String {
        let key = &self.keys.es256;
        sign_text(key, &Self::header(key).to_string(), &with(self.claims(), change).to_string())
    }

    /// A good token under a changed header.
    fn under(&self, change: Value) -> String {
        self.under_signed(change, |input| self.keys.es256.sign(input))
    }

    /// Under a changed header, with any signature.
    fn under_signed(&self, change: Value, signature: impl FnOnce(&str) -> Vec<u8>) -> String {
        let header = with(Self::header(&self.keys.es256), change).to_string();
        let input = format!("{}.{}", encode(header), encode(self.claims().to_string()));
        let signature = encode(signature(&input));
        format!("{input}.{signature}")
    }

    /// Under the good header, with any text as claims.
    fn with_text(&self, claims: &str) -> String {
        sign_text(&self.keys.es256, &Self::header(&self.keys.es256).to_string(), claims)
    }

    fn genuine(&self) -> String {
        self.claiming(json!({}))
    }

    // --- Writing them down.

    fn add(&mut self, name: &'static str, why: &'static str, check: Option<&'static str>, stock: Stock, token: String) {
        self.vectors.push(Vector { name, why, algorithm: "ES256", delegated: true, token, check, stock });
    }

    fn accepted(&mut self, name: &'static str, why: &'static str, token: String) {
        self.add(name, why, None, Stock::Accept, token);
    }

    /// Each library refuses it, and so must we.
    fn refused(&mut self, name: &'static str, check: &'static str, why: &'static str, token: String) {
        self.add(name, why, Some(check), Stock::Refuse, token);
    }

    /// Some library lets it pass.
    fn refused_here(&mut self, name: &'static str, check: &'static str, why: &'static str, token: String) {
        self.add(name, why, Some(check), Stock::Accept, token);
    }

    fn with_algorithm(&mut self, algorithm: &'static str) {
        self.vectors.last_mut().unwrap().algorithm = algorithm;
    }

    fn without_delegation(&mut self) {
        self.vectors.last_mut().unwrap().delegated = false;
    }

    // --- The vectors.

    fn good(&mut self) {
        let named = ["good_es256", "good_eddsa", "good_rs256", "good_ps256"];
        for (name, key) in named.into_iter().zip(self.keys.published()) {
            let token = sign_text(key, &Self::header(key).to_string(), &self.claims().to_string());
            self.accepted(name, "an assistant acts for Alice", token);
            self.with_algorithm(key.algorithm);
        }
        let act = json!({"iss": ISSUER, "sub": "records-backend", "act": {"iss": ISSUER, "sub": "assistant"}});
        let token = self.claiming(json!({"client_id": "records-backend", "act": act}));
        self.accepted("good_two_actors", "the records backend acts for Alice, asked by the assistant", token);
        let token = self.claiming(json!({"sub": "assistant", "act": null, "grant_id": null, "auth_time": null}));
        self.accepted("good_own_token_of_a_client", "no act: the client speaks for itself", token);
        self.without_delegation();
        let token = self.claiming(json!({"scope": null}));
        self.accepted("good_without_scope", "it is Alice's assistant, and may do nothing", token);
        let status = json!({"status_list": {"idx": 7, "uri": format!("{ISSUER}/status/1")}});
        let token = self.claiming(json!({"status": status, "roles": ["doctor"], "email": "alice@example.com"}));
        self.accepted("good_with_status_and_released_claims", "claims that a verifier need not know", token);
        let token =
            self.claiming(json!({"exp": serde_json::from_str::<Value>(&format!("{}.5", self.now + 300)).unwrap()}));
        self.accepted("good_exp_with_a_fraction", "a NumericDate may have one (RFC 7519 section 2)", token);
        let token = self.claiming(json!({"sub": "corp|zoë 李"}));
        self.accepted("good_sub_outside_ascii", "names are compared byte by byte, in any script", token);
    }

    fn audiences(&mut self) {
        let token = self.claiming(json!({"aud": [AUDIENCE, "https://models.example.com"]}));
        self.accepted("aud_two_one_of_them_ours", "aud holds this backend (RFC 7519 section 4.1.3)", token);
        let foreign = ["https://models.example.com", "https://mail.example.com"];
        for (name, why, aud) in [
            ("aud_missing", "a token for nobody in particular", json!(null)),
            ("aud_foreign", "a token for another backend, passed on (A16)", json!(foreign[0])),
            ("aud_two_foreign", "several, none of them this backend", json!(foreign)),
            ("aud_with_more_behind", "ours is only how it begins", json!(format!("{AUDIENCE}.evil.example"))),
            ("aud_a_part_of_ours", "it is only how ours begins", json!("https://records.example.com")),
            ("aud_trailing_slash", "another text is another backend", json!(format!("{AUDIENCE}/"))),
            ("aud_upper_case", "another text is another backend", json!("https://RECORDS.example.com/api")),
            ("aud_number", "not a text", json!(1)),
            ("aud_empty", "no audience in the array", json!([])),
            ("aud_object", "not a text", json!({(AUDIENCE): true})),
        ] {
            let token = self.claiming(json!({ "aud": aud }));
            self.refused(name, "aud", why, token);
        }
        let token = self.claiming(json!({"aud": [AUDIENCE, 1]}));
        self.refused_here("aud_number_beside_ours", "aud", "not an array of texts", token);
    }

    fn issuers(&mut self) {
        for (name, why, iss) in [
            ("iss_foreign", "another issuer", json!("https://elsewhere.example.com")),
            ("iss_trailing_slash", "another text is another issuer", json!(format!("{ISSUER}/"))),
            ("iss_upper_case_host", "another text is another issuer", json!("https://AUTH.example.com")),
            ("iss_other_tenant", "below ours, but not ours", json!(format!("{ISSUER}/tenant-2"))),
            ("iss_missing", "nobody says it", json!(null)),
        ] {
            let token = self.claiming(json!({ "iss": iss }));
            self.refused(name, "iss", why, token);
        }
        let token = self.claiming(json!({"iss": [ISSUER]}));
        self.refused_here("iss_array", "iss", "not a text", token);
    }

    fn types(&mut self) {
        let token = self.under(json!({"typ": "application/at+jwt"}));
        self.accepted("typ_long_form", "the same media type, written out (RFC 7515 section 4.1.9)", token);
        let token = self.under(json!({"typ": "AT+JWT"}));
        self.accepted("typ_upper_case", "media types know no case", token);
        for (name, why, typ) in [
            ("typ_jwt", "any JWT", "JWT"),
            ("typ_status_list", "a status list", "statuslist+jwt"),
            ("typ_logout", "a logout token (A17)", "logout+jwt"),
            ("typ_id_jag", "an ID-JAG (A17)", "oauth-id-jag+jwt"),
            ("typ_client_assertion", "a client's assertion (A17)", "client-authentication+jwt"),
            ("typ_dpop", "a DPoP proof (A17)", "dpop+jwt"),
            ("typ_transaction", "a transaction token (A17)", "txntoken+jwt"),
            ("typ_empty", "no type at all", ""),
        ] {
            let token = self.under(json!({ "typ": typ }));
            self.refused(name, "typ", why, token);
        }
        let token = self.under(json!({"typ": null}));
        self.refused("typ_missing", "typ", "nothing says that it is an access token", token);
        let key = &self.keys.es256;
        let claims = with(self.claims(), json!({"act": null, "client_id": null, "scope": null, "nonce": "n-0S6"}));
        let token = sign_text(key, &with(Self::header(key), json!({"typ": "JWT"})).to_string(), &claims.to_string());
        self.refused("typ_id_token", "typ", "an ID token of the same issuer for an app of the same name", token);
        let token = self.under(json!({"typ": ["at+jwt"]}));
        self.refused_here("typ_array", "form", "not a text", token);
    }

    fn times(&mut self) {
        let now = self.now;
        for (name, why, change) in [
            ("iat_ahead_29_seconds", "clocks differ", json!({"iat": now + 29})),
            ("nbf_ahead_29_seconds", "clocks differ", json!({"nbf": now + 29})),
            ("life_of_an_hour", "as long as ours ever live", json!({"iat": now - 3000, "exp": now + 600})),
            ("exp_in_one_second", "it still lives", json!({"iat": now - 299, "exp": now + 1})),
        ] {
            let token = self.claiming(change);
            self.accepted(name, why, token);
        }
        for (name, why, change) in [
            ("exp_past", "ended two minutes ago", json!({"iat": now - 420, "exp": now - 120})),
            ("exp_missing", "a token that never ends", json!({"exp": null})),
            ("exp_object", "not a number", json!({"exp": {}})),
        ] {
            let token = self.claiming(change);
            self.refused(name, "exp", why, token);
        }
        for (name, check, why, change) in [
            ("exp_now", "exp", "ends now, so it has ended", json!({"iat": now - 300, "exp": now})),
            ("exp_text", "exp", "a number in quotes", json!({"exp": (now + 300).to_string()})),
            ("exp_in_milliseconds", "exp", "after the year 9999", json!({"exp": (now + 300) * 1000})),
            ("exp_beyond_an_hour", "exp", "no token of ours lives so long", json!({"exp": now + 3601})),
            ("iat_missing", "iat", "how long it lives cannot be told", json!({"iat": null})),
            ("iat_text", "exp", "a number in quotes", json!({"iat": now.to_string()})),
            ("iat_ahead_61_seconds", "iat", "clocks do not differ so much", json!({"iat": now + 61})),
            ("iat_ahead_an_hour", "iat", "made for later", json!({"iat": now + 3600, "exp": now + 3900})),
            ("nbf_ahead_61_seconds", "iat", "clocks do not differ so much", json!({"nbf": now + 61})),
            ("nbf_ahead_an_hour", "iat", "made for later", json!({"nbf": now + 3600, "exp": now + 3599})),
            ("nbf_text", "iat", "a number in quotes", json!({"nbf": now.to_string()})),
        ] {
            let token = self.claiming(change);
            self.refused_here(name, check, why, token);
        }
    }

    fn algorithms(&mut self) {
        for (name, alg) in [("alg_none", "none"), ("alg_none_mixed_case", "nOnE")] {
            let token = self.under_signed(json!({ "alg": alg }), |_| Vec::new());
            self.refused(name, "alg", "no signature (A01)", token);
        }
        let keys = self.keys;
        let forms = |names: [&'static str; 3], key: &Key| names.into_iter().zip(key.public_bytes()).collect::<Vec<_>>();
        let es256 = forms(["alg_hs256_pem_ec", "alg_hs256_der_ec", "alg_hs256_jwk_ec"], &keys.es256);
        let rs256 = forms(["alg_hs256_pem_rsa", "alg_hs256_der_rsa", "alg_hs256_jwk_rsa"], &keys.rs256);
        for (key, forms) in [(&keys.es256, es256), (&keys.rs256, rs256)] {
            for (name, secret) in forms {
                let change = json!({"alg": "HS256", "kid": key.kid});
                let token = self.under_signed(change, |input| hmac(&secret, input));
                self.refused(name, "alg", "the public key as an HMAC secret (A02)", token);
                self.with_algorithm(key.algorithm);
            }
        }
        for (name, why, key, alg) in [
            (
                "alg_ps256_by_an_rs256_key",
                "the signature is right, but the key is for RS256 (A03)",
                &keys.rs256,
                "PS256",
            ),
            (
                "alg_rs256_by_a_ps256_key",
                "the signature is right, but the key is for PS256 (A03)",
                &keys.ps256,
                "RS256",
            ),
        ] {
            let change = json!({"alg": alg, "kid": key.kid});
            let token = self.under_signed(change, |input| key.sign_as(alg, input));
            self.refused(name, "signature", why, token);
            self.with_algorithm(key.algorithm);
        }
        for (name, why, check, alg) in [
            ("alg_of_another_kind_of_key", "an EC key verifies no RSA signature", "signature", "RS256"),
            ("alg_es384", "an algorithm that ours are never signed with", "alg", "ES384"),
            ("alg_unknown", "nobody has it", "alg", "ES257"),
        ] {
            let token = self.under(json!({ "alg": alg }));
            self.refused(name, check, why, token);
        }
        let token = self.under(json!({"alg": null}));
        self.refused("alg_missing", "form", "nothing says how it was signed", token);
    }

    fn keys(&mut self) {
        let keys = self.keys;
        let attacker = json!(keys.attacker.public());
        let chain = json!(["MIIBszCCAVmgAwIBAgIUQmVpc3BpZWw"]);
        let by_attacker = |input: &str| keys.attacker.sign(input);
        let token = self.under_signed(json!({}), by_attacker);
        self.refused("key_of_somebody_else", "signature", "signed by another key under our kid", token);
        let token = self.under_signed(json!({"kid": keys.eddsa.kid, "alg": "EdDSA"}), by_attacker);
        self.refused("key_of_another_kid", "signature", "signed by a P-256 key under the kid of an Ed25519 key", token);
        self.with_algorithm("EdDSA");
        for (name, why, kid) in [
            ("kid_unknown", "the issuer has no such key", "unknown"),
            ("kid_path", "a file name (A04)", "../../../../dev/null"),
            ("kid_nul", "a NUL and a line break (A04)", "a\0b\nc"),
            ("kid_sql", "a query (A04)", "' OR 1=1 --"),
            ("kid_empty", "an empty text (A04)", ""),
        ] {
            let token = self.under(json!({ "kid": kid }));
            self.refused(name, "signature", why, token);
        }
        let token = self.under(json!({"kid": "k".repeat(10_000)}));
        self.refused("kid_of_10_kb", "form", "a flood (A04)", token);
        let token = self.under(json!({"kid": "k".repeat(300)}));
        self.refused("kid_of_300_bytes", "form", "longer than any kid of ours (A04)", token);
        let token = self.under(json!({"kid": null}));
        self.refused_here("kid_missing", "signature", "tokens of ours name their key", token);
        let token = self.under(json!({"kid": 1}));
        self.refused_here("kid_number", "form", "not a text", token);
        let evil = "https://evil.example/jwks.json";
        for (name, change) in [
            ("key_in_header_jwk", json!({"jwk": attacker, "kid": keys.attacker.kid})),
            ("key_in_header_jku", json!({"jku": evil, "kid": keys.attacker.kid})),
            ("key_in_header_x5u", json!({"x5u": evil, "kid": keys.attacker.kid})),
            ("key_in_header_x5c", json!({"x5c": chain, "kid": keys.attacker.kid})),
            ("key_in_header_jwk_under_our_kid", json!({"jwk": attacker})),
            ("key_in_header_jku_under_our_kid", json!({"jku": evil})),
        ] {
            let token = self.under_signed(change, by_attacker);
            self.refused(name, "form", "the token brings the attacker's own key (A05)", token);
        }
    }

    fn headers(&mut self) {
        let token = self.under(json!({"x-trace": "abc"}));
        self.accepted("header_unknown_member", "what is not known is ignored (RFC 7515 section 4)", token);
        for (name, why, change) in [
            ("crit_known", "exp is no header parameter (A06)", json!({"crit": ["exp"], "exp": 1})),
            ("crit_unknown", "must be understood, and is not (A06)", json!({"crit": ["x-rule"], "x-rule": 1})),
            ("crit_empty", "must not be empty (RFC 7515 section 4.1.11)", json!({"crit": []})),
            ("crit_b64", "an unencoded payload (A06)", json!({"crit": ["b64"], "b64": false})),
        ] {
            let token = self.under(change);
            self.refused_here(name, "form", why, token);
        }
        let key = &self.keys.es256;
        let (header, claims) = (Self::header(key).to_string(), self.claims().to_string());
        for (name, header, claims) in [
            ("repeated_sub", header.clone(), twice(&claims, r#""sub":"corp|bob""#)),
            ("repeated_sub_escaped", header.clone(), twice(&claims, r#""\u0073ub":"corp|bob""#)),
            ("repeated_aud", header.clone(), twice(&claims, r#""aud":"https://models.example.com""#)),
            ("repeated_member_within", header.clone(), twice(&claims, r#""x":{"y":1,"y":2}"#)),
            ("repeated_alg", twice(&header, r#""alg":"none""#), claims.clone()),
            ("repeated_kid", twice(&header, r#""kid":"other""#), claims.clone()),
        ] {
            let token = sign_text(key, &header, &claims);
            self.refused_here(name, "form", "readers differ in which of the two counts (A07)", token);
        }
    }

    fn spellings(&mut self) {
        let token = self.genuine();
        let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let [header, claims, signature] = parts.as_slice() else { panic!("three segments") };
        for (name, why, token) in [
            ("form_padding", "base64url in a JWS has no padding (A08)", format!("{token}==")),
            ("form_line_break", "white space behind it (A08)", format!("{token}\n")),
            ("form_space_within_signature", "white space within (A08)", {
                let (start, end) = signature.split_at(10);
                format!("{header}.{claims}.{start} {end}")
            }),
            ("form_bits_that_do_not_count", "the last character is not the canonical one (A08)", next_last(&token)),
            ("form_standard_alphabet", "+ and / are not of base64url (A08)", {
                format!("{header}.{claims}.+/{}", &signature[2..])
            }),
        ] {
            self.refused_here(name, "form", why, token);
        }
        for (name, why, token) in [
            ("form_space_within_claims", "white space within (A08)", format!("{header}. {claims}.{signature}")),
            ("form_one_dot", "no signature segment (A08)", format!("{header}.{claims}")),
            ("form_three_dots", "four segments (A08)", format!("{token}.{signature}")),
            ("form_jwe", "five segments: an encrypted token (A08)", format!("{token}.{signature}.{signature}")),
            (
                "form_json_serialization",
                "only the compact form is one for a header (A08)",
                json!({"protected": header, "payload": claims, "signature": signature}).to_string(),
            ),
            ("form_opaque", "not a JWT", "2YotnFZFEjr1zCsicMWpAA".to_owned()),
            ("form_empty", "nothing", String::new()),
            ("form_bearer_within", "the scheme is not part of it", format!("Bearer {token}")),
        ] {
            self.refused(name, "form", why, token);
        }
        let token = self.with_text(r#"["sub"]"#);
        self.refused("claims_array", "form", "claims are an object", token);
        let token = self.with_text("\u{feff}{}");
        self.refused("claims_with_byte_order_mark", "form", "not JSON", token);
        let token = self.with_text(&format!("{} {{}}", self.claims()));
        self.refused("claims_followed_by_more", "form", "one object, and nothing behind it", token);
        let token = self.claiming(json!({"padding": "x".repeat(6200)}));
        self.refused_here("form_over_8_kb", "form", "more than fits into a header", token);
    }

    fn signatures(&mut self) {
        let key = &self.keys.es256;
        let of = |make: &dyn Fn(Vec<u8>) -> Vec<u8>| self.under_signed(json!({}), |input| make(key.sign(input)));
        let bad = [
            ("signature_empty", "there is none (A09)", of(&|_| Vec::new())),
            ("signature_zeros", "all bytes are zero (A09)", of(&|_| vec![0; 64])),
            ("signature_der", "in the form of X.509 (A09)", of(&|signature| der(&signature))),
            ("signature_too_short", "a byte is missing (A09)", of(&|signature| signature[..63].to_vec())),
            ("signature_too_long", "a byte too many (A09)", of(&|signature| [signature, vec![0]].concat())),
            (
                "signature_one_bit_turned",
                "one bit is another one",
                of(&|mut signature| {
                    signature[40] ^= 1;
                    signature
                }),
            ),
        ];
        for (name, why, token) in bad {
            self.refused(name, "signature", why, token);
        }
        let genuine = self.genuine();
        let (_, signature) = genuine.rsplit_once('.').unwrap();
        let header = encode(Self::header(key).to_string());
        let claims = encode(with(self.claims(), json!({"sub": "corp|bob"})).to_string());
        self.refused(
            "claims_altered",
            "signature",
            "Bob's name under Alice's signature",
            format!("{header}.{claims}.{signature}"),
        );
        let token = self.under_signed(json!({"x-trace": "abc"}), |_| decode(signature).unwrap());
        self.refused("header_altered", "signature", "the header is signed too", token);
    }

    fn actors(&mut self) {
        let chain = |length: usize| {
            (1..length).fold(json!({"sub": "c0"}), |act, n| json!({"sub": format!("c{n}"), "act": act}))
        };
        let token = self.claiming(json!({"act": chain(16)}));
        self.accepted("act_of_16", "as long as a chain may be configured to be", token);
        for (name, why, act) in [
            ("act_of_17", "one more than any chain may have (A38)", chain(17)),
            ("act_array", "not an object (A39)", json!([{"sub": "assistant"}])),
            ("act_text", "not an object (A39)", json!("assistant")),
            ("act_true", "not an object (A39)", json!(true)),
            ("act_without_sub", "nobody is named (A39)", json!({"iss": ISSUER})),
            ("act_sub_number", "not a text (A39)", json!({"iss": ISSUER, "sub": 1})),
            ("act_sub_empty", "nobody is named (A39)", json!({"iss": ISSUER, "sub": ""})),
            ("act_iss_number", "not a text (A39)", json!({"iss": 1, "sub": "assistant"})),
            ("act_within_array", "an earlier actor is not an object", json!({"sub": "assistant", "act": []})),
            ("act_within_without_sub", "an earlier actor is nobody", json!({"sub": "assistant", "act": {"iss": "x"}})),
        ] {
            let token = self.claiming(json!({ "act": act }));
            self.refused_here(name, "act", why, token);
        }
        let nested = |depth: usize| {
            let claims = with(self.claims(), json!({"act": null})).to_string();
            let act = format!("\"act\":{}{{}}{}", "{\"act\":".repeat(depth), "}".repeat(depth));
            claims.replacen('{', &format!("{{{act},"), 1)
        };
        let (deep, deeper) = (self.with_text(&nested(600)), self.with_text(&nested(1000)));
        self.refused_here("act_600_deep", "form", "a bomb of 8 KB (A38)", deep);
        self.refused_here("act_1000_deep", "form", "a larger bomb (A38)", deeper);
        let null = twice(&with(self.claims(), json!({"act": null})).to_string(), r#""act":null"#);
        let token = self.with_text(&null);
        self.refused_here("act_null", "act", "not an object (A39)", token);
        let token = self.claiming(json!({"act": null}));
        self.refused_here("act_missing_for_a_user", "act", "for Alice, and nobody answers for it (A41, A76)", token);
    }

    fn names_and_scope(&mut self) {
        for (name, check, why, change) in [
            ("sub_missing", "sub", "for nobody", json!({"sub": null})),
            ("sub_number", "sub", "not a text", json!({"sub": 7})),
            ("sub_empty", "sub", "for nobody", json!({"sub": ""})),
            ("client_id_missing", "client_id", "who got it is not said", json!({"client_id": null})),
            ("client_id_number", "client_id", "not a text", json!({"client_id": 7})),
            ("jti_missing", "jti", "nothing to log", json!({"jti": null})),
            ("jti_number", "jti", "not a text", json!({"jti": 7})),
            ("scope_array", "scope", "scope is one text (RFC 8693 section 4.2)", json!({"scope": ["records.read"]})),
            ("scope_number", "scope", "not a text", json!({"scope": 1})),
            ("cnf_present", "cnf", "bound to a key whose proof nobody showed", json!({"cnf": {"jkt": "0ZcOCORZNYy"}})),
        ] {
            let token = self.claiming(change);
            self.refused_here(name, check, why, token);
        }
    }

    fn statuses(&mut self) {
        let list = |uri: &str| json!({"status_list": {"idx": 7, "uri": uri}});
        for (name, why, status) in [
            ("status_list_elsewhere", "a list of somebody else says nothing", list("https://evil.example/status/1")),
            (
                "status_list_beside_the_issuer",
                "the issuer is only how it begins",
                list(&format!("{ISSUER}.evil.example/status/1")),
            ),
            ("status_list_at_another_path", "not one of its lists", list(&format!("{ISSUER}/status/../token"))),
            ("status_text", "not an object", json!("valid")),
            ("status_without_list", "no list is named", json!({})),
            (
                "status_idx_negative",
                "no number in a list",
                json!({"status_list": {"idx": -1, "uri": format!("{ISSUER}/status/1")}}),
            ),
            (
                "status_idx_text",
                "no number in a list",
                json!({"status_list": {"idx": "7", "uri": format!("{ISSUER}/status/1")}}),
            ),
        ] {
            let token = self.claiming(json!({ "status": status }));
            self.refused_here(name, "status", why, token);
        }
    }
}

fn sign_text(key: &Key, header: &str, claims: &str) -> String {
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(key.sign(&input));
    format!("{input}.{signature}")
}

/// A JSON object with one more member in front.
fn twice(text: &str, member: &str) -> String {
    text.replacen('{', &format!("{{{member},"), 1)
}

/// The token with the next character as its last: of that one only the first bits count.
fn next_last(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = token.split_at(token.len() - 1);
    let next = ALPHABET.find(last).unwrap() + 1;
    format!("{start}{}", &ALPHABET[next..=next])
}

fn hmac(secret: &[u8], input: &str) -> Vec<u8> {
    let key = openssl::pkey::PKey::hmac(secret).unwrap();
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &key).unwrap();
    signer.sign_oneshot_to_vec(input.as_bytes()).unwrap()
}

/// An ECDSA signature as X.509 and TLS have it.
fn der(raw: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| openssl::bn::BigNum::from_slice(bytes).unwrap();
    let (r, s) = raw.split_at(32);
    openssl::ecdsa::EcdsaSig::from_private_components(number(r), number(s)).unwrap().to_der().unwrap()
}

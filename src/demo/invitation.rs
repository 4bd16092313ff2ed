//! What to try while the demo stays up.

use super::Screen;
use super::assistant::{ID_TOKEN, TOKEN_EXCHANGE};
use super::registry::ASSISTANT;
use super::screen::Look;
use super::stage::Stage;
use super::story::Told;

/// Prints it.
pub(super) fn print(stage: &Stage, told: &Told, screen: &mut Screen) {
    let at = &stage.addresses;
    let account = format!("{}/account", at.procura);
    screen.line("");
    screen.loud(Look::Bold, "Now you. Everything stays up until Ctrl-C.");
    screen.line("");
    screen.say("In a browser:");
    screen.links(&[
        ("Be Alice or Bob: sign in to Assistant, and see what it can do for you", &at.assistant),
        ("Let Desk, an app that nobody registered, act for you: sign in as Alice, allow it, see her rows", &stage.desk),
        ("What apps may do for you, and what they did", &account),
        ("What Alice is asked, since Assistant wants to book appointments too (for ten minutes)", &told.consent_uri),
        ("What Procura can do (RFC 8414)", &format!("{}/.well-known/oauth-authorization-server", at.procura)),
        ("The public keys that backends check tokens with", &format!("{}/.well-known/jwks.json", at.procura)),
        ("The identity provider", &format!("{}/.well-known/openid-configuration", at.identity_provider)),
    ]);
    screen.line("");
    screen.say("In another terminal, the exchange of step 3 with real values (the ID token is good for an hour):");
    screen.line("");
    screen.line(&curl(stage, told));
    screen.line("");
    screen.say("The backend, without a token, and with the access_token of that answer:");
    screen.line("");
    screen.line(&format!("curl -i {}", at.records));
    screen.line(&format!("curl -i -H \"Authorization: Bearer $TOKEN\" {}", at.records));
    screen.line("");
    let database = if stage.database_is_kept { "it is kept at the end" } else { "it is removed at the end" };
    screen.say(&format!("The database, while the demo runs ({database}):"));
    screen.line("");
    let program = std::env::args().next().unwrap_or_else(|| "procura".to_owned());
    for command in [
        format!("explain {}", told.refused_request),
        format!("who {}", told.jti),
        "audit list".to_owned(),
        "audit verify".to_owned(),
        "export".to_owned(),
    ] {
        screen.line(&format!("{program} --database-url {} {command}", stage.database_url));
    }
    screen.line("");
    screen.loud(Look::Loud, "DEMO, NOT FOR PRODUCTION. Ctrl-C ends it.");
}

/// A command line that can be pasted as it is.
fn curl(stage: &Stage, told: &Told) -> String {
    let url = stage.assistant.token_endpoint();
    let lines = [
        format!("curl -s -u {ASSISTANT}:{} {url}", stage.assistant.client_secret),
        format!("-d grant_type={TOKEN_EXCHANGE}"),
        format!("-d subject_token_type={ID_TOKEN}"),
        format!("-d subject_token={}", told.id_token),
        format!("-d resource={} -d scope=records.read", stage.addresses.records),
    ];
    lines.join(" \\\n  ")
}

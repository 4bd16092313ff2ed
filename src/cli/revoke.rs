//! `procura revoke`: the kill switch.

use super::registry::{Session, find, with_registry};
use super::{CliError, Context, output};
use crate::audit::live::LiveTokens;
use crate::audit::words::count;
use crate::domain::change::{Change, RevocationTarget};
use crate::domain::names::{ClientId, IdpId, ResourceId, UserId};
use crate::store::Held;
use serde_json::json;

/// Arguments: whose tokens, sign-ins and agreements end.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("target").required(true)))]
pub struct Args {
    /// All that clients hold of this user: the `sub` of tokens.
    #[arg(long, value_name = "SUB", group = "target")]
    user: Option<UserId>,
    /// All that this client holds, of whomever, and at every hop that it took part in.
    #[arg(long, value_name = "ID", group = "target")]
    client: Option<ClientId>,
    /// All that is for this backend.
    #[arg(long, value_name = "ID", group = "target")]
    resource: Option<ResourceId>,
    /// All that came of one session at an identity provider: its id here, and the `sid` there.
    #[arg(long, num_args = 2, value_names = ["IDP", "SID"], group = "target")]
    session: Option<Vec<String>>,
    /// Leave what users agreed to: clients get new tokens without asking anybody.
    #[arg(long)]
    keep_consents: bool,
    /// Say what would end, and end nothing.
    #[arg(long)]
    preview: bool,
}

/// Ends tokens, sign-ins and agreements of a user, a client, a backend or a session, all there are now.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| {
        let (keeps, preview) = (args.keep_consents, args.preview);
        let target = target(session, args).await?;
        let held = session.store.held_by(&target, session.clock.now()).await?;
        let live = LiveTokens::at(&session.store, session.registry(), session.clock.now_ms()).await?;
        if !preview {
            let change = Change::RevokeAll { target: target.clone(), consents: !keeps };
            session.change_quietly(&[change], &[]).await?;
        }
        tell(session, &target, (held, keeps), &live, preview);
        Ok(())
    })
    .await
}

async fn target(session: &Session, args: Args) -> Result<RevocationTarget, CliError> {
    let current = &session.current;
    if let Some(id) = args.user {
        if session.store.find_user(&id).await?.is_none() {
            output::note(&format!("{id} was never seen here: is it the sub of tokens?"));
        }
        return Ok(RevocationTarget::User(id));
    }
    if let Some(id) = args.client {
        let declared = find("client", id.as_str(), &current.clients, |entry| entry.client.id.as_str());
        return match (declared, session.store.find_dynamic_client(&id).await?) {
            (Ok(_), _) | (_, Some(_)) => Ok(RevocationTarget::Client(id)),
            (Err(nearest), None) => Err(nearest),
        };
    }
    if let Some(id) = args.resource {
        find("resource", id.as_str(), &current.resources, |resource| resource.id.as_str())?;
        return Ok(RevocationTarget::Resource(id));
    }
    let Some([idp, sid]) = args.session.as_deref() else {
        return Err(CliError::new("say whose: --user, --client, --resource or --session"));
    };
    find("identity provider", idp, &current.identity_providers, |idp| idp.id.as_str())?;
    let idp: IdpId = idp.parse().map_err(|problem| CliError::new(format!("{idp}: {problem}")))?;
    Ok(RevocationTarget::Session { idp, session: sid.clone() })
}

fn tell(session: &Session, target: &RevocationTarget, (held, keeps): (Held, bool), live: &LiveTokens, preview: bool) {
    let consents = if keeps { 0 } else { held.consents };
    let tokens = live.of(target);
    let document = json!({
        "target": target.to_string(),
        "preview": preview,
        "consents": consents,
        "sign_ins": held.families,
        "browser_sessions": held.sessions,
        "tokens": tokens,
        "tokens_complete": live.is_complete,
    });
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    let at_least = if live.is_complete { "" } else { "at least " };
    let tokens = format!("{at_least}{}", count(u64::try_from(tokens).unwrap_or(u64::MAX), "live token"));
    let mut lines = vec![format!(
        "{} of {target}: {}, {}, {}, {tokens}",
        if preview { "would end" } else { "ended" },
        count(number(consents), "consent"),
        count(number(held.families), "sign-in"),
        count(number(held.sessions), "browser session"),
    )];
    if !preview {
        lines.push(WHEN.to_owned());
        lines.extend(match target {
            RevocationTarget::User(id) => Some(format!("to keep new ones from coming: procura user suspend {id}")),
            RevocationTarget::Client(id) => Some(format!("to keep new ones from coming: procura client suspend {id}")),
            RevocationTarget::Resource(_) | RevocationTarget::Session { .. } => None,
        });
    }
    session.show(&lines.join("\n"), &document);
}

/// How long it takes.
const WHEN: &str = "Every server goes by it within a second; backends that read status lists within \
                    tokens.status_list_ttl_seconds and a second; others when each token expires.";

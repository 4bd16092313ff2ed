//! `procura check`: a dry run of the decision.

use super::{CliError, Context, output};
use crate::clock::Clock;
use crate::domain::client::GrantType;
use crate::domain::decision::{Granted, Refusal};
use crate::domain::scope::Scope;
use crate::domain::target::RequestedTargets;
use crate::grants::dry_run::{self, Answer, Ask};
use serde_json::{Value, json};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The user, as backends see them: the provider's subject_prefix and the `sub` there.
    #[arg(long, value_name = "SUB")]
    user: String,
    /// The client that would ask: declared, registered by itself, or known by its document.
    #[arg(long, value_name = "CLIENT_ID")]
    client: String,
    /// The backend, by id or audience; the client's only one if left out.
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// A scope; repeat for several; all the client may have if left out.
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<Scope>,
    /// A role to assume instead of the roles the provider last told us; repeat for several.
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
}

/// Dry run of the decision: what would be granted, and what cut it.
///
/// Exit 0 if something would be granted, 1 if not, or not before the user is asked.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let config = context.config_to_read()?;
    let store = context.store_to_read(&config).await?;
    let ask = Ask {
        user: args.user.parse().map_err(|problem| CliError::new(format!("--user: {problem}")))?,
        client: args.client.clone(),
        targets: RequestedTargets {
            audiences: args.resource.clone().into_iter().collect(),
            ..RequestedTargets::default()
        },
        scopes: (!args.scope.is_empty()).then(|| args.scope.iter().cloned().collect()),
        roles: (!args.role.is_empty()).then(|| args.role.clone()),
    };
    let answer = dry_run::check(&store, &config, &ask, Clock::System.now()).await;
    store.close().await;
    let answer = answer.map_err(|problem| CliError::new(problem.to_string()))?;
    if context.json {
        output::json(&as_json(&answer));
    } else {
        if !answer.user_is_known && ask.roles.is_none() {
            output::note(&format!(
                "note: {} was never acted for, so nothing is known of their roles; --role assumes one",
                ask.user
            ));
        }
        if let Some(acr) = &answer.assumed_acr {
            output::note(&format!("note: assumes that the user signs in with acr {acr}, as the backend wants"));
        }
        print(&answer, &args);
    }
    match &answer.decision.outcome {
        Ok(_) => Ok(()),
        Err(refusal) if is_asked(&answer, refusal) => {
            Err(CliError::new(format!("the user would be asked: {}", refusal.reason.as_str())))
        }
        Err(refusal) => Err(CliError::new(format!("would be refused: {}", refusal.reason.as_str()))),
    }
}

/// At `/authorize` the user is asked for what they have not agreed to.
fn is_asked(answer: &Answer, refusal: &Refusal) -> bool {
    answer.grant == GrantType::AuthorizationCode && refusal.consent.is_some()
}

fn print(answer: &Answer, args: &Args) {
    let decision = &answer.decision;
    match &decision.outcome {
        Ok(granted) => print_granted(granted, args),
        Err(refusal) if is_asked(answer, refusal) => {
            output::text(&format!("ASKED    {}", refusal.reason.meaning()));
            output::text(&format!("         {}", refusal.detail));
            output::text("to do    nothing: the user is asked on the consent page; or procura consent grant");
        }
        Err(refusal) => {
            output::text(&format!("REFUSED  {}", refusal.reason.meaning()));
            output::text(&format!("         {}", refusal.detail));
            output::text(&format!("to do    {}", refusal.reason.fix()));
        }
    }
    output::text(match answer.grant {
        GrantType::TokenExchange => "how      by a token exchange",
        GrantType::AuthorizationCode | GrantType::ClientCredentials | GrantType::RefreshToken => {
            "how      by a sign-in at /authorize"
        }
    });
    output::text("");
    for line in decision.trace.lines() {
        output::text(&line.to_string());
    }
}

fn print_granted(granted: &Granted, args: &Args) {
    output::text(&format!("GRANTED  {} may act for {} with: {}", args.client, args.user, granted.scopes));
    for cut in &granted.cut {
        output::text(&format!("without  {} ({}: {})", cut.scope, cut.reason.as_str(), cut.reason.meaning()));
    }
    let seconds = granted.expires_at.saturating_sub(granted.issued_at);
    output::text(&format!("for      {seconds} seconds at most"));
}

fn as_json(answer: &Answer) -> Value {
    let decision = &answer.decision;
    let granted = decision.outcome.as_ref().ok();
    let refusal = decision.outcome.as_ref().err();
    let cut: Vec<Value> = granted
        .into_iter()
        .flat_map(|granted| &granted.cut)
        .map(|cut| json!({"scope": cut.scope.as_str(), "reason": cut.reason.as_str()}))
        .collect();
    json!({
        "outcome": if granted.is_some() { "granted" } else { "refused" },
        "reason": refusal.map_or("granted", |refusal| refusal.reason.as_str()),
        "error": refusal.map(|refusal| refusal.reason.error().as_str()),
        "detail": refusal.map(|refusal| refusal.detail.as_str()),
        "granted": granted.map(|granted| granted.scopes.to_string()),
        "cut": cut,
        "expires_in": granted.map(|granted| granted.expires_at.saturating_sub(granted.issued_at)),
        "assumed_acr": answer.assumed_acr,
        "trace": decision.trace.lines(),
    })
}

//! `procura user`.

use super::registry::{Session, joined, time_or_dash, with_registry};
use super::{CliError, Context, output};
use crate::domain::change::Change;
use crate::domain::names::UserId;
use crate::mistake;
use serde_json::{Value, json};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the users that were seen or suspended.
    List(List),
    /// Keep a user from being acted for.
    Suspend(One),
    /// Let a suspended user be acted for again.
    Resume(One),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only suspended ones.
    #[arg(long)]
    suspended: bool,
    /// How many at most.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The `sub` of tokens.
    id: UserId,
}

/// Suspend users, and let them be acted for again.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| match args.action {
        Action::List(list) => self::list(session, &list).await,
        Action::Suspend(one) if session.current.suspended_users.contains(&one.id) => session.change(&[], &[]).await,
        Action::Suspend(one) => {
            if session.store.find_user(&one.id).await?.is_none() {
                output::note(&format!("{} was never seen; whoever comes with this sub will be refused.", one.id));
            }
            session.change(&[Change::SuspendUser(one.id)], &[]).await
        }
        Action::Resume(one) if session.current.suspended_users.contains(&one.id) => {
            session.change(&[Change::ResumeUser(one.id)], &[]).await
        }
        Action::Resume(one) => {
            let mut suspended: Vec<&str> = session.current.suspended_users.iter().map(UserId::as_str).collect();
            suspended.sort_unstable();
            let hint = mistake::hint(one.id.as_str(), suspended);
            Err(CliError::new(format!("user {} is not suspended{hint}", one.id)))
        }
    })
    .await
}

async fn list(session: &Session, list: &List) -> Result<(), CliError> {
    let users = session.store.list_users(list.suspended, list.limit).await?;
    let rows = users.iter().map(|user| {
        vec![
            user.id.to_string(),
            user.idp.to_string(),
            user.attributes.name.clone().unwrap_or_else(|| "-".to_owned()),
            joined(&user.attributes.roles),
            time_or_dash(user.suspended_at),
        ]
    });
    let documents: Vec<Value> = users.iter().map(|user| json!(user)).collect();
    session.list(&["id", "idp", "name", "roles", "suspended"], rows.collect(), &documents);
    Ok(())
}

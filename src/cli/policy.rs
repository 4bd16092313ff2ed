//! `procura policy`.

use super::registry::{Session, find, must_be_new, with_registry};
use super::{CliError, Context, output};
use crate::domain::change::Change;
use crate::domain::names::PolicyId;
use crate::domain::policy::PolicyText;
use crate::registry_file::RegistryFile;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Register Cedar text.
    Add(Add),
    /// List policies.
    List,
    /// Print the Cedar text of a policy.
    Show(One),
    /// Remove a policy.
    Remove(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The registry's name of it.
    id: PolicyId,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The registry's name of it.
    id: PolicyId,
    /// The Cedar text.
    #[arg(long, value_name = "TEXT", required_unless_present = "file")]
    cedar: Option<String>,
    /// A file with the Cedar text.
    #[arg(long, value_name = "FILE", conflicts_with = "cedar")]
    file: Option<PathBuf>,
}

/// Register and manage Cedar policies.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| match args.action {
        Action::Add(add) => {
            must_be_new("policy", add.id.as_str(), &session.current.policies, |policy| policy.id.as_str())?;
            let file = RegistryFile::declared(Vec::new(), Vec::new(), Vec::new(), vec![declared(add)?])?;
            session.add(&file).await
        }
        Action::List => {
            list(session);
            Ok(())
        }
        Action::Show(one) => {
            let policy = known(session, &one.id)?;
            session.show(&policy.cedar, &json!(policy));
            Ok(())
        }
        Action::Remove(one) => {
            known(session, &one.id)?;
            if session.current.policies.len() == 1 {
                output::note("No policy of your own is left: only the built-in ones decide.");
            }
            session.change(&[Change::RemovePolicy(one.id)], &[]).await
        }
    })
    .await
}

fn known<'a>(session: &'a Session, id: &PolicyId) -> Result<&'a PolicyText, CliError> {
    find("policy", id.as_str(), &session.current.policies, |policy| policy.id.as_str())
}

fn declared(add: Add) -> Result<PolicyText, CliError> {
    let cedar = match (add.cedar, add.file) {
        (Some(cedar), _) => cedar,
        (None, Some(path)) => std::fs::read_to_string(&path)
            .map_err(|error| CliError::new(format!("{}: cannot be read: {error}", path.display())))?,
        (None, None) => return Err(CliError::new("a policy needs Cedar text")),
    };
    Ok(PolicyText { id: add.id, cedar })
}

fn list(session: &Session) {
    let policies = &session.current.policies;
    let rows = policies.iter().map(|policy| {
        let first = policy.cedar.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        let first: String = first.chars().take(100).collect();
        vec![policy.id.to_string(), policy.cedar.lines().count().to_string(), first]
    });
    let documents: Vec<Value> = policies.iter().map(|policy| json!(policy)).collect();
    session.list(&["id", "lines", "begins"], rows.collect(), &documents);
}

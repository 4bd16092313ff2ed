//! `procura apply`.

use super::{CliError, Context, output};
use crate::clock::Clock;
use crate::domain::identity_provider::IdentityProvider;
use crate::registry_file::{self, ApplyOptions, Server, Source};
use crate::upstream::login::secret_of;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Registry files; together they are one. `-` is the standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Tell what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Also remove what the files do not declare.
    #[arg(long)]
    prune: bool,
}

/// Make the registry match declarative files, in one transaction.
pub async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let config = context.config()?;
    let sources = args.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let store = context.store(&config).await?;
    let options = ApplyOptions { dry_run: args.dry_run, prune: args.prune };
    let applied = registry_file::apply(&store, &sources, options, Server::of(&config), &Clock::System).await;
    store.close().await;
    let applied = applied?;
    if context.json {
        output::json(&json!({ "dry_run": args.dry_run, "changes": applied.lines }));
    } else if applied.lines.is_empty() {
        output::text("nothing to change");
    } else {
        output::text(&applied.lines.join("\n"));
        for note in secrets_elsewhere(&sources) {
            output::note(&note);
        }
        if args.dry_run {
            output::note("dry run: nothing was changed");
        }
    }
    Ok(())
}

/// Variables with our secrets at providers that are not set here. The server may have another environment than this
/// command, so it is only said.
fn secrets_elsewhere(sources: &[Source]) -> Vec<String> {
    let declared = registry_file::parse(sources).map_or_else(|_| Vec::new(), |file| file.identity_providers);
    let missing = |idp: &IdentityProvider| {
        let login = idp.login.as_ref().filter(|login| secret_of(login).is_err())?;
        let variable = login.client_secret_env.as_deref()?;
        Some(format!(
            "identity provider {}: nobody can sign in there unless the server has {variable}; this command does not",
            idp.id
        ))
    };
    declared.iter().filter_map(missing).collect()
}

fn read(path: &Path) -> Result<Source, CliError> {
    if path.as_os_str() != "-" {
        return Ok(Source::read(path)?);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(Source { name: "standard input".to_owned(), text, directory: PathBuf::new() })
}

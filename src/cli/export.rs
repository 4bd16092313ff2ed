//! `procura export`.

use super::registry::with_registry;
use super::{CliError, Context, output};
use crate::domain::client::Client;
use crate::registry_file;
use serde_json::json;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Print the registry as a registry file, without secrets.
pub async fn run(context: &Context, _args: Args) -> Result<(), CliError> {
    with_registry(context, async |session| {
        let current = &session.current;
        if context.json {
            let clients: Vec<&Client> = current.clients.iter().map(|entry| &entry.client).collect();
            output::json(&json!({
                "identity_provider": current.identity_providers,
                "resource": current.resources,
                "client": clients,
                "policy": current.policies,
            }));
        } else {
            output::text(registry_file::to_toml(current).trim_end());
        }
        Ok(())
    })
    .await
}

//! `[audit]`: checkpoints, where they are kept outside, how long events are kept, and what backends may report.

use super::ConfigProblem;
use super::settings::Settings;
use std::path::PathBuf;
use url::{Host, Url};

/// `[audit]`: what makes events evidence.
#[derive(Debug, Clone)]
pub struct EvidenceSettings {
    /// A checkpoint is made at least so often, if there is something new; 300. 0: only by `checkpoint_events` and command.
    pub checkpoint_seconds: u32,
    /// And as soon as there are so many new events; 10000. 0: only by time and command.
    pub checkpoint_events: u32,
    /// A file that each checkpoint is appended to.
    pub checkpoint_file: Option<PathBuf>,
    /// Where each checkpoint is posted to: https, or http on loopback.
    pub checkpoint_url: Option<Url>,
    /// Events are removed after so many days; 0: never.
    pub keep_days: u32,
    /// How many uses of one token backends may report; 100.
    pub uses_per_token: u32,
    /// How many uses one client may report in a minute; 600. 0: no limit.
    pub uses_per_minute: u32,
}

pub(super) fn of(settings: &Settings) -> Result<EvidenceSettings, ConfigProblem> {
    let checkpoint_url = settings.text("audit.checkpoint_url")?.map(|text| {
        let url = Url::parse(&text).ok().filter(is_usable);
        url.ok_or_else(|| {
            settings.problem(
                "audit.checkpoint_url",
                "must be a https URL without user and fragment, or http on 127.0.0.1, [::1] or localhost",
            )
        })
    });
    Ok(EvidenceSettings {
        checkpoint_seconds: settings.number("audit.checkpoint_seconds", 300, 0..=86_400)?,
        checkpoint_events: settings.number("audit.checkpoint_events", 10_000, 0..=10_000_000)?,
        checkpoint_file: settings.text("audit.checkpoint_file")?.map(PathBuf::from),
        checkpoint_url: checkpoint_url.transpose()?,
        keep_days: settings.number("audit.keep_days", 0, 0..=36_500)?,
        uses_per_token: settings.number("audit.uses_per_token", 100, 1..=10_000)?,
        uses_per_minute: settings.number("audit.uses_per_minute", 600, 0..=1_000_000)?,
    })
}

fn is_usable(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    is_plain && (url.scheme() == "https" || (url.scheme() == "http" && is_here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_go_to_https_or_to_this_machine() {
        let usable = |text: &str| Url::parse(text).is_ok_and(|url| is_usable(&url));
        for text in ["https://notary.example.com/x?y=1", "http://127.0.0.1:9/", "http://[::1]/", "http://localhost/"] {
            assert!(usable(text), "{text}");
        }
        for text in ["http://notary.example.com/", "ftp://127.0.0.1/", "https://u:p@a.example/", "https://a.example/#x"]
        {
            assert!(!usable(text), "{text}");
        }
    }
}

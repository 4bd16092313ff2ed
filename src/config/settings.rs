//! The settings as given, by dotted key, from file and environment; and their conversion with exact errors.

use super::{ConfigProblem, ConfigSources};
use crate::mistake;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use tracing_subscriber::EnvFilter;

/// Every key, sections with a dot. `procura.example.toml` has each of them.
pub const KNOWN_KEYS: &[&str] = &[
    "issuer",
    "listen",
    "admin_listen",
    "database_url",
    "secrets_key",
    "trusted_proxies",
    "organisation.name",
    "organisation.logo_file",
    "organisation.support_url",
    "tokens.max_chain_depth",
    "tokens.clock_skew_seconds",
    "tokens.own_token_lifetime_seconds",
    "tokens.refresh_idle_days",
    "tokens.status_list_ttl_seconds",
    "tokens.refresh_lifetime_days",
    "tokens.refresh_grace_seconds",
    "keys.rotate_after_days",
    "keys.publish_before_use_seconds",
    "policy.default",
    "sessions.lifetime_seconds",
    "registration.dynamic",
    "registration.initial_access_token",
    "registration.metadata_documents",
    "registration.allow",
    "registration.deny",
    "registration.private_use_redirect_uris",
    "registration.per_minute",
    "registration.unused_hours",
    "registration.idle_days",
    "limits.body_bytes",
    "limits.request_seconds",
    "limits.requests_in_flight",
    "limits.failed_authentications_per_minute",
    "limits.new_sessions_per_minute",
    "limits.user_exchanges_per_minute",
    "limits.grant_exchanges_per_minute",
    "limits.revocations_per_minute",
    "audit.events_per_commit",
    "audit.queue",
    "audit.checkpoint_seconds",
    "audit.checkpoint_events",
    "audit.checkpoint_file",
    "audit.checkpoint_url",
    "audit.keep_days",
    "audit.uses_per_token",
    "audit.uses_per_minute",
    "log.format",
    "log.filter",
];

const PREFIX: &str = "PROCURA_";

/// A value as given.
#[derive(Debug)]
enum Given {
    /// A text: from a file, or any variable.
    Text(String),
    /// From a file: a whole number.
    Integer(String),
    /// From a file: an array of texts.
    List(Vec<String>),
    /// From a file: something else, by the name of its type.
    Other(&'static str),
}

#[derive(Debug)]
struct Setting {
    place: String,
    given: Given,
}

/// All that was given. Keys are known ones.
#[derive(Debug)]
pub(super) struct Settings {
    by_key: BTreeMap<&'static str, Setting>,
    /// Where to write what is missing.
    home: String,
}

impl Settings {
    /// Reads the file, then the environment, then the command line; the later wins.
    pub(super) fn gather(sources: &ConfigSources) -> Result<Self, ConfigProblem> {
        let home = sources.file.as_deref().map_or("configuration".to_owned(), file_name);
        let mut settings = Self { by_key: BTreeMap::new(), home };
        if let Some(path) = &sources.file {
            settings.read_file(path)?;
        }
        for (name, value) in &sources.environment {
            settings.read_variable(name, value)?;
        }
        if let Some(url) = &sources.database_url {
            let setting = Setting { place: "--database-url".to_owned(), given: Given::Text(url.clone()) };
            settings.by_key.insert("database_url", setting);
        }
        Ok(settings)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigProblem> {
        let name = file_name(path);
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigProblem { place: name.clone(), problem: format!("cannot be read: {error}") })?;
        let place = |offset: usize| format!("{name}:{}", mistake::line_at(&text, offset));
        let document = DeTable::parse(&text).map_err(|error| ConfigProblem {
            place: place(error.span().map_or(0, |span| span.start)),
            problem: error.message().to_owned(),
        })?;
        for (key, value) in document.get_ref() {
            match value.get_ref().as_table().filter(|_| is_section(key.get_ref())) {
                Some(section) => {
                    for (member, value) in section {
                        let place = place(member.span().start);
                        self.insert(place, &format!("{}.{}", key.get_ref(), member.get_ref()), given(value))?;
                    }
                }
                None => self.insert(place(key.span().start), key.get_ref(), given(value))?,
            }
        }
        Ok(())
    }

    fn read_variable(&mut self, name: &str, value: &str) -> Result<(), ConfigProblem> {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| *rest != "CONFIG" && !is_of_kubernetes(rest)) else {
            return Ok(());
        };
        let refuse = |problem: String| Err(ConfigProblem { place: name.to_owned(), problem });
        let key = rest.to_ascii_lowercase().replace("__", ".");
        let Some(known) = known_key(&key) else {
            let variables: Vec<String> = KNOWN_KEYS.iter().map(|key| variable(key)).collect();
            let hint = mistake::nearest(name, variables.iter().map(String::as_str));
            return refuse(match hint {
                Some(near) => format!("unknown variable; did you mean `{near}`?"),
                None => "unknown variable: no key of the configuration has this name".to_owned(),
            });
        };
        if value.is_empty() {
            return refuse("is empty: give it a value or unset it".to_owned());
        }
        self.by_key.insert(known, Setting { place: name.to_owned(), given: Given::Text(value.to_owned()) });
        Ok(())
    }

    fn insert(&mut self, place: String, key: &str, given: Given) -> Result<(), ConfigProblem> {
        if let Some(known) = known_key(key) {
            self.by_key.insert(known, Setting { place, given });
            return Ok(());
        }
        let problem = if is_section(key) {
            format!("`{key}` is a section: write [{key}] and its keys below")
        } else if matches!(given, Given::Other("table")) {
            format!("unknown section `{key}`{}", mistake::hint(key, sections()))
        } else {
            format!("unknown key `{key}`{}", mistake::hint(key, known_near(key)))
        };
        Err(ConfigProblem { place, problem })
    }

    /// A problem with a key, at the place where it was given.
    pub(super) fn problem(&self, key: &str, problem: impl Display) -> ConfigProblem {
        let (place, name) = match self.by_key.get(key) {
            Some(setting) if setting.place.starts_with(PREFIX) || setting.place.starts_with("--") => {
                return ConfigProblem { place: setting.place.clone(), problem: problem.to_string() };
            }
            Some(setting) => (setting.place.clone(), key),
            None => (self.home.clone(), key),
        };
        ConfigProblem { place, problem: format!("`{name}` {problem}") }
    }

    fn wrong(&self, key: &str, wanted: &str, given: &Given) -> ConfigProblem {
        let is = match given {
            Given::Text(_) => "a text",
            Given::Integer(_) => "a number",
            Given::List(_) => "an array",
            Given::Other(kind) => kind,
        };
        self.problem(key, format!("must be {wanted}, and is {is}"))
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, ConfigProblem> {
        match self.by_key.get(key).map(|setting| &setting.given) {
            None => Ok(None),
            Some(Given::Text(text)) => Ok(Some(text.clone())),
            Some(given) => Err(self.wrong(key, "a text", given)),
        }
    }

    /// A whole number in a range.
    pub(super) fn number<N>(&self, key: &str, default: N, range: RangeInclusive<N>) -> Result<N, ConfigProblem>
    where
        N: std::str::FromStr + PartialOrd + Display,
    {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        match self.by_key.get(key).map(|setting| &setting.given) {
            None => Ok(default),
            Some(Given::Integer(text) | Given::Text(text)) if self.is_number(key) => {
                let number = text.parse().ok().filter(|number| range.contains(number));
                number.ok_or_else(|| self.problem(key, format!("must be {wanted}")))
            }
            Some(given) => Err(self.wrong(key, &wanted, given)),
        }
    }

    /// A number, or the text of a variable: in a file a number is not written in quotes.
    fn is_number(&self, key: &str) -> bool {
        self.by_key.get(key).is_some_and(|setting| match setting.given {
            Given::Integer(_) => true,
            Given::Text(_) => setting.place.starts_with(PREFIX),
            Given::List(_) | Given::Other(_) => false,
        })
    }

    /// One of several words; the first is the default.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, ConfigProblem> {
        let chosen = match self.by_key.get(key).map(|setting| &setting.given) {
            None => choices.first(),
            Some(Given::Text(text)) => choices.iter().find(|(word, _)| word == text),
            Some(Given::Integer(_) | Given::List(_) | Given::Other(_)) => None,
        };
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.problem(key, format!("must be {}", words.join(" or ")))
        })
    }

    /// An address with a port; by default the given port on loopback.
    pub(super) fn address(&self, key: &str, default_port: u16) -> Result<SocketAddr, ConfigProblem> {
        match self.text(key)? {
            None => Ok((Ipv4Addr::LOCALHOST, default_port).into()),
            Some(text) => text.parse().map_err(|_| {
                let wanted = format!("must be an IP address and a port, such as 127.0.0.1:{default_port}");
                self.problem(key, format!("{wanted} or [::1]:{default_port}"))
            }),
        }
    }

    /// Texts; by default the given ones. In a variable they are separated by commas.
    pub(super) fn texts(&self, key: &str, default: &[&str]) -> Result<Vec<String>, ConfigProblem> {
        let setting = self.by_key.get(key).map(|setting| (&setting.given, setting.place.starts_with(PREFIX)));
        match setting {
            None => Ok(default.iter().map(|text| (*text).to_owned()).collect()),
            Some((Given::List(texts), _)) => Ok(texts.clone()),
            Some((Given::Text(text), true)) => Ok(text.split(',').map(|part| part.trim().to_owned()).collect()),
            Some((given, _)) => Err(self.wrong(key, "an array of texts", given)),
        }
    }

    /// Networks such as `10.0.0.0/8`, or single addresses. In a variable they are separated by commas.
    pub(super) fn networks(&self, key: &str) -> Result<Vec<IpNet>, ConfigProblem> {
        let wanted = "an array of addresses or networks such as \"10.0.0.0/8\"";
        let texts = match self.by_key.get(key).map(|setting| (&setting.given, setting.place.starts_with(PREFIX))) {
            None => Vec::new(),
            Some((Given::List(texts), _)) => texts.clone(),
            Some((Given::Text(text), true)) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            Some((given, _)) => return Err(self.wrong(key, wanted, given)),
        };
        let network = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        texts
            .iter()
            .map(|text| network(text).map_err(|_| self.problem(key, format!("must be {wanted}, and has \"{text}\""))))
            .collect()
    }

    /// Where the database is. Its text may hold a password, so no error repeats it.
    pub(super) fn database_url(&self) -> Result<String, ConfigProblem> {
        let url = self.text("database_url")?.unwrap_or_else(|| "sqlite://procura.db".to_owned());
        let scheme = url.split_once(':').map(|(scheme, rest)| (scheme, rest.trim_start_matches('/')));
        match scheme {
            Some(("sqlite" | "postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(url),
            _ => Err(self.problem("database_url", "must be sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME")),
        }
    }

    /// A `tracing` filter.
    pub(super) fn filter(&self, key: &str, default: &str) -> Result<String, ConfigProblem> {
        let filter = self.text(key)?.unwrap_or_else(|| default.to_owned());
        match EnvFilter::try_new(&filter) {
            Ok(_) => Ok(filter),
            Err(error) => Err(self.problem(key, format!("is not a filter such as info,procura=debug: {error}"))),
        }
    }
}

fn file_name(path: &Path) -> String {
    path.display().to_string()
}

fn known_key(key: &str) -> Option<&'static str> {
    KNOWN_KEYS.iter().find(|known| **known == key).copied()
}

fn sections() -> impl Iterator<Item = &'static str> + Clone {
    let named = KNOWN_KEYS.iter().filter_map(|key| key.split_once('.').map(|(section, _)| section));
    let mut last = "";
    let firsts: Vec<&str> = named.filter(|section| std::mem::replace(&mut last, section) != *section).collect();
    firsts.into_iter()
}

fn is_section(key: &str) -> bool {
    sections().any(|section| section == key)
}

/// The keys of the same section if there is one, since they are what was probably meant.
fn known_near(key: &str) -> impl Iterator<Item = &'static str> + Clone {
    let section = key.split_once('.').map(|(section, _)| section.to_owned());
    KNOWN_KEYS.iter().copied().filter(move |known| match &section {
        Some(section) => known.split_once('.').is_some_and(|(name, _)| name == section),
        None => true,
    })
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// Kubernetes sets such variables in every pod beside a Service named `procura`; they are not ours.
fn is_of_kubernetes(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_HOST") || rest.starts_with("SERVICE_PORT")
}

fn given(value: &Spanned<DeValue<'_>>) -> Given {
    match value.get_ref() {
        DeValue::String(text) => Given::Text(text.clone().into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Given::Integer(number.to_string()),
            Err(_) => Given::Other("a number too large"),
        },
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            Option::<Vec<String>>::map_or(texts, Given::Other("an array with something else than texts"), Given::List)
        }
        DeValue::Boolean(_) => Given::Other("true or false"),
        DeValue::Float(_) => Given::Other("a number with a fraction"),
        DeValue::Datetime(_) => Given::Other("a date"),
        DeValue::Table(_) => Given::Other("table"),
    }
}

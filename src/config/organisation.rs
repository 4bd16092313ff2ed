//! Whose server this is, as people see it on its pages: name, logo, and where to ask for help.

use super::ConfigProblem;
use super::settings::Settings;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use url::Url;

/// The longest name.
const NAME_CHARACTERS: usize = 60;
/// The largest logo.
const LOGO_BYTES: u64 = 256 * 1024;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// `[organisation]`.
#[derive(Debug, Clone)]
pub struct Organisation {
    /// Its name; the host of the issuer if none is given.
    pub name: String,
    /// Its logo, read at the start.
    pub logo: Option<Logo>,
    /// Where people who need help go: a https URL or a mailto link.
    pub support_url: Option<String>,
}

/// A picture that pages show.
#[derive(Clone)]
pub struct Logo {
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// `image/png` or `image/svg+xml`.
    pub media_type: &'static str,
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", self.media_type, self.bytes.len())
    }
}

/// Reads the section.
pub(super) fn of(settings: &Settings, issuer: &str) -> Result<Organisation, ConfigProblem> {
    let name = match settings.text("organisation.name")? {
        Some(name) => name_of(&name).map_err(|problem| settings.problem("organisation.name", problem))?,
        None => host(issuer),
    };
    let logo = match settings.text("organisation.logo_file")? {
        Some(file) => Some(read(&file).map_err(|problem| settings.problem("organisation.logo_file", problem))?),
        None => None,
    };
    let support_url = settings.text("organisation.support_url")?;
    if let Some(url) = &support_url {
        let scheme = Url::parse(url).ok().map(|url| url.scheme().to_owned());
        if !matches!(scheme.as_deref(), Some("https" | "mailto")) {
            return Err(settings.problem("organisation.support_url", "must be a https URL or a mailto: link"));
        }
    }
    Ok(Organisation { name, logo, support_url })
}

fn name_of(text: &str) -> Result<String, String> {
    let name = text.trim();
    let is_short = (1..=NAME_CHARACTERS).contains(&name.chars().count());
    if !is_short || name.chars().any(crate::domain::names::is_unseen) {
        return Err(format!("must have 1 to {NAME_CHARACTERS} characters, and none that cannot be seen"));
    }
    Ok(name.to_owned())
}

fn host(issuer: &str) -> String {
    let host = Url::parse(issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_else(|| issuer.to_owned())
}

/// What kind of picture it is shows in its bytes, whatever its name.
fn read(file: &str) -> Result<Logo, String> {
    let cannot = |error: std::io::Error| format!("names {file}, which cannot be read: {error}");
    let mut bytes = Vec::new();
    std::fs::File::open(file).map_err(cannot)?.take(LOGO_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LOGO_BYTES {
        return Err(format!("names {file}, which is larger than {} KiB", LOGO_BYTES / 1024));
    }
    let media_type = if bytes.starts_with(PNG) {
        "image/png"
    } else if std::str::from_utf8(&bytes).is_ok_and(is_svg) {
        "image/svg+xml"
    } else {
        return Err(format!("names {file}, which is neither a PNG nor an SVG picture"));
    };
    Ok(Logo { bytes: bytes.into(), media_type })
}

fn is_svg(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with("<svg") || (text.starts_with("<?xml") || text.starts_with("<!--")) && text.contains("<svg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_is_known_by_its_bytes_and_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        assert_eq!(read(&write("logo.svg", PNG)).unwrap().media_type, "image/png");
        assert_eq!(read(&write("logo.png", b"<?xml version='1.0'?><svg/>")).unwrap().media_type, "image/svg+xml");
        assert!(read(&write("page.svg", b"<html><svg/></html>")).unwrap_err().contains("neither a PNG nor an SVG"));
        let large = [PNG, &vec![0; 256 * 1024]].concat();
        assert!(read(&write("large.png", &large)).unwrap_err().contains("larger than 256 KiB"));
        assert!(read("there/is/none.png").unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_name_can_be_seen_and_is_short() {
        assert_eq!(name_of(" Example Corp "), Ok("Example Corp".to_owned()));
        for name in ["", " ", "Example\u{202e}proC", &"x".repeat(61)] {
            assert!(name_of(name).is_err(), "{name:?}");
        }
    }
}

//! How mistakes in what operators write are told: on which line, and which known name was probably meant.

/// The line, from 1, of a byte offset.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The known name that is nearest, if one is near enough to be what was meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let allowed = 1 + word.chars().count() / 4;
    known
        .into_iter()
        .map(|name| (distance(&word, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The last part of a dotted name counts as the name: `clock_skew_seconds` means `tokens.clock_skew_seconds`.
fn distance(word: &str, name: &str) -> usize {
    let own_part = if word.contains('.') { name } else { name.rsplit('.').next().unwrap_or(name) };
    strsim::damerau_levenshtein(word, name).min(strsim::damerau_levenshtein(word, own_part))
}

/// The end of a sentence about an unknown name: `; did you mean ...?`, or all that is known if nothing is near.
pub(crate) fn hint<'k>(word: &str, known: impl IntoIterator<Item = &'k str> + Clone) -> String {
    if let Some(name) = nearest(word, known.clone()) {
        return format!("; did you mean `{name}`?");
    }
    let all: Vec<&str> = known.into_iter().take(MOST_LISTED + 1).collect();
    match all.len() {
        0 => "; there is none".to_owned(),
        1..=MOST_LISTED => format!("; known: {}", all.join(", ")),
        _ => String::new(),
    }
}

const MOST_LISTED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told_and_a_far_one_is_not() {
        let known = ["issuer", "listen", "tokens.clock_skew_seconds"];
        assert_eq!(nearest("isuer", known), Some("issuer"));
        assert_eq!(nearest("Lsiten", known), Some("listen"));
        assert_eq!(nearest("clock_skew_seconds", known), Some("tokens.clock_skew_seconds"));
        assert_eq!(nearest("tokens.clock_skew", known), None);
        assert_eq!(nearest("colour", known), None);
        assert_eq!(hint("colour", ["red", "green"]), "; known: red, green");
        assert_eq!(hint("colour", []), "; there is none");
    }

    #[test]
    fn a_line_is_counted_from_one() {
        assert_eq!(line_at("a\nb\nc", 0), 1);
        assert_eq!(line_at("a\nb\nc", 2), 2);
        assert_eq!(line_at("a\nb\nc", 99), 3);
    }
}

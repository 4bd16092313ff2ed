//! How text is fitted into lines.

use super::{Look, TokenView};
use serde_json::{Map, Value};

/// Claims in the order in which they tell the story; others follow by name.
const CLAIM_ORDER: [&str; 12] =
    ["iss", "sub", "aud", "act", "scope", "client_id", "iat", "exp", "auth_time", "name", "email", "roles"];
/// What a delegation token is about.
const CLAIMS_THAT_MATTER: [&str; 4] = ["sub", "aud", "act", "scope"];

/// A title and the claims of a token, as lines of at most `width` characters.
pub(super) fn token_lines(token: &TokenView, width: usize) -> Vec<(String, Look)> {
    let mut lines: Vec<(String, Look)> = wrap(&token.title, width).into_iter().map(|line| (line, Look::Loud)).collect();
    lines.extend(wrap(&token.kind, width).into_iter().map(|line| (line, Look::Dim)));
    let mut push = |text: &str, look| lines.extend(cut(text, width).into_iter().map(|line| (line, look)));
    push("{", Look::Plain);
    let ordered = in_order(&token.claims);
    for (index, (name, value)) in ordered.iter().enumerate() {
        let look = if CLAIMS_THAT_MATTER.contains(&name.as_str()) { Look::Bold } else { Look::Plain };
        let comma = if index + 1 < ordered.len() { "," } else { "" };
        let mut value_lines = pretty(value);
        if let Some(last) = value_lines.last_mut() {
            last.push_str(comma);
        }
        for (line_index, line) in value_lines.iter().enumerate() {
            let name = if line_index == 0 { format!("\"{name}\": ") } else { String::new() };
            push(&format!("  {name}{line}"), look);
        }
    }
    push("}", Look::Plain);
    lines
}

fn in_order(claims: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |name: &str| CLAIM_ORDER.iter().position(|known| *known == name).unwrap_or(CLAIM_ORDER.len());
    let mut ordered: Vec<_> = claims.iter().collect();
    ordered.sort_by(|(a, _), (b, _)| (rank(a), *a).cmp(&(rank(b), *b)));
    ordered
}

/// JSON as lines; a list of texts stays on one.
pub(super) fn pretty(value: &Value) -> Vec<String> {
    let text = match value {
        Value::Object(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    };
    text.lines().map(str::to_owned).collect()
}

/// Breaks between words; a word longer than a line stands alone, unbroken, so that addresses can be copied.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Breaks a line of a table, or of a list, between words; further lines start under its last column.
pub(super) fn hang(line: &str, width: usize) -> Vec<String> {
    let lead = line.chars().take_while(|c| *c == ' ').count();
    let is_column = |column: &usize| {
        let mut before = line.chars().skip(column.saturating_sub(2)).take(3);
        (before.next(), before.next()) == (Some(' '), Some(' ')) && before.next().is_some_and(|c| c != ' ')
    };
    let indent = (lead + 1..=width / 3).rev().find(is_column).unwrap_or(lead);
    let mut lines = Vec::new();
    let mut rest = line.to_owned();
    while rest.chars().count() > width {
        let places = rest.char_indices().take(width + 1).enumerate().filter(|(at, (_, c))| *c == ' ' && *at > indent);
        let Some((_, (place, _))) = places.last() else { break };
        let (head, tail) = rest.split_at(place);
        lines.push(head.trim_end().to_owned());
        rest = format!("{}{}", " ".repeat(indent), tail.trim_start());
    }
    lines.push(rest);
    lines
}

/// Breaks at exactly `width`; further lines are indented.
fn cut(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for c in text.chars() {
        if used >= width.max(8)
            && let Some(line) = lines.last()
        {
            let indent = line.chars().take_while(|c| *c == ' ').count().min(4) + 2;
            lines.push(" ".repeat(indent));
            used = indent;
        }
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
        used += 1;
    }
    lines
}

/// The end of a URN, and the start of what is long and random: tokens, codes, secrets.
pub(super) fn shortened(value: &str) -> String {
    if let Some((_, end)) = value.strip_prefix("urn:ietf:params:oauth:").and_then(|urn| urn.rsplit_once(':')) {
        return format!("...{end}");
    }
    let is_random = value.len() > 24 && !value.contains("://") && !value.contains(' ');
    if is_random { format!("{}...", value.chars().take(10).collect::<String>()) } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_stand_in_the_order_of_the_story_and_nothing_is_left_out() {
        let claims = json!({ "zoneinfo": "x", "act": { "sub": "assistant" }, "iss": "http://127.0.0.1:1", "sub": "a" });
        let token =
            TokenView { title: "T".to_owned(), kind: "JWT".to_owned(), claims: claims.as_object().unwrap().clone() };
        let lines: Vec<String> = token_lines(&token, 60).into_iter().map(|(line, _)| line).collect();
        let text = lines[2..].concat();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), claims);
        let place = |name: &str| text.find(name).unwrap();
        assert!(
            place("iss") < place("\"sub\": \"a\"") && place("\"a\"") < place("act") && place("act") < place("zone")
        );
    }

    #[test]
    fn a_long_line_of_a_table_goes_on_under_its_last_column() {
        assert_eq!(hang("Fix  one two three four", 17), ["Fix  one two", "     three four"]);
        assert_eq!(hang("  one two three", 10), ["  one two", "  three"]);
        assert_eq!(hang("Fix     one", 20), ["Fix     one"]);
        assert_eq!(hang(&"x".repeat(30), 20), ["x".repeat(30)]);
    }

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("http://127.0.0.1:8420/token x", 7), ["http://127.0.0.1:8420/token", "x"]);
    }
}

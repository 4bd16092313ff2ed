//! Names that people would take for one another (STANDARDS A57).

use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

/// What remains of a name when what a reader passes over is taken away: case, blanks and signs, accents, and letters and
/// digits that look like Latin letters (the skeletons of Unicode Technical Standard 39, and what they leave apart).
pub fn folded(name: &str) -> String {
    // Circled, mathematical and wide letters become plain ones first.
    let plain: String = name.nfkc().collect();
    let skeleton: String = skeleton(&plain).collect();
    let lower = skeleton.chars().flat_map(char::to_lowercase).filter_map(|c| {
        let single = match c {
            'а' | 'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' | 'ā' | 'α' | 'ɑ' | '@' | '4' => 'a',
            'ь' | 'ß' | '8' => 'b',
            'с' | 'ç' | 'ć' | 'č' | 'ϲ' => 'c',
            'ԁ' | 'ď' | 'đ' => 'd',
            'е' | 'ё' | 'é' | 'è' | 'ê' | 'ë' | 'ē' | 'ę' | 'ε' | 'є' | '3' => 'e',
            'ɡ' | 'ğ' | 'ģ' | '9' => 'g',
            'һ' | 'ħ' => 'h',
            // One stroke looks like another.
            'і' | 'ї' | 'í' | 'ì' | 'î' | 'ï' | 'ī' | 'ı' | 'ι' | 'ӏ' | 'ǀ' | 'l' | 'ł' | '1' | '|' | '!' | 'j'
            | 'ј' => 'i',
            'κ' | 'к' => 'k',
            'м' => 'm',
            'ո' | 'ñ' | 'ń' | 'ň' | 'η' | 'п' => 'n',
            'о' | 'ó' | 'ò' | 'ô' | 'ö' | 'õ' | 'ø' | 'ō' | 'ο' | 'օ' | '0' => 'o',
            'р' | 'ρ' => 'p',
            'ԛ' => 'q',
            'г' | 'ř' => 'r',
            'ѕ' | 'ś' | 'š' | 'ş' | '5' | '$' => 's',
            'т' | 'τ' | 'ť' | '7' => 't',
            'υ' | 'ս' | 'ú' | 'ù' | 'û' | 'ü' | 'ū' => 'u',
            'ν' | 'ѵ' => 'v',
            'ԝ' | 'ω' => 'w',
            'х' | 'χ' => 'x',
            'у' | 'ý' | 'ÿ' | 'γ' => 'y',
            'ž' | 'ź' | 'ż' => 'z',
            other => other,
        };
        single.is_alphanumeric().then_some(single)
    });
    // `rn` reads as m, `vv` as w.
    lower.collect::<String>().replace("rn", "m").replace("vv", "w")
}

/// The first of the known names that the name could be taken for: it is the same once folded, or has it in it.
pub fn imitated<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = folded(name);
    known.into_iter().find(|known| {
        let known = folded(known);
        // A short name is in many longer ones by chance.
        !known.is_empty() && (name == known || (known.chars().count() >= 5 && name.contains(&known)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a57_a_name_in_another_script_case_or_spacing_is_seen_through() {
        let known = ["Claude", "ChatGPT", "Visual Studio Code", "Cursor"];
        for (name, meant) in [
            ("Claude", "Claude"),
            ("CLAUDE", "Claude"),
            ("Cl\u{0430}ude", "Claude"),
            ("C1aude", "Claude"),
            ("C l a u d e", "Claude"),
            ("Claude (official)", "Claude"),
            ("\u{ff23}laude", "Claude"),
            ("\u{1d402}\u{1d425}\u{1d41a}\u{1d42e}\u{1d41d}\u{1d41e}", "Claude"),
            ("\u{24b8}laude", "Claude"),
            ("c\u{2113}aude", "Claude"),
            ("Cla\u{1d5ce}de", "Claude"),
            ("\u{1d04}laude", "Claude"),
            ("\u{13df}laude", "Claude"),
            ("Cla\u{301}ude", "Claude"),
            ("ChatGΡT", "ChatGPT"),
            ("Chat-GPT", "ChatGPT"),
            ("Visua1 Studi0 Code", "Visual Studio Code"),
            ("\u{0421}ur\u{0455}or", "Cursor"),
        ] {
            assert_eq!(imitated(name, known), Some(meant), "{name}");
        }
        for name in ["", "Acme Assistant", "Clause", "Chat", "Code"] {
            assert_eq!(imitated(name, known), None, "{name}");
        }
    }

    #[test]
    fn a_short_name_is_imitated_only_as_a_whole() {
        assert_eq!(imitated("A-I", ["Ai"]), Some("Ai"));
        assert_eq!(imitated("Maintenance", ["Ai"]), None);
    }
}

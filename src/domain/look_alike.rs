//! Names that people would take for one another (STANDARDS A57).

/// What remains of a name when what a reader passes over is taken away: case, blanks and signs, and the letters of other
/// scripts that look like Latin ones. Not all of Unicode's confusables: those by which a Latin name is imitated.
pub fn folded(name: &str) -> String {
    let lower = name.chars().flat_map(char::to_lowercase).filter_map(|c| {
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
            // Full-width forms.
            '\u{ff01}'..='\u{ff5e}' => u32::from(c).checked_sub(0xfee0).and_then(char::from_u32).map_or(c, fold_again),
            other => other,
        };
        single.is_alphanumeric().then_some(single)
    });
    // `rn` reads as m, `vv` as w.
    lower.collect::<String>().replace("rn", "m").replace("vv", "w")
}

fn fold_again(c: char) -> char {
    folded(c.encode_utf8(&mut [0; 4])).chars().next().unwrap_or(c)
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

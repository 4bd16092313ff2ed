//! The rules of the house that the compiler does not hold: who may import whom, and what every file looks like.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each part of `src`, lowest first, and what it may import besides itself. This table is the rule: a new part is added
/// here, and a part that needs more is a reason to think about where the code belongs.
const HOUSE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("secrets", &[]),
    ("mistake", &[]),
    ("config", &["domain", LEAVES]),
    ("store", &["domain", LEAVES]),
    ("upstream", &["domain", LEAVES]),
    // What a backend builds alone: nothing of the server, and no leaf but the clock.
    ("verify", &["domain", "clock"]),
    ("tokens", &["domain", "upstream", "verify", LEAVES]),
    ("audit", &["domain", "store", LEAVES]),
    ("registry_file", &["domain", "store", LEAVES]),
    ("app", &["domain", "tokens", "upstream", "store", "audit", "registry_file", LEAVES]),
    ("grants", &["domain", "tokens", "upstream", "store", "audit", "registry_file", "app", LEAVES]),
    ("oauth", &["domain", "tokens", "upstream", "store", "audit", "registry_file", "app", "grants", LEAVES]),
    ("pages", &["domain", "tokens", "upstream", "store", "audit", "registry_file", "app", "grants", LEAVES]),
    ("admin", &["domain", "tokens", "upstream", "store", "audit", "registry_file", "app", "grants", LEAVES]),
    ("server", &["domain", "store", "audit", "app", "grants", "oauth", "pages", "admin", LEAVES]),
    ("demo", ALL_BUT_CLI),
    ("cli", ALL),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Stands for the parts that any other but `domain` may use.
const LEAVES: &str = "clock, secrets, mistake and config";
const LEAF_PARTS: &[&str] = &["clock", "secrets", "mistake", "config"];

const ALL_BUT_CLI: &[&str] = &[
    "domain",
    "tokens",
    "upstream",
    "store",
    "audit",
    "registry_file",
    "app",
    "grants",
    "oauth",
    "pages",
    "admin",
    "server",
    "verify",
    LEAVES,
];
const ALL: &[&str] = &[
    "domain",
    "tokens",
    "upstream",
    "store",
    "audit",
    "registry_file",
    "app",
    "grants",
    "oauth",
    "pages",
    "admin",
    "server",
    "verify",
    "demo",
    LEAVES,
];

/// Crates that belong to some parts only: elsewhere they would make a part know what it need not.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("josekit", &["tokens"]),
    ("openssl", &["tokens"]),
    ("reqwest", &["upstream", "demo", "verify/http_fetch"]),
    ("openidconnect", &["upstream"]),
    ("axum", &["oauth", "pages", "admin", "server", "demo", "cli/serve"]),
    ("hyper", &["server", "demo"]),
    ("cedar_policy", &["domain/policy"]),
];

/// What the domain never names: it does no I/O and reads no clock.
const NOT_IN_DOMAIN: &[&str] = &["axum", "http", "hyper", "josekit", "openssl", "reqwest", "sqlx", "tokio", "tracing"];

/// The longest file, in lines.
const LINES: usize = 500;

/// Files that may be longer, each with its reason.
const LONGER: &[&str] = &[
    // One table: every reason code with its texts.
    "src/domain/decision/reason.rs",
];

/// A Rust file of the tree: its path from the root with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The part of `src` that it belongs to: the folder, or the file right under `src`.
    fn part(&self) -> &str {
        let inside = self.path.strip_prefix("src/").expect("only files of src have a part");
        inside.split_once('/').map_or_else(|| inside.trim_end_matches(".rs"), |(folder, _)| folder)
    }

    /// True if it is the file, or in the folder, of this name under `src`.
    fn is_within(&self, place: &str) -> bool {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        inside.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }

    /// The lines without comments, with their numbers from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)))
    }
}

/// A line up to its comment; `//` inside a URL is none.
fn without_comment(line: &str) -> &str {
    match line.match_indices("//").find(|(at, _)| *at == 0 || line[..*at].ends_with(char::is_whitespace)) {
        Some((at, _)) => &line[..at],
        None => line,
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"),
    };
    files_under(folder, "rs").into_iter().map(read).collect()
}

/// The first segment of every path that begins with `start` (`crate::`), groups in braces included.
fn heads<'a>(code: &'a str, start: &str) -> Vec<&'a str> {
    let mut heads = Vec::new();
    for (at, _) in code.match_indices(start) {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | ':')) {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            None => heads.push(identifier(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut begins = true;
                for (index, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        _ if begins && !character.is_whitespace() => {
                            heads.push(identifier(&group[index..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    heads
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// True if the code names this crate: the word, then `::`, or `use` of it alone.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let starts =
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | ':' | '$'));
        let after = &code[at + name.len()..];
        starts && (after.starts_with("::") || (code.trim_start().starts_with("use ") && after.starts_with(';')))
    })
}

fn may_import(part: &str, other: &str) -> bool {
    let Some((_, allowed)) = HOUSE.iter().find(|(name, _)| *name == part) else {
        return false;
    };
    part == other || allowed.contains(&other) || (allowed.contains(&LEAVES) && LEAF_PARTS.contains(&other))
}

/// Fails with every sentence, one a line.
fn fail_if_any(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn imports_run_one_way() {
    let parts: BTreeSet<&str> = HOUSE.iter().map(|(name, _)| *name).collect();
    let mut problems = Vec::new();
    for source in sources("src") {
        let part = source.part();
        if !parts.contains(part) {
            problems.push(format!(
                "{}: add {part} to HOUSE in tests/it/architecture.rs, with what it may import.",
                source.path
            ));
            continue;
        }
        // A group in braces can go over several lines, so the whole file is read at once.
        let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
        let code = code.join("\n");
        let own = if part == "main" { "procura::" } else { "crate::" };
        let imported: BTreeSet<&str> = heads(&code, own).into_iter().filter(|head| parts.contains(head)).collect();
        for other in imported.into_iter().filter(|other| !may_import(part, other)) {
            problems.push(format!(
                "{}: {part} must not know {other}. Move what it needs down, to a part that both may import, or hand it \
                 in as an argument.",
                source.path
            ));
        }
    }
    fail_if_any(&problems);
}

#[test]
fn a_crate_stays_in_its_part_of_the_house() {
    let mut problems = Vec::new();
    for source in sources("src") {
        for (line, code) in source.code() {
            for (name, places) in CRATES {
                if names_crate(code, name) && !places.iter().any(|place| source.is_within(place)) {
                    problems.push(format!(
                        "{}:{line}: {name} is used only in {}. Put a function there and call it.",
                        source.path,
                        places.join(", ")
                    ));
                }
            }
        }
    }
    fail_if_any(&problems);
}

#[test]
fn the_domain_does_no_io_and_reads_no_clock() {
    let mut problems = Vec::new();
    for source in sources("src/domain") {
        for (line, code) in source.code() {
            for name in NOT_IN_DOMAIN.iter().filter(|name| names_crate(code, name)) {
                problems.push(format!(
                    "{}:{line}: the domain does no I/O. Do it outside, without {name}, and hand in what was found.",
                    source.path
                ));
            }
            let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.clone().any(|word| matches!(word, "Clock" | "SystemTime" | "Instant")) {
                problems.push(format!("{}:{line}: the domain reads no clock. Take `now` as an argument.", source.path));
            }
        }
        let io = ["std::fs", "std::net", "std::env", "std::process"];
        for name in io.into_iter().filter(|name| source.code().any(|(_, code)| code.contains(name))) {
            problems.push(format!(
                "{}: the domain does no I/O. Do it outside, without {name}, and hand in what was found.",
                source.path
            ));
        }
    }
    fail_if_any(&problems);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut problems = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests/it")) {
        if !source.text.starts_with("//! ") {
            problems.push(format!("{}: begin with `//!` and the file's one purpose.", source.path));
        }
    }
    fail_if_any(&problems);
}

#[test]
fn no_file_is_too_long_to_read_at_once() {
    let mut problems = Vec::new();
    for source in sources("src") {
        let lines = source.text.lines().count();
        let may_be_longer = LONGER.contains(&source.path.as_str());
        if lines > LINES && !may_be_longer {
            problems.push(format!("{}: {lines} lines, at most {LINES}. Split it by purpose.", source.path));
        }
        if lines <= LINES && may_be_longer {
            problems.push(format!("{}: short again. Take it off LONGER in tests/it/architecture.rs.", source.path));
        }
    }
    fail_if_any(&problems);
}

#[test]
fn migrations_are_numbered_without_a_gap() {
    let names: Vec<String> = files_under("migrations", "sql")
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(!names.is_empty(), "migrations/ holds the migrations");
    let mut problems = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let expected = format!("{:04}_", index + 1);
        if !name.starts_with(&expected) {
            problems.push(format!(
                "migrations/{name}: the next number is {expected}; no number is left out or used twice."
            ));
        }
    }
    fail_if_any(&problems);
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_left_out() {
    // In two pieces, so that this file does not find itself.
    let unfinished = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore")];
    let mut problems = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests/it")) {
        for (line, code) in source.code() {
            for found in unfinished.iter().filter(|unfinished| code.contains(**unfinished)) {
                problems.push(format!("{}:{line}: {found} must not stay. Finish it, or take it out.", source.path));
            }
        }
    }
    fail_if_any(&problems);
}

#[test]
fn the_reader_of_imports_finds_them_all() {
    let code = "use crate::store::Store;\nuse crate::{audit, domain::{user::User, scope},\n    tokens};\nlet x = crate::app::App; \
                $crate::cli::run(); mycrate::pages::x();";
    assert_eq!(heads(code, "crate::"), ["store", "audit", "domain", "tokens", "app", "cli"]);
    assert_eq!(without_comment("let a = \"https://x\"; // crate::store"), "let a = \"https://x\"; ");
    assert!(names_crate("    sqlx::query(\"\")", "sqlx") && names_crate("use http;", "http"));
    assert!(!names_crate("use axum::http::StatusCode;", "http") && !names_crate("let http = 1;", "http"));
}

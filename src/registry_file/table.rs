//! A TOML table read key by key, so that one reading tells every problem, each with its line.

use super::places::{Kind, Places};
use super::{FileProblem, Source};
use crate::mistake;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

/// One source being read.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    pub(super) source: &'s Source,
    problems: Vec<(usize, String)>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s Source) -> Self {
        Self { source, problems: Vec::new() }
    }

    /// File and line of a byte offset.
    pub(super) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.source.name, mistake::line_at(&self.source.text, offset))
    }

    pub(super) fn problem(&mut self, offset: usize, problem: impl Into<String>) {
        self.problems.push((offset, problem.into()));
    }

    /// The problems in the order of the text.
    pub(super) fn finish(mut self) -> Vec<FileProblem> {
        self.problems.sort_by_key(|(offset, _)| *offset);
        let problems = std::mem::take(&mut self.problems);
        problems.into_iter().map(|(at, problem)| FileProblem { place: self.place(at), problem }).collect()
    }

    /// Notes the places of all that is in a declaration.
    pub(super) fn note_places(&self, places: &mut Places, kind: Kind, id: &str, table: &Table<'_>) {
        places.insert(kind, id, String::new(), self.place(table.offset));
        for (key, (offset, value)) in &table.members {
            self.note_place(places, kind, id, &format!("/{key}"), *offset, value.get_ref());
        }
    }

    fn note_place(&self, places: &mut Places, kind: Kind, id: &str, path: &str, at: usize, value: &DeValue<'_>) {
        places.insert(kind, id, path.to_owned(), self.place(at));
        if let Some(members) = value.as_table() {
            for (key, value) in members {
                let path = format!("{path}/{}", key.get_ref());
                self.note_place(places, kind, id, &path, key.span().start, value.get_ref());
            }
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.note_place(places, kind, id, &format!("{path}/{index}"), item.span().start, item.get_ref());
        }
    }
}

/// One table. Its keys are known ones; each is taken out once.
#[derive(Debug)]
pub(super) struct Table<'i> {
    /// What errors call it: `client assistant`.
    pub(super) name: String,
    pub(super) offset: usize,
    members: BTreeMap<String, (usize, Spanned<DeValue<'i>>)>,
}

impl<'i> Table<'i> {
    /// Takes the known keys; any other is a problem.
    pub(super) fn open(
        reader: &mut Reader<'_>,
        name: impl Into<String>,
        offset: usize,
        table: DeTable<'i>,
        known: &[&str],
    ) -> Self {
        let name = name.into();
        let mut members = BTreeMap::new();
        for (key, value) in table {
            let at = key.span().start;
            let key = key.into_inner().into_owned();
            if known.contains(&key.as_str()) {
                members.insert(key, (at, value));
            } else {
                let hint = mistake::hint(&key, known.iter().copied());
                reader.problem(at, format!("unknown key `{key}` of {name}{hint}"));
            }
        }
        Self { name, offset, members }
    }

    /// The text under a key, left in its place.
    pub(super) fn peek_text(&self, key: &str) -> Option<&str> {
        self.members.get(key).and_then(|(_, value)| value.get_ref().as_str())
    }

    /// Where a key stands, and where its value begins.
    pub(super) fn offsets(&self, key: &str) -> Option<(usize, usize)> {
        self.members.get(key).map(|(at, value)| (*at, value.span().start))
    }

    /// What must be there. None: the problem is noted.
    pub(super) fn required<T: DeserializeOwned>(&mut self, reader: &mut Reader<'_>, key: &str) -> Option<T> {
        if !self.members.contains_key(key) {
            reader.problem(self.offset, format!("{} lacks `{key}`", self.name));
        }
        self.optional(reader, key)
    }

    /// What may be there. None: it is not, or the problem is noted.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, reader: &mut Reader<'_>, key: &str) -> Option<T> {
        let (_, value) = self.members.remove(key)?;
        let around = value.span().start;
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(error) => {
                let at = error.span().map_or(around, |span| span.start);
                reader.problem(at, format!("`{key}` of {}: {}", self.name, reworded(error.message())));
                None
            }
        }
    }

    /// A table under a key.
    pub(super) fn table(&mut self, reader: &mut Reader<'_>, key: &str, known: &[&str]) -> Option<Self> {
        let (at, value) = self.members.remove(key)?;
        let name = format!("`{key}` of {}", self.name);
        match into_table(value.into_inner()) {
            Ok(table) => Some(Self::open(reader, name, at, table, known)),
            Err(found) => {
                reader.problem(at, format!("{name}: expected a table, found {found}"));
                None
            }
        }
    }

    /// The tables of an array under a key.
    pub(super) fn tables(&mut self, reader: &mut Reader<'_>, key: &str, known: &[&str]) -> Vec<Self> {
        let Some((at, value)) = self.members.remove(key) else {
            return Vec::new();
        };
        let name = format!("`{key}` of {}", self.name);
        let items = match into_array(value.into_inner()) {
            Ok(items) => items,
            Err(found) => {
                reader.problem(at, format!("{name}: expected an array of tables, found {found}"));
                return Vec::new();
            }
        };
        let mut tables = Vec::new();
        for item in items {
            let at = item.span().start;
            match into_table(item.into_inner()) {
                Ok(table) => tables.push(Self::open(reader, name.clone(), at, table, known)),
                Err(found) => reader.problem(at, format!("{name}: expected a table, found {found}")),
            }
        }
        tables
    }
}

/// The table, or what it is instead.
pub(super) fn into_table(value: DeValue<'_>) -> Result<DeTable<'_>, &'static str> {
    let found = value.type_str();
    if let DeValue::Table(table) = value { Ok(table) } else { Err(found) }
}

/// The array, or what it is instead.
pub(super) fn into_array(value: DeValue<'_>) -> Result<DeArray<'_>, &'static str> {
    let found = value.type_str();
    if let DeValue::Array(items) = value { Ok(items) } else { Err(found) }
}

/// The words of the deserializer in words for operators, with the nearest of the accepted values.
fn reworded(message: &str) -> String {
    let message = message
        .replace("expected u32", "expected a whole number")
        .replace("expected a sequence", "expected an array")
        .replace("wanted string or table", "expected a text")
        .replace("unknown variant", "unknown value");
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_choice = message.starts_with("unknown value");
    let near = quoted.next().filter(|_| is_choice).and_then(|word| mistake::nearest(word, quoted));
    match near {
        Some(near) => format!("{message}; did you mean `{near}`?"),
        None => message,
    }
}

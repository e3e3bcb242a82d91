//! YAML as a plain tree, with limits: for netplan and cloud-init's configuration.
//!
//! Built on the event stream of saphyr-parser so that an alias is never expanded (no "billion
//! laughs"); an alias becomes an empty value. Only the first document of a file counts. Nothing
//! is converted: every scalar stays text.

use super::look::clip;
use saphyr_parser::{Event, Parser};

/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Most values of one file.
const MAX_NODES: usize = 50_000;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Yaml {
    /// Text, whatever it looks like. Also stands for a missing value and for an alias.
    Scalar(String),
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping in the file's order; keys that are not scalars are left out.
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// Parses the first document of `text`; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Yaml, String> {
        let mut open: Vec<Open> = Vec::new();
        let mut nodes = 0;
        for event in Parser::new_from_str(text) {
            let (event, _) = event.map_err(|error| format!("it is not YAML: {}", error.info()))?;
            nodes += 1;
            if nodes > MAX_NODES || open.len() > MAX_DEPTH {
                return Err("it has too many values or is nested too deeply".into());
            }
            let done = match event {
                Event::SequenceStart(..) => {
                    open.push(Open::List(Vec::new()));
                    continue;
                }
                Event::MappingStart(..) => {
                    open.push(Open::Map(Vec::new(), None));
                    continue;
                }
                Event::Scalar(text, ..) => Yaml::Scalar(clip(&text)),
                Event::Alias(_) => Yaml::Scalar(String::new()),
                Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                    Some(ended) => ended.close(),
                    None => return Err("it ends what it did not begin".into()),
                },
                _ => continue,
            };
            match open.last_mut() {
                Some(parent) => parent.add(done),
                None => return Ok(done),
            }
        }
        Ok(Yaml::Map(Vec::new()))
    }

    /// The value of `key` of a mapping.
    pub fn get(&self, key: &str) -> Option<&Yaml> {
        self.pairs()
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// The pairs of a mapping; empty for anything else.
    pub fn pairs(&self) -> &[(String, Yaml)] {
        match self {
            Yaml::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The items of a sequence; empty for anything else.
    pub fn items(&self) -> &[Yaml] {
        match self {
            Yaml::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match self {
            Yaml::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a scalar that YAML 1.1 takes for true.
    pub fn is_true(&self) -> bool {
        let text = self.text().unwrap_or_default();
        ["true", "yes", "on"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
    }
}

/// A value that has begun. A mapping holds the key whose value comes next; `Some(None)` is a key
/// that is no scalar.
enum Open {
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>, Option<Option<String>>),
}

impl Open {
    fn add(&mut self, value: Yaml) {
        match self {
            Open::List(items) => items.push(value),
            Open::Map(pairs, key) => match key.take() {
                None => *key = Some(value.text().map(str::to_owned)),
                Some(Some(known)) => pairs.push((known, value)),
                Some(None) => {}
            },
        }
    }

    fn close(self) -> Yaml {
        match self {
            Open::List(items) => Yaml::List(items),
            Open::Map(pairs, _) => Yaml::Map(pairs),
        }
    }
}

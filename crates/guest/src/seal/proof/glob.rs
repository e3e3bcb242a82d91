//! Path patterns and an index that finds the patterns of one path quickly.
//!
//! A pattern is an absolute path. `*` stands for any text inside one name, `**` for any number of
//! names (as the last name: everything below), a leading `~` for every home directory.

use std::collections::HashMap;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Name(String),
    /// A name with `*` in it.
    Pattern(String),
    /// `**`.
    Deep,
}

impl Glob {
    /// Compiles `pattern`; `~` must have been replaced.
    pub fn new(pattern: &str) -> Self {
        let part = |name: &str| match name {
            "**" => Part::Deep,
            name if name.contains('*') => Part::Pattern(name.to_owned()),
            name => Part::Name(name.to_owned()),
        };
        Glob {
            parts: names(pattern).map(part).collect(),
        }
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: &[&str]) -> bool {
        matches(&self.parts, path)
    }

    /// Whether something *below* `path` could match, so that a link at `path` matters.
    pub fn passes_through(&self, path: &[&str]) -> bool {
        let mut parts = self.parts.iter();
        for name in path {
            match parts.next() {
                None => return false,
                Some(Part::Deep) => return true,
                Some(part) if part.is(name) => {}
                Some(_) => return false,
            }
        }
        parts.next().is_some()
    }
}

impl Part {
    fn is(&self, name: &str) -> bool {
        match self {
            Part::Name(expected) => expected == name,
            Part::Pattern(pattern) => name_matches(pattern, name),
            Part::Deep => true,
        }
    }
}

fn matches(parts: &[Part], path: &[&str]) -> bool {
    match (parts, path) {
        ([], []) => true,
        // At the end it stands for at least one name: the directory itself is not below itself.
        ([Part::Deep], path) => !path.is_empty(),
        ([Part::Deep, rest @ ..], path) => (0..=path.len()).any(|n| matches(rest, &path[n..])),
        ([part, rest @ ..], [name, below @ ..]) => part.is(name) && matches(rest, below),
        _ => false,
    }
}

/// Whether one name matches a pattern with `*`.
fn name_matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

/// The names of a path.
pub fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// Many patterns, each with a number, found by the first name of a path.
#[derive(Debug, Default)]
pub struct Index {
    by_first_name: HashMap<String, Vec<(Glob, usize)>>,
    anywhere: Vec<(Glob, usize)>,
}

impl Index {
    /// Adds a pattern of `number`.
    pub fn add(&mut self, pattern: &str, number: usize) {
        let glob = Glob::new(pattern);
        match glob.parts.first() {
            Some(Part::Name(name)) => {
                self.by_first_name
                    .entry(name.clone())
                    .or_default()
                    .push((glob, number));
            }
            _ => self.anywhere.push((glob, number)),
        }
    }

    /// The numbers of the patterns that match `path`, each once, in order.
    pub fn find(&self, path: &[&str]) -> Vec<usize> {
        let mut found: Vec<usize> = self
            .candidates(path)
            .filter(|(glob, _)| glob.matches(path))
            .map(|(_, number)| *number)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether something below `path` could match any pattern.
    pub fn passes_through(&self, path: &[&str]) -> bool {
        self.candidates(path)
            .any(|(glob, _)| glob.passes_through(path))
    }

    fn candidates<'i>(
        &'i self,
        path: &[&str],
    ) -> impl Iterator<Item = &'i (Glob, usize)> + use<'i> {
        let first = path.first().and_then(|name| self.by_first_name.get(*name));
        first.into_iter().flatten().chain(&self.anywhere)
    }
}
